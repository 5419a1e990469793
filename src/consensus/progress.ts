/**
 * What a leader knows of one member's log, and how fast it may send. Leaf module; a progress is changed by its owner only.
 * Source: etcd-io/raft `tracker` (progress and inflights), Raft paper §5.3 (matchIndex, nextIndex).
 *
 * - `probe`: the last matching index is not known; one append at a time, the next after an answer or a heartbeat's reply
 * - `replicate`: appends are pipelined up to the in-flight limits, `next` moves ahead of the answers
 * - `snapshot`: entries that it needs are compacted; nothing is sent until the snapshot is reported, arrived, or timed out
 */
import type { ProgressState } from './types.ts'

export interface Progress {
  state: ProgressState
  /** highest index known to be persisted there and equal to ours */
  match: number
  /** index of the next entry to send; above `match` */
  next: number
  /** in `probe`: an append is out, wait */
  probeSent: boolean
  /** in `snapshot`: index of the snapshot that is under way */
  pendingSnapshot: number
  /** in `snapshot`: ticks since it was sent */
  snapshotElapsed: number
  /** an answer came since the last check-quorum */
  recentActive: boolean
  /** highest commit index that it has been told of */
  sentCommit: number
  /** highest read number that it has confirmed */
  readAck: number
  readonly inflight: Inflight
}

/** Appends sent and not answered, oldest first, bounded in number and bytes. */
export class Inflight {
  #last: number[] = []
  #size: number[] = []
  #head = 0
  #bytes = 0
  readonly #maxMessages: number
  readonly #maxBytes: number

  constructor (maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get messages (): number { return this.#last.length - this.#head }
  get bytes (): number { return this.#bytes }
  get isFull (): boolean { return this.messages >= this.#maxMessages || this.#bytes >= this.#maxBytes }

  /** @param last - index of the last entry of the message; rising from call to call */
  add (last: number, bytes: number): void {
    this.#last.push(last)
    this.#size.push(bytes)
    this.#bytes += bytes
  }

  /** Forget the messages whose last entry is at most `index`. */
  freeUpTo (index: number): void {
    while (this.#head < this.#last.length && this.#last[this.#head]! <= index) {
      this.#bytes -= this.#size[this.#head]!
      this.#head++
    }
    if (this.#head > 64 && this.#head * 2 > this.#last.length) {
      this.#last.splice(0, this.#head)
      this.#size.splice(0, this.#head)
      this.#head = 0
    }
  }

  reset (): void {
    this.#last = []
    this.#size = []
    this.#head = 0
    this.#bytes = 0
  }
}

export function createProgress (next: number, limits: { maxInflightMessages: number, maxInflightBytes: number }): Progress {
  return {
    state: 'probe',
    match: 0,
    next,
    probeSent: false,
    pendingSnapshot: 0,
    snapshotElapsed: 0,
    recentActive: false,
    sentCommit: 0,
    readAck: 0,
    inflight: new Inflight(limits.maxInflightMessages, limits.maxInflightBytes)
  }
}

function enter (progress: Progress, state: ProgressState): void {
  progress.state = state
  progress.probeSent = false
  progress.pendingSnapshot = 0
  progress.snapshotElapsed = 0
  progress.inflight.reset()
}

/** Back to one at a time, from what is known to match; what had been told of commits may have been lost with it. */
export function becomeProbe (progress: Progress): void {
  const pending = progress.state === 'snapshot' ? progress.pendingSnapshot : 0
  enter(progress, 'probe')
  progress.next = Math.max(progress.match, pending) + 1
  progress.sentCommit = 0
}

export function becomeReplicate (progress: Progress): void {
  enter(progress, 'replicate')
  progress.next = progress.match + 1
}

export function becomeSnapshot (progress: Progress, index: number): void {
  enter(progress, 'snapshot')
  progress.pendingSnapshot = index
  progress.next = index + 1
}

/** @returns true if no append may be sent now */
export function isPaused (progress: Progress): boolean {
  if (progress.state === 'probe') return progress.probeSent
  return progress.state === 'snapshot' || progress.inflight.isFull
}

/** An append up to `last` of `bytes` was sent (`last` is `next - 1` for an empty one). */
export function noteSent (progress: Progress, last: number, bytes: number): void {
  if (progress.state === 'probe') {
    progress.probeSent = true
  } else if (last >= progress.next) {
    progress.inflight.add(last, bytes)
    progress.next = last + 1
  }
}

/** An append was accepted up to `index`. @returns true if that is news */
export function noteMatch (progress: Progress, index: number): boolean {
  const isNews = index > progress.match
  if (isNews) {
    progress.match = index
    progress.probeSent = false
  }
  progress.next = Math.max(progress.next, index + 1)
  return isNews
}

/**
 * An append after `rejected` was refused.
 *
 * @param hint - where the logs may agree
 * @returns false if the answer is to an older append and says nothing; else `next` went back, and a replicating progress probes
 */
export function noteReject (progress: Progress, rejected: number, hint: number): boolean {
  if (progress.state === 'snapshot') return false
  if (progress.state === 'replicate') {
    if (rejected <= progress.match) return false
    becomeProbe(progress)
    return true
  }
  if (progress.next - 1 !== rejected) return false
  progress.next = Math.max(Math.min(rejected, hint + 1), progress.match + 1)
  progress.probeSent = false
  return true
}
