/**
 * What the main job shows: one line of progress while it runs, tables at its end. Pure: facts in, text out.
 */

export interface ProgressView {
  stages: ReadonlyArray<{ kind: string, total: number, done: number }>
  /** name of the node, or undefined while nobody leads */
  leader: string | undefined
  term: number
  /** committed tasks by node, in the order of the nodes */
  tasks: ReadonlyArray<{ name: string, done: number, isDead: boolean }>
  elapsedMs: number
}

const BAR_CELLS = 24

/** @returns one line of at most `columns` characters */
export function progressLine (view: ProgressView, columns: number): string {
  const total = view.stages.reduce((sum, stage) => sum + stage.total, 0)
  const done = view.stages.reduce((sum, stage) => sum + stage.done, 0)
  const cells = total === 0 ? 0 : Math.floor(BAR_CELLS * done / total)
  const bar = `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)}`
  const stages = view.stages.map(({ kind, done, total }) => `${kind} ${done}/${total}`).join('  ')
  const leader = view.leader === undefined ? 'electing a leader' : `${view.leader} leads term ${view.term}`
  const tasks = view.tasks.map(({ done, isDead }) => isDead ? `†${done}` : String(done)).join(' ')
  const line = `${bar}  ${stages}  ${leader}  tasks ${tasks}  ${seconds(view.elapsedMs)}`
  return line.length <= columns ? line : `${line.slice(0, Math.max(0, columns - 1))}…`
}

/** Columns padded to their widest cell; numbers stand to the right. The first row is the head. */
export function table (rows: ReadonlyArray<ReadonlyArray<string | number>>): string {
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, text(cell).length)
  // A column whose body is numbers has its head to the right as well.
  const isNumber = widths.map((_, i) => rows.slice(1).every(row => typeof row[i] === 'number'))
  const lines = rows.map(row => row.map((cell, i) => isNumber[i] === true ? text(cell).padStart(widths[i] ?? 0) : text(cell).padEnd(widths[i] ?? 0)).join('  ').trimEnd())
  lines.splice(1, 0, widths.map(width => '─'.repeat(width)).join('  '))
  return lines.map(line => `  ${line}\n`).join('')
}

const text = (cell: string | number): string => typeof cell === 'number' ? cell.toLocaleString('en') : cell

/** `1.2 s` */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** `32.5 MB` */
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
