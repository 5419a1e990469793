/**
 * Which messages of an author were seen before: the anti-replay window of RFC 4303 §3.4.3, per author and incarnation. Pure.
 *
 * Gossipsub forgets a message after two minutes and would take it again. Messages also overtake one another on their way, so a plain
 * high-water mark would drop honest ones: the last 1024 sequence numbers are remembered one by one, everything older counts as seen.
 */
import { accept, ignore } from '../../keys/verdict.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Verdict } from '../../keys/verdict.ts'

/** How far behind the highest sequence number a message may arrive. */
export const REPLAY_WINDOW = 1024

/** What is worth keeping of an author: after a restart of ours all up to `sequence` counts as seen. */
export interface Mark { author: PeerIdStr, incarnation: number, sequence: number }

interface Window {
  incarnation: number
  highest: number
  /** lowest sequence number that is remembered one by one; all below count as seen */
  floor: number
  seen: Set<number>
}

/** Invariant: at most `maxAuthors` windows of at most REPLAY_WINDOW numbers each; the author heard of longest ago is forgotten first. */
export class ReplayGuard {
  readonly #maxAuthors: number
  /** in the order in which they were heard of, latest last */
  readonly #windows = new Map<PeerIdStr, Window>()

  /** @param marks - from an earlier run, longest ago first */
  constructor (maxAuthors: number, marks: Iterable<Mark> = []) {
    this.#maxAuthors = maxAuthors
    for (const { author, incarnation, sequence } of marks) {
      this.#put(author, { incarnation, highest: sequence, floor: sequence + 1, seen: new Set() })
    }
  }

  /** @returns ignore GOSSIP_REPLAYED or GOSSIP_OLD_INCARNATION. Changes nothing: a forged message must not move a mark. */
  check (author: PeerIdStr, incarnation: number, sequence: number): Verdict {
    const window = this.#windows.get(author)
    if (window === undefined || incarnation > window.incarnation) return accept(undefined)
    if (incarnation < window.incarnation) return ignore('GOSSIP_OLD_INCARNATION', 'the author has been started anew since')
    if (sequence < window.floor || window.seen.has(sequence)) return ignore('GOSSIP_REPLAYED', 'seen before, or too far behind to tell')
    return accept(undefined)
  }

  /** Remember a message that `check` accepted and whose signature holds. */
  record (author: PeerIdStr, incarnation: number, sequence: number): void {
    const known = this.#windows.get(author)
    const window = known === undefined || incarnation > known.incarnation ? { incarnation, highest: 0, floor: 1, seen: new Set<number>() } : known
    if (incarnation < window.incarnation) return
    window.seen.add(sequence)
    window.highest = Math.max(window.highest, sequence)
    const floor = Math.max(window.floor, window.highest - REPLAY_WINDOW + 1)
    if (floor - window.floor > window.seen.size) {
      for (const number of window.seen) if (number < floor) window.seen.delete(number)
    } else {
      for (let number = window.floor; number < floor; number++) window.seen.delete(number)
    }
    window.floor = floor
    this.#put(author, window)
  }

  /** @returns what to keep for the next run, longest ago first */
  marks (): Mark[] {
    return [...this.#windows].map(([author, { incarnation, highest }]) => ({ author, incarnation, sequence: highest }))
  }

  #put (author: PeerIdStr, window: Window): void {
    this.#windows.delete(author)
    this.#windows.set(author, window)
    if (this.#windows.size <= this.#maxAuthors) return
    const oldest = this.#windows.keys().next()
    if (oldest.done !== true) this.#windows.delete(oldest.value)
  }
}
