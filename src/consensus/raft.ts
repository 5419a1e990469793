/**
 * The Raft core's one entrance: `createRaft`. A state machine without I/O, clock or dice: inputs are methods, effects come out of
 * `ready`. See README.md for the caller's duties. Not thread safe; calls between `ready` and `advance` are allowed.
 */
import type { Verdict } from '../../keys/verdict.ts'
import type { ConfChange, ConfState, Entry, Message, RaftConfig, RaftId, RaftStatus, Ready, RestoredState, SnapshotMeta } from './types.ts'

export type { RaftConfig, RaftStatus } from './types.ts'

export interface Raft {
  /** One unit of time has passed: timers of elections, heartbeats, check-quorum, transfer and snapshots. */
  tick (): void

  /**
   * Take a message of a peer. The caller has checked that `message.from` is the authenticated sender. A message of type `snapshot`
   * is stepped once its bytes have arrived completely; they are wanted if the next `ready` carries that snapshot.
   *
   * @returns `reject` for what an honest peer cannot have sent (malformed, or against what is committed here): nothing was changed;
   * `accept` otherwise, also where the message was late and had no effect. Never throws on a message.
   */
  step (message: Message): Verdict

  /** Ask for `data` to be replicated. The answer comes in `ready().proposals` with `context` (opaque, kept as is). */
  propose (data: Uint8Array, context: Uint8Array): void

  /** As `propose`, for a configuration change: one at a time, judged by the rules of `conf-change.ts`. */
  proposeConfChange (change: ConfChange, context: Uint8Array): void

  /**
   * To be called once for each entry of kind `conf` in `ready().committed`, in order, before `advance`.
   *
   * @returns the configuration in force from this index on; the caller keeps it for its next snapshot
   */
  applyConfChange (entry: Entry): ConfState

  /** Start a pre-vote now, if this node may lead: a voter, not leader, with no committed configuration change still to be applied. */
  campaign (): void

  /** As leader: hand over to a voter. Proposals are dropped until it leads or an election timeout has passed. No effect elsewhere. */
  transferLeadership (to: RaftId): void

  /**
   * Ask for a linearizable read (thesis §6.4). The answer comes in `ready().readStates` with `context`. A follower asks its leader;
   * the message may be lost, so the caller needs a deadline.
   */
  readIndex (context: Uint8Array): void

  /**
   * The connection to `id` is closed. A leader sends carefully to it from now on. A follower whose leader it is forgets that leader
   * and thereby the lease that makes it ignore (pre-)votes, so it may `campaign` at once and answers others who do. Safe whenever it
   * is called: the lease serves calm, never safety, and the next message of a live leader restores it.
   */
  reportUnreachable (id: RaftId): void

  /** The transfer of a `snapshot` message's bytes to `id` ended. To be called for each of them; a lost report only delays. */
  reportSnapshot (id: RaftId, ok: boolean): void

  /**
   * A snapshot of the applied state is on disk; followers too far behind get this one from now on. Drops nothing: see `compact`.
   * `meta.conf` is what `applyConfChange` returned last up to `meta.index`. One that is older than the last is not taken.
   */
  snapshotted (meta: SnapshotMeta): void

  /** Drop entries up to `index` from memory: at most that of the last snapshot; smaller keeps a tail for slow followers. */
  compact (index: number): void

  /** True where `ready` would bring something, and no ready is outstanding. */
  hasReady (): boolean

  /** The effects since the last one. Only one may be outstanding: `advance` comes before the next. */
  ready (): Ready

  /** All duties of this ready are done. Only now does this node count its own entries and its own vote. */
  advance (ready: Ready): void

  status (): RaftStatus

  /** Entries from `from` on up to the last committed one, at least one if any; undefined where they were compacted. */
  committedEntries (from: number, maxBytes: number): Entry[] | undefined
}

/**
 * @param config - limits and randomness; wrong values throw at once
 * @param restored - what was on disk; the core takes ownership of `entries`
 * @returns a follower without a leader in the stored term
 */
export declare function createRaft (config: RaftConfig, restored: RestoredState): Raft
