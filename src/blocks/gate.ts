/**
 * A bound on how much of one kind goes on at once; the rest waits in line, first come first served, up to a limit of its own.
 */
import { ConclaveError } from '../errors.ts'

export interface Gate {
  /**
   * Runs `work` when a place is free.
   *
   * @throws BLOCKS_BUSY where `maxWaiting` wait already; the signal's reason where it aborts while waiting; whatever `work` throws
   */
  run <T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>
  readonly active: number
  readonly waiting: number
}

/**
 * @param what - named in the error, in the plural
 * @param maxActive - at least 1
 * @param maxWaiting - beyond those that run
 */
export function createGate (what: string, maxActive: number, maxWaiting: number): Gate {
  let active = 0
  // A set keeps the order of insertion and lets an aborted waiter leave in constant time.
  const line = new Set<() => void>()

  async function enter (signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (active < maxActive) {
      active++
      return
    }
    if (line.size >= maxWaiting) {
      throw new ConclaveError('BLOCKS_BUSY', `${maxActive} ${what} at once and ${line.size} in line: the disk or a peer is too slow for what is asked of it`,
        { next: 'Try again in a moment, or give this node less to do (--slots).' })
    }
    await new Promise<void>((resolve, reject) => {
      const go = (): void => { signal?.removeEventListener('abort', leave); resolve() }
      const leave = (): void => { line.delete(go); reject(signal?.reason as Error) }
      line.add(go)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }

  /** The place goes straight to the next in line, so nobody can slip in between. */
  function exit (): void {
    const [next] = line
    if (next === undefined) {
      active--
      return
    }
    line.delete(next)
    next()
  }

  return {
    async run (work, signal) {
      await enter(signal)
      try { return await work() } finally { exit() }
    },
    get active () { return active },
    get waiting () { return line.size }
  }
}
