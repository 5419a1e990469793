/**
 * Time and dice come from the task, so that a re-run gives the same and two participants can be compared. Travels into the isolate as text.
 */
import type { Globals } from './globals.ts'

/**
 * Replaces `Date`'s clock and `Math.random`, and removes shared memory, its waits, and machine code of the job's own making: surface
 * that a text job does not need.
 *
 * @returns `reset`: from now on, time stands still at `nowMs` and the dice start anew from `seed`
 */
export function installDeterminism ({ defineProperty, hash, imul, uncurry }: Globals) {
  let nowMs = 0
  let state = 0
  const { construct } = Reflect
  const NativeDate = Date
  const dateToString = uncurry<(date: Date) => string>(Date.prototype.toString)

  // mulberry32 (https://gist.github.com/tommyettinger/46a874533244883189143505d203312c): small, good enough to sample with
  const random = (): number => {
    state = (state + 0x6D2B79F5) | 0
    let t = imul(state ^ (state >>> 15), 1 | state)
    t = (t + imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  const TaskDate = function Date (...args: unknown[]): unknown {
    if (new.target === undefined) return dateToString(new NativeDate(nowMs))
    return construct(NativeDate, args.length === 0 ? [nowMs] : args, new.target)
  }
  defineProperty(TaskDate, 'prototype', { value: NativeDate.prototype, writable: false })
  defineProperty(TaskDate, 'length', { value: 7 })
  for (const [name, value] of [['parse', NativeDate.parse], ['UTC', NativeDate.UTC], ['now', () => nowMs]] as const) {
    defineProperty(TaskDate, name, { value, writable: true, configurable: true })
  }
  defineProperty(NativeDate.prototype, 'constructor', { value: TaskDate, writable: true, configurable: true })
  defineProperty(globalThis, 'Date', { value: TaskDate, writable: true, configurable: true })
  defineProperty(Math, 'random', { value: random, writable: true, configurable: true })
  for (const name of ['WebAssembly', 'SharedArrayBuffer', 'Atomics']) delete (globalThis as Record<string, unknown>)[name]

  return {
    reset (now: number, seed: string): void {
      nowMs = now
      state = hash(seed) | 0
    }
  }
}
