/**
 * What every workload shares: series of figures, rounds taken in turn, processor time of process trees, and the table they end in.
 */
import fs from 'node:fs'

/** `ours` is Conclave, `peer` what it is compared with in the same run. */
export type Side = 'ours' | 'peer'

export interface Row {
  measure: string
  ours: readonly number[]
  peer?: readonly number[]
  /** digits behind the point */
  digits?: number
  /** in words, as in the issue */
  goal?: string
  /** judged on the medians; absent where there is no goal */
  isMet?: boolean
}

export interface Table {
  /** of the peer's column; absent: nothing was compared */
  peer?: string
  rows: Row[]
  /** what a reader must know to read the figures: what was left out, and why */
  notes: string[]
}

export interface Context {
  rounds: number
  /** run other people's software too, and install it where that is possible */
  withPeers: boolean
  /** minutes that the `calm` workload lasts */
  minutes: number
  log: (line: string) => void
}

export interface Workload {
  name: string
  title: string
  /** run by `npm run bench` without names */
  isDefault: boolean
  run (context: Context): Promise<Table>
}

/** @param p - in [0, 1]. @returns the nearest-rank percentile; NaN of nothing */
export function percentile (values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? NaN
}

/** @returns the middle, or the mean of the two in the middle */
export function median (values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  if (sorted.length === 0) return NaN
  return sorted.length % 2 === 1 ? sorted[half] as number : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}

/**
 * Rounds of all sides in turn: A B, B A, A B, …, the first by chance, so that what else the machine does meets both alike. With one side:
 * that side, so many times.
 */
export async function interleave (rounds: number, sides: readonly Side[], work: (side: Side, round: number) => Promise<void>): Promise<void> {
  const first = Math.random() < 0.5 ? sides : sides.toReversed()
  for (let round = 0; round < rounds; round++) {
    for (const side of round % 2 === 0 ? first : first.toReversed()) await work(side, round)
  }
}

/** Figures by measure and side. */
export class Series {
  readonly #values = new Map<string, number[]>()

  add (side: Side, measure: string, value: number): void {
    const key = `${side} ${measure}`
    this.#values.set(key, [...this.#values.get(key) ?? [], value])
  }

  of (side: Side, measure: string): number[] { return this.#values.get(`${side} ${measure}`) ?? [] }

  /** @param goal - `isMet` judges the two medians; the peer's is NaN where it did not run */
  row (measure: string, digits = 1, goal?: { text: string, isMet: (ours: number, peer: number) => boolean | undefined }): Row {
    const ours = this.of('ours', measure)
    const peer = this.of('peer', measure)
    const isMet = goal?.isMet(median(ours), median(peer))
    return {
      measure, ours, digits,
      ...(peer.length === 0 ? {} : { peer }),
      ...(goal === undefined ? {} : { goal: goal.text }),
      ...(isMet === undefined ? {} : { isMet })
    }
  }
}

/** A goal relative to a peer says nothing where the peer did not run. */
export const against = (judge: (ours: number, peer: number) => boolean) => (ours: number, peer: number): boolean | undefined => Number.isNaN(peer) ? undefined : judge(ours, peer)

const TICKS_PER_SECOND = 100

/**
 * @param pids - living processes; counted with all that descend from them, those that have ended included
 * @returns seconds of user and system time; NaN where there is no /proc
 */
export function cpuSeconds (pids: readonly number[]): number {
  const stats = readStats()
  if (stats === undefined) return NaN
  const wanted = new Set(pids)
  // parents come before their children nearly always; a pid that has wrapped around needs another pass
  for (let size = -1; size !== wanted.size;) {
    size = wanted.size
    for (const [pid, { parent }] of stats) if (wanted.has(parent)) wanted.add(pid)
  }
  let ticks = 0
  for (const pid of wanted) ticks += stats.get(pid)?.ticks ?? 0
  return ticks / TICKS_PER_SECOND
}

/** Layout of /proc/PID/stat: proc(5). */
function readStats (): Map<number, { parent: number, ticks: number }> | undefined {
  let names: string[]
  try {
    names = fs.readdirSync('/proc')
  } catch {
    return undefined
  }
  const stats = new Map<number, { parent: number, ticks: number }>()
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue
    try {
      const text = fs.readFileSync(`/proc/${name}/stat`, 'latin1')
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number)
      const [utime, stime, cutime, cstime] = fields.slice(11, 15) as [number, number, number, number]
      stats.set(Number(name), { parent: fields[1] as number, ticks: utime + stime + cutime + cstime })
    } catch {
      continue // it has ended meanwhile
    }
  }
  return stats
}

/** @returns the most memory that a living process has held, MB; NaN where there is no /proc */
export function peakMegabytes (pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024
  } catch {
    return NaN
  }
}

/** @returns `median [min–max]` */
export function figure (values: readonly number[], digits: number): string {
  const text = (value: number): string => value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  if (values.length === 0 || values.some(Number.isNaN)) return '—'
  if (values.length === 1) return text(values[0] as number)
  return `${text(median(values))} [${text(Math.min(...values))}–${text(Math.max(...values))}]`
}

export function markdown ({ peer, rows, notes }: Table): string {
  const head = ['Measure', 'Conclave', ...(peer === undefined ? [] : [peer, 'ratio']), 'goal', '']
  const lines = rows.map((row) => {
    const { measure, ours, digits = 1, goal, isMet } = row
    const ratio = row.peer === undefined ? '' : `${(median(ours) / median(row.peer)).toFixed(2)}×`
    const verdict = isMet === undefined ? '' : isMet ? 'met' : '**missed**'
    return [measure, figure(ours, digits), ...(peer === undefined ? [] : [row.peer === undefined ? '' : figure(row.peer, digits), ratio]), goal ?? '', verdict]
  })
  const table = [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
  return notes.length === 0 ? table : `${table}\n\n${notes.map((note) => `- ${note}`).join('\n')}`
}
