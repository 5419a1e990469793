/**
 * Executor processes of this machine, found by a mark on their command lines (Linux only).
 */
import { readdirSync, readFileSync } from 'node:fs'

/** @returns pids of all processes, wrappers included, whose arguments hold the mark */
export function pidsWith (mark: string, file = 'executor-process'): number[] {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number).filter(pid => {
    const command = readOrEmpty(`/proc/${pid}/cmdline`)
    return command.includes(file) && command.split('\0').includes(mark)
  })
}

/** @returns CPU time in clock ticks that a process has used, 0 when it is gone */
export function cpuTicks (pid: number): number {
  const [user, system] = readOrEmpty(`/proc/${pid}/stat`).split(') ')[1]?.split(' ').slice(11, 13) ?? []
  return Number(user ?? 0) + Number(system ?? 0)
}

function readOrEmpty (path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    // the process ended meanwhile
    return ''
  }
}

/** Looks again and again until it is so, or throws after `deadlineMs`. */
export async function until (what: string, deadlineMs: number, isSo: () => boolean): Promise<void> {
  const endMs = performance.now() + deadlineMs
  while (!isSo()) {
    if (performance.now() > endMs) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}
