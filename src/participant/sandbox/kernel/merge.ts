/**
 * Merge of sorted runs of `[key,value]` lines, group by group. Travels into the isolate as text.
 *
 * Runs come from other participants: a line that is no pair, or out of order, is fault `denied`, not an exception.
 */
import type { Globals } from './globals.ts'
import type { Report } from './report.ts'

export function createMerge ({ charCodeAt, indexOf, parse, slice, stringify }: Globals, report: Report) {
  interface Run { text: string, at: number, line: number, run: number, key: string, value: string }

  const QUOTE = 34
  const COMMA = 44
  const BRACKET = 91
  const BRACKET_END = 93

  const refuse = (run: Run, why: string): false => {
    report.fail('denied', `line ${run.line} of run ${run.run} ${why}`)
    return false
  }

  const parsePart = (text: string, run: Run): unknown => {
    try {
      return parse(text)
    } catch {
      refuse(run, 'is not a [key,value] pair')
      return null
    }
  }

  /** Move a run to its next pair. @returns false at its end, or after a fault */
  const advance = (run: Run): boolean => {
    const { text, at: start, key: before } = run
    if (start >= text.length) return false
    let end = indexOf(text, '\n', start)
    if (end === -1) end = text.length
    run.at = end + 1
    run.line++
    // The common case is `["key",value]` with a key free of escapes. Anything else is parsed and written anew.
    const quote = charCodeAt(text, start) === BRACKET && charCodeAt(text, start + 1) === QUOTE ? indexOf(text, '"', start + 2) : -1
    const key = quote !== -1 && quote < end && charCodeAt(text, quote + 1) === COMMA && charCodeAt(text, end - 1) === BRACKET_END ? slice(text, start + 1, quote + 1) : ''
    if (key !== '' && indexOf(key, '\\') === -1) {
      run.key = key
      run.value = slice(text, quote + 2, end - 1)
    } else {
      const pair = parsePart(slice(text, start, end), run) as unknown[] | null
      if (pair === null || typeof pair !== 'object' || pair[0] === undefined || pair[1] === undefined) return refuse(run, 'is not a [key,value] pair')
      run.key = stringify(pair[0])
      run.value = stringify(pair[1])
    }
    return run.line === 1 || run.key >= before ? true : refuse(run, 'is out of order')
  }

  // Equal keys come in the order of their runs, so that the order of values does not depend on the heap.
  const isBefore = (a: Run, b: Run): boolean => a.key < b.key || (a.key === b.key && a.run < b.run)

  /** Restore the order of a binary heap, least first, of which only the element at `at` may be too large. */
  const siftDown = (heap: Run[], at: number): void => {
    const item = heap[at] as Run
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Run, heap[child] as Run)) child++
      if (!isBefore(heap[child] as Run, item)) break
      heap[at] = heap[child] as Run
      at = child
    }
    heap[at] = item
  }

  /** Take all pairs of one key off the first run, and put the run back into order, or away at its end. */
  const drain = (heap: Run[], key: string, values: unknown[]): void => {
    const run = heap[0] as Run
    let isMore = true
    while (isMore && run.key === key) {
      report.record++
      values[values.length] = parsePart(run.value, run)
      isMore = advance(run)
    }
    if (!isMore) {
      const last = heap[heap.length - 1] as Run
      heap.length--
      if (heap.length > 0) heap[0] = last
    }
    if (heap.length > 1) siftDown(heap, 0)
  }

  /** @param onGroup - called once a key, in order; `keyText` is the key's JSON */
  return (texts: readonly string[], onGroup: (key: unknown, values: unknown[], keyText: string) => void): void => {
    const heap: Run[] = []
    for (let i = 0; i < texts.length; i++) {
      const run = { text: texts[i] as string, at: 0, line: 0, run: i + 1, key: '', value: '' }
      if (advance(run)) heap[heap.length] = run
    }
    for (let i = (heap.length >> 1) - 1; i >= 0; i--) siftDown(heap, i)
    while (heap.length > 0 && report.fault === undefined) {
      const first = heap[0] as Run
      const keyText = first.key
      const key = parsePart(keyText, first)
      const values: unknown[] = []
      while (heap.length > 0 && (heap[0] as Run).key === keyText) drain(heap, keyText, values)
      if (report.fault === undefined) onGroup(key, values, keyText)
    }
  }
}
