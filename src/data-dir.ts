/**
 * A data directory belongs to one running node at a time.
 *
 * The lock is the operating system's, on the LOCK file of an otherwise empty Level store (fcntl on POSIX, an exclusive handle on
 * Windows): it ends with its process, however that ends, so it is never stale, and of two that try at once exactly one gets it.
 * Node itself has no file locks. Rejected: a pid file alone (stale after SIGKILL, and a pid is reused), a lock file judged by its age.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { ClassicLevel } from 'classic-level'
import { ConclaveError } from './errors.ts'

/** The holder writes its pid right after it got the lock; a loser waits at most this long to read it. */
const PID_WAIT_MS = 500

export interface DataDirLock {
  /** Idempotent. */
  release (): Promise<void>
}

/**
 * Creates the directory (0700) where it is absent, and takes it.
 *
 * @returns the lock, held until `release` or the end of the process
 * @throws DATA_DIR_IN_USE {pid}; DATA_DIR_UNUSABLE where it cannot be created or written
 */
export async function lockDataDir (dataDir: string): Promise<DataDirLock> {
  const pidFile = path.join(dataDir, 'lock', 'pid')
  let level: ClassicLevel
  try {
    await fs.mkdir(dataDir, { recursive: true, mode: 0o700 })
    // Only now: a store opens itself soon after it is made, and would create the directory for everybody.
    level = new ClassicLevel(path.join(dataDir, 'lock'), { createIfMissing: true })
    await level.open()
  } catch (error) {
    const cause = (error as { cause?: { code?: unknown } }).cause
    if (cause?.code === 'LEVEL_LOCKED') throw await inUse(dataDir, pidFile)
    throw new ConclaveError('DATA_DIR_UNUSABLE', `the data directory ${dataDir} cannot be used: ${(cause as Error | undefined)?.message ?? (error as Error).message}`,
      { next: 'choose another one with --data-dir, or make it writable for you', cause: error })
  }
  try {
    await fs.writeFile(pidFile, `${process.pid}\n`, { mode: 0o600 })
  } catch (error) {
    await level.close()
    throw new ConclaveError('DATA_DIR_UNUSABLE', `the data directory ${dataDir} cannot be written: ${(error as Error).message}`, { next: 'free some disk space, or make it writable for you', cause: error })
  }
  let released: Promise<void> | undefined
  const release = async (): Promise<void> => {
    await fs.rm(pidFile, { force: true })
    await level.close()
  }
  return { release: () => (released ??= release()) }
}

async function inUse (dataDir: string, pidFile: string): Promise<ConclaveError> {
  const deadline = performance.now() + PID_WAIT_MS
  let pid: number | undefined
  do {
    const text = await fs.readFile(pidFile, 'utf8').catch(() => '')
    pid = /^\d+\n$/.test(text) ? Number(text) : undefined
    if (pid !== undefined && isAlive(pid)) break
    await wait(20)
  } while (performance.now() < deadline)
  return new ConclaveError('DATA_DIR_IN_USE', `the data directory ${dataDir} is in use by a running node${pid === undefined ? '' : `, process ${pid}`}`,
    { next: `conclave status --data-dir ${dataDir}, or give this node a directory of its own with --data-dir`, details: { dataDir, pid: pid ?? null } })
}

/** Another user's process counts as alive. */
export function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
