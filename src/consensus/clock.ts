/** Real time, and ticks made of it. */
import type { Clock } from './consensus.ts'

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms)
    return () => { clearTimeout(timer) }
  }
}

/** Ticks that one wake-up may deliver. A laptop that slept an hour was not without a leader for an hour: it was not there. */
const MAX_CATCH_UP_TICKS = 2

/**
 * Calls `onTicks` with the number of ticks that have passed, at most 2 at once however long the process was stopped.
 *
 * @returns stops it
 */
export function startTicking (clock: Clock, tickMs: number, onTicks: (ticks: number) => void): () => void {
  let dueMs = clock.nowMs() + tickMs
  let cancel = clock.after(tickMs, wake)
  function wake (): void {
    const lateMs = clock.nowMs() - dueMs
    const passed = 1 + Math.max(0, Math.floor(lateMs / tickMs))
    dueMs = passed > MAX_CATCH_UP_TICKS ? clock.nowMs() + tickMs : dueMs + passed * tickMs
    cancel = clock.after(Math.max(0, dueMs - clock.nowMs()), wake)
    onTicks(Math.min(passed, MAX_CATCH_UP_TICKS))
  }
  return () => { cancel() }
}
