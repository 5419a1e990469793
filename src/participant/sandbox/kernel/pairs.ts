/**
 * Pairs that a map emits: grouped by key, folded by `combine`, partitioned and sorted. Travels into the isolate as text.
 *
 * Order is that of UTF-16 code units of the keys' JSON text. The partition of a key is FNV-1a over the UTF-8 bytes of that text, modulo the
 * number of partitions. Neither may ever change: replicas and memos compare outputs.
 */
import type { Globals } from './globals.ts'
import type { Report } from './report.ts'

export interface OutputText { partition: number, text: string, records: number }

export function createPairs ({ OwnMap, hash, NativeTypeError, parse, slice, sort, stringify }: Globals, report: Report) {
  interface Group { key: unknown, text: string, values: unknown[] }
  type Combine = (key: unknown, values: unknown[]) => unknown

  /** Values of one key that are kept before `combine` folds them. */
  const COMBINE_AT = 1024
  const KEY = 'the key of emit(key, value)'
  const VALUE = 'the value of emit(key, value)'
  const byString = new OwnMap<string, Group>()
  const byText = new OwnMap<string, Group>()
  let groups: Group[] = []
  let combine: Combine | undefined

  const addGroup = (key: unknown, text: string): Group => {
    const group = { key, text, values: [] }
    groups[groups.length] = group
    return group
  }

  const groupOf = (key: unknown): Group | undefined => {
    if (typeof key === 'string') {
      let group = byString.get(key)
      if (group === undefined) byString.set(key, group = addGroup(key, stringify(key)))
      return group
    }
    const text = report.jsonText(key, KEY)
    if (text === '') return undefined
    let group = byText.get(text)
    if (group === undefined) byText.set(text, group = addGroup(parse(text), text))
    return group
  }

  const fold = (group: Group): void => {
    const value = (combine as Combine)(group.key, group.values)
    report.refusePromise(value, 'combine')
    group.values = [value]
  }

  /** Objects are copied as JSON at once: the job may change them afterwards, and a bad value is blamed on its own record. */
  const emit = (key: unknown, value: unknown): void => {
    if (!report.isOpen) throw new NativeTypeError('emit was called after its task had ended')
    if (report.fault !== undefined) return
    const group = groupOf(key)
    if (group === undefined) return
    const { values } = group
    if (combine === undefined) {
      const text = report.jsonText(value, VALUE)
      report.grow(text.length + group.text.length + 4)
      values[values.length] = text
      return
    }
    if ((typeof value === 'number' && value - value === 0) || typeof value === 'string' || typeof value === 'boolean') {
      values[values.length] = value
    } else {
      const text = report.jsonText(value, VALUE)
      values[values.length] = text === '' ? null : parse(text)
    }
    if (values.length >= COMBINE_AT) fold(group)
  }

  /** @returns the values of a folded group as JSON texts; before, they are counted as output */
  const foldedText = (group: Group): string => {
    if (group.values.length > 1) fold(group)
    const text = report.jsonText(group.values[0], `what combine returned for the key ${slice(group.text, 0, 100)}`)
    report.grow(text.length + group.text.length + 4)
    return text
  }

  /** @returns a text of `[key,value]` lines for each partition that got something, ascending; nothing after a fault */
  const finish = (partitions: number): OutputText[] => {
    const texts: string[] = []
    const records: number[] = []
    for (let i = 0; i < partitions; i++) {
      texts[i] = ''
      records[i] = 0
    }
    sort(groups, (a: Group, b: Group) => a.text < b.text ? -1 : 1)
    for (let i = 0; i < groups.length && report.fault === undefined; i++) {
      const group = groups[i] as Group
      const partition = hash(group.text) % partitions
      if (combine !== undefined) group.values = [foldedText(group)]
      const { text, values } = group
      for (let j = 0; j < values.length; j++) texts[partition] += `[${text},${values[j] as string}]\n`
      records[partition] = records[partition] as number + values.length
    }
    const outputs: OutputText[] = []
    for (let i = 0; i < partitions && report.fault === undefined; i++) {
      if (records[i] !== 0) outputs[outputs.length] = { partition: i, text: texts[i] as string, records: records[i] as number }
    }
    return outputs
  }

  const clear = (): void => {
    byString.clear()
    byText.clear()
    groups = []
  }

  return {
    emit,
    finish,
    clear,
    begin (how: Combine | undefined): void {
      clear()
      combine = how
    }
  }
}
