/**
 * The command line as data: what a command takes, read from its arguments, wrong ones told with the nearest right one. Pure.
 */
import { parseArgs } from 'node:util'
import { ConclaveError } from '../errors.ts'

export interface OptionSpec {
  type: 'string' | 'boolean'
  short?: string
  /** may be given several times */
  multiple?: true
  /** what stands for the value in help, such as `DIR` */
  value?: string
  help: string
}

export interface ArgsSpec {
  options: Readonly<Record<string, OptionSpec>>
  /** names of the positional arguments in help; `[X]`: may be left out, `[X...]`: any number */
  positionals: readonly string[]
}

export interface Args {
  positionals: string[]
  /** the last value given */
  text (name: string): string | undefined
  /** every value given, in order */
  texts (name: string): string[]
  flag (name: string): boolean
}

const usage = (message: string, next: string): ConclaveError => new ConclaveError('USAGE', message, { next })

/** @throws USAGE with the nearest option that there is */
export function parse (command: string, spec: ArgsSpec, argv: readonly string[]): Args {
  const help = `conclave ${command} --help`
  const { tokens, positionals } = parseArgs({ args: [...argv], options: toNode(spec), strict: false, tokens: true, allowPositionals: true })
  const given = new Map<string, string[]>()
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const option = spec.options[token.name]
    if (option === undefined) {
      const near = nearest(token.name, Object.keys(spec.options))
      throw usage(`${token.rawName} is no option of conclave ${command}${near === undefined ? '' : `; did you mean --${near}?`}`, help)
    }
    if (option.type === 'boolean' && token.value !== undefined) throw usage(`${token.rawName} takes no value`, help)
    const missing = option.type === 'string' && (token.value === undefined || (!token.inlineValue && token.value.startsWith('-') && token.value.length > 1))
    if (missing) throw usage(`${token.rawName} needs a value: ${token.rawName} ${option.value ?? 'VALUE'}`, help)
    const values = given.get(token.name) ?? []
    if (values.length > 0 && option.multiple !== true && option.type === 'string') throw usage(`${token.rawName} was given twice`, help)
    given.set(token.name, [...values, token.value ?? ''])
  }
  const isOpen = spec.positionals.at(-1)?.endsWith('...]') === true
  if (!isOpen && positionals.length > spec.positionals.length) throw usage(`${positionals[spec.positionals.length] ?? ''} is one argument too many`, help)
  const absent = spec.positionals.slice(positionals.length).find((name) => !name.startsWith('['))
  if (absent !== undefined) throw usage(`${absent} is missing`, help)
  return {
    positionals,
    text: (name) => given.get(name)?.at(-1),
    texts: (name) => given.get(name) ?? [],
    flag: (name) => given.has(name)
  }
}

function toNode (spec: ArgsSpec): Record<string, { type: 'string' | 'boolean', short?: string, multiple: boolean }> {
  return Object.fromEntries(Object.entries(spec.options).map(([name, { type, short }]) => [name, { type, multiple: true, ...(short === undefined ? {} : { short }) }]))
}

/** @returns the candidate that is at most two edits (a third of its length) away, the nearest first; undefined: none is */
export function nearest (word: string, candidates: readonly string[]): string | undefined {
  const near = candidates
    .map((candidate) => ({ candidate, distance: candidate.startsWith(word) && word.length >= 2 ? 0.5 : edits(word, candidate) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.min(2, Math.floor(candidate.length / 3))))
  return near.sort((a, b) => a.distance - b.distance)[0]?.candidate
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function edits (a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Infinity
  for (let i = 1; i <= a.length; i++) {
    rows.push([i])
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity
      rows[i]?.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same, swap))
    }
  }
  return at(a.length, b.length)
}

const DURATIONS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZES: Readonly<Record<string, number>> = { B: 1, K: 2 ** 10, KiB: 2 ** 10, M: 2 ** 20, MiB: 2 ** 20, G: 2 ** 30, GiB: 2 ** 30 }

/** `90s`, `1.5h`, `7d` → whole milliseconds, at least 1. @throws USAGE */
export function toMs (option: string, text: string): number {
  return scaled(option, text, DURATIONS, 'a duration such as 500ms, 30s, 10m, 1h or 7d')
}

/** `64MiB`, `1M`, `512` → whole bytes, at least 1. @throws USAGE */
export function toBytes (option: string, text: string): number {
  return scaled(option, /^\d+$/.test(text) ? `${text}B` : text, SIZES, 'a size such as 512K, 64MiB or 1G')
}

function scaled (option: string, text: string, units: Readonly<Record<string, number>>, wanted: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text) ?? []
  const factor = unit === undefined ? undefined : units[unit]
  const value = Math.round(Number(count) * (factor ?? NaN))
  if (!Number.isSafeInteger(value) || value < 1) throw usage(`--${option} ${text}: ${wanted} is needed`, `--${option} takes ${wanted}`)
  return value
}

/** @throws USAGE unless it is a whole number in `min`…`max` */
export function toCount (option: string, text: string, min = 1, max = Number.MAX_SAFE_INTEGER): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (value >= min && value <= max) return value
  throw usage(`--${option} ${text}: a whole number from ${min}${max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`} is needed`, `--${option} ${min}`)
}

/** @throws USAGE unless it is one of `choices` */
export function toChoice<T extends string> (option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text)
  if (found !== undefined) return found
  throw usage(`--${option} ${text}: one of ${choices.join(', ')} is needed`, `--${option} ${nearest(text, choices) ?? choices[0] ?? ''}`)
}

/** `a,b` and repeated options, each one of `choices`. @returns undefined where none was given. @throws USAGE */
export function toChoices<T extends string> (option: string, texts: readonly string[], choices: readonly T[]): T[] | undefined {
  const found = texts.flatMap((text) => text.split(',')).map((text) => toChoice(option, text.trim(), choices))
  return found.length === 0 ? undefined : [...new Set(found)]
}
