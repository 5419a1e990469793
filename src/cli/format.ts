/** How things look on a terminal. Pure. */
import type { JobInfo, Waiting } from '../api.ts'

export function bytes (count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = count
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit++ }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ''}`
}

export function duration (ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** Peer ids all begin alike: their end tells them apart. */
export const shortPeer = (peerId: string): string => peerId.length <= 10 ? peerId : `…${peerId.slice(-8)}`

/** Columns as wide as their widest cell, two spaces between; the first row is the head. Control characters of foreign text are taken out. */
export function table (rows: ReadonlyArray<readonly string[]>): string {
  const clean = rows.map((cells) => cells.map(plain))
  const widths: number[] = []
  for (const cells of clean) cells.forEach((cell, at) => { widths[at] = Math.max(widths[at] ?? 0, cell.length) })
  return clean.map((cells) => `${cells.map((cell, at) => at === cells.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)).join('  ').trimEnd()}\n`).join('')
}

/** Text that somebody else chose (names, messages), made harmless for a terminal. */
// eslint-disable-next-line no-control-regex
export const plain = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g, ' ')

/** Tasks done of all tasks of all stages known so far. */
export function totals (info: JobInfo): { done: number, total: number } {
  return info.stages.reduce((sum, stage) => ({ done: sum.done + stage.done, total: sum.total + stage.total }), { done: 0, total: 0 })
}

/** One line, at most `columns` wide: a bar, each stage, who takes part, or why nothing runs. */
export function progressLine (info: JobInfo, elapsedMs: number, columns: number): string {
  const { done, total } = totals(info)
  const cells = 20
  const filled = total === 0 ? 0 : Math.floor(cells * done / total)
  const bar = `${'█'.repeat(filled)}${'░'.repeat(cells - filled)}`
  const stages = info.stages.map((stage) => `${stage.kind} ${stage.done}/${stage.total}`).join(', ')
  const running = info.stages.reduce((sum, stage) => sum + stage.running, 0)
  const workers = info.participants.length
  const state = info.status !== 'running'
    ? info.status
    : running === 0 && info.waiting !== undefined ? `waiting: ${info.waiting}` : `${running} running, ${workers} ${workers === 1 ? 'participant' : 'participants'}`
  const text = plain(`${bar}  ${stages}  ${state}  ${duration(elapsedMs)}`)
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`
}

export function waitingLines (waiting: readonly Waiting[]): string {
  return waiting.map(({ what, why, next }) => `waiting: ${plain(what)}: ${plain(why)}\n  next: ${plain(next)}\n`).join('')
}
