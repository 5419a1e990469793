/**
 * The log in memory: everything since the last compaction, and how far each stage of its life has come:
 *
 *     offset ≤ applied ≤ handedOut ≤ commit ≤ lastIndex,  stable ≤ writing ≤ lastIndex
 *
 * `stable` is on disk, `writing` was given to the caller to write. Entries are shared and never written to.
 * Source: Raft paper §5.3, §5.4, §7.
 */
import type { Entry, SnapshotMeta } from './types.ts'

/** What an entry costs beside its data, so that empty entries are bounded too. */
export const ENTRY_OVERHEAD_BYTES = 24

export const entryBytes = (entry: Entry): number => entry.data.length + ENTRY_OVERHEAD_BYTES

/** We are wrong: stop before the log is damaged. */
export function invariant (holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`raft invariant broken: ${what}`)
}

export class RaftLog {
  #entries: Entry[]
  #offset: number
  #offsetTerm: number
  #stable: number
  #writing: number
  #handedOut: number
  commit: number
  applied: number
  /** restored into the log, and not on disk yet */
  pendingSnapshot: SnapshotMeta | undefined

  /** All of `entries` is on disk; they follow `snapshot` without a gap. */
  constructor (snapshot: SnapshotMeta, entries: Entry[], commit: number, applied: number) {
    this.#entries = entries
    this.#offset = snapshot.index
    this.#offsetTerm = snapshot.term
    this.#stable = this.#writing = this.lastIndex
    this.commit = commit
    this.applied = this.#handedOut = applied
  }

  /** index of the last compacted entry; its term is still known */
  get offset (): number { return this.#offset }
  get lastIndex (): number { return this.#offset + this.#entries.length }
  get lastTerm (): number { return this.#entries.at(-1)?.term ?? this.#offsetTerm }
  get stable (): number { return this.#stable }
  get hasUnwritten (): boolean { return this.#writing < this.lastIndex }
  get hasUnapplied (): boolean { return this.#handedOut < this.commit }
  /** highest index given to the caller to apply */
  get handedOut (): number { return this.#handedOut }

  /** @returns undefined for an index that is compacted or beyond the end */
  term (index: number): number | undefined {
    if (index === this.#offset) return this.#offsetTerm
    return this.#entries[index - this.#offset - 1]?.term
  }

  /** @returns entries `from`…`to`, both included: at least one if there is any, then as many as fit into `maxBytes` */
  slice (from: number, to: number, maxBytes: number): Entry[] {
    invariant(from > this.#offset, `entry ${from} is compacted up to ${this.#offset}`)
    const end = Math.min(to, this.lastIndex)
    let bytes = 0
    let index = from
    for (; index <= end; index++) {
      bytes += entryBytes(this.#entries[index - this.#offset - 1]!)
      if (bytes > maxBytes && index > from) break
    }
    return this.#entries.slice(from - this.#offset - 1, index - this.#offset - 1)
  }

  /** @returns the first of `entries` that differs from the log or lies beyond its end; undefined if there is none */
  findConflict (entries: readonly Entry[]): Entry | undefined {
    return entries.find(entry => entry.index > this.#offset && this.term(entry.index) !== entry.term)
  }

  /**
   * Where a log whose entry at `index` has `term` could agree with this one (fast backtracking, §5.3): terms never fall along a log.
   *
   * @returns the highest index in [`floor`, `index`] whose term is at most `term`; `floor` if there is none
   */
  lastIndexOfTermUpTo (term: number, index: number, floor: number): number {
    let low = Math.max(floor, this.#offset)
    let high = Math.min(index, this.lastIndex)
    if (high < low) return floor
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.term(middle)! <= term) low = middle
      else high = middle - 1
    }
    return this.term(low)! <= term ? low : floor
  }

  /** Append, dropping what the log holds from the first one's index on. What is committed is never dropped. */
  append (entries: readonly Entry[]): void {
    const first = entries[0]
    if (first === undefined) return
    invariant(first.index > this.commit && first.index <= this.lastIndex + 1, `append of ${first.index} to ${this.commit}…${this.lastIndex}`)
    this.#entries.length = first.index - this.#offset - 1
    this.#stable = Math.min(this.#stable, first.index - 1)
    this.#writing = Math.min(this.#writing, first.index - 1)
    for (const entry of entries) this.#entries.push(entry)
  }

  /** @returns true if the commit index rose */
  commitTo (index: number): boolean {
    invariant(index <= this.lastIndex, `commit of ${index} beyond the end ${this.lastIndex}`)
    if (index <= this.commit) return false
    this.commit = index
    return true
  }

  /** §5.4.1. @returns true if a log that ends at (`index`, `term`) is at least as complete as this one */
  isUpToDate (index: number, term: number): boolean {
    return term > this.lastTerm || (term === this.lastTerm && index >= this.lastIndex)
  }

  /** @returns true if a change of configuration is committed and not applied yet */
  hasUnappliedConf (): boolean {
    for (let index = Math.max(this.applied, this.#offset) + 1; index <= this.commit; index++) {
      if (this.#entries[index - this.#offset - 1]!.kind === 'conf') return true
    }
    return false
  }

  /** Replace everything by a snapshot beyond the commit index. Never while something is being written. */
  restore (snapshot: SnapshotMeta): void {
    invariant(snapshot.index > this.commit, `snapshot ${snapshot.index} behind commit ${this.commit}`)
    this.#entries = []
    this.#offset = this.commit = this.#stable = this.#writing = snapshot.index
    this.#offsetTerm = snapshot.term
    this.pendingSnapshot = snapshot
  }

  /** @returns entries to write, in order; they count as being written */
  takeUnwritten (): Entry[] {
    const entries = this.#entries.slice(this.#writing - this.#offset)
    this.#writing = this.lastIndex
    return entries
  }

  /** @returns the next committed entries, in order, at least one if any */
  takeCommitted (maxBytes: number): Entry[] {
    if (this.pendingSnapshot !== undefined) this.#handedOut = Math.max(this.#handedOut, this.pendingSnapshot.index)
    if (this.#handedOut >= this.commit) return []
    const entries = this.slice(this.#handedOut + 1, this.commit, maxBytes)
    this.#handedOut = entries.at(-1)!.index
    return entries
  }

  /**
   * The pending snapshot, if any, and `entries` are on disk. What was truncated in the meantime does not count: an entry is still the
   * one that was written if it has its term, and so is then all before it (Log Matching).
   */
  noteWritten (entries: readonly Entry[]): void {
    this.pendingSnapshot = undefined
    for (let i = entries.length - 1; i >= 0; i--) {
      const { index, term } = entries[i]!
      if (index > this.#offset && this.term(index) === term) {
        this.#stable = Math.max(this.#stable, index)
        this.#writing = Math.max(this.#writing, index)
        return
      }
    }
  }

  /** Drop entries up to `index`, which is applied. */
  compact (index: number): void {
    if (index <= this.#offset || this.pendingSnapshot !== undefined) return
    invariant(index <= this.applied, `compaction of ${index} beyond applied ${this.applied}`)
    this.#offsetTerm = this.term(index)!
    this.#entries.splice(0, index - this.#offset)
    this.#offset = index
    this.#stable = Math.max(this.#stable, index)
    this.#writing = Math.max(this.#writing, index)
  }
}
