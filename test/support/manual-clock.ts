import type { Clock } from '../../src/consensus/consensus.ts'

/** Time that passes only when a test says so. */
export class ManualClock implements Clock {
  #nowMs = 1000
  #timers: Array<{ atMs: number, callback: () => void }> = []

  readonly nowMs = (): number => this.#nowMs

  readonly after = (ms: number, callback: () => void): (() => void) => {
    const timer = { atMs: this.#nowMs + ms, callback }
    this.#timers.push(timer)
    return () => { this.#timers = this.#timers.filter(other => other !== timer) }
  }

  /** Jumps, as a machine that slept: timers that are due fire once, late. */
  jump (ms: number): void {
    this.#nowMs += ms
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs).sort((a, b) => a.atMs - b.atMs)
    this.#timers = this.#timers.filter(timer => !due.includes(timer))
    for (const { callback } of due) callback()
  }

  /** Passes in steps, and lets what it set off happen in between. */
  async pass (ms: number, stepMs: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.jump(stepMs)
      for (let turn = 0; turn < 10; turn++) await new Promise(resolve => setImmediate(resolve))
    }
  }
}
