/**
 * What the rest of a node sees of consensus, and what consensus asks of it: the network, the state machine, the clock.
 * The implementation is `driver.ts`; the caller's duties towards the pure core stand in README.md.
 */
import type { ConfChangeSingle, ConfState, DropReason, Entry, RaftId, RaftRole, SnapshotMeta } from './types.ts'

/**
 * Moves opaque bytes between voters and learners. It authenticates: `from` is the proven id of the sender, never what the bytes claim.
 * Loss, duplication and reordering across reconnects are tolerated; frames to one peer should keep their order.
 */
export interface RaftTransport {
  /** @returns false where the frame was dropped: not connected, or the peer's queue is full. Frames are at most 1 MiB. */
  send (to: RaftId, frame: Uint8Array): boolean
  /** One listener; called in arrival order. */
  onFrame (listener: (from: RaftId, frame: Uint8Array) => void): void
  /** Resolves once the remote listener has resolved; rejects on any failure, or when `signal` aborts. On a stream of its own. */
  sendSnapshot (to: RaftId, payload: Uint8Array, signal: AbortSignal): Promise<void>
  /** One listener. It resolves when the snapshot was taken or judged useless, rejects when it was refused. */
  onSnapshot (listener: (from: RaftId, payload: Uint8Array) => Promise<void>): void
}

/** A committed entry as the state machine sees it. `data` is empty for entries of kind `conf` and `empty`, so indexes have no gaps. */
export interface AppliedEntry {
  index: number
  term: number
  data: Uint8Array
}

/** Deterministic and synchronous. What it throws stops the node: a replica that failed to apply must not go on. */
export interface StateMachine {
  /** In log order, each index once since the last `restore` (or since 1). */
  apply (entries: AppliedEntry[]): void
  /** The whole state after the last applied entry. */
  snapshot (): Uint8Array
  /** Replaces the whole state by one that includes everything up to `index`. */
  restore (data: Uint8Array, index: number): void
}

/** Monotonic time, injected so that tests own it. */
export interface Clock {
  nowMs (): number
  /** Calls `callback` once, about `ms` later. @returns cancels it */
  after (ms: number, callback: () => void): () => void
}

export interface ConsensusTiming {
  tickMs: number
  /** a follower that heard nothing for 1–2 times this many ticks asks for votes */
  electionTicks: number
  heartbeatTicks: number
}

export interface ConsensusLimits {
  /** one proposal */
  maxEntryBytes: number
  /** entries in one append message, beyond the first */
  maxAppendBytes: number
  maxInflightMessages: number
  maxInflightBytes: number
  /** proposals not yet committed; beyond: PROPOSAL_DROPPED `quota` */
  maxUncommittedBytes: number
  /** proposals waiting for their result, in number; beyond: BUSY */
  maxPendingProposals: number
  /** received frames waiting to be stepped; beyond, frames are dropped, as by a network */
  maxInboxBytes: number
  maxSnapshotBytes: number
  snapshotTimeoutMs: number
  /** snapshots on their way out at the same time */
  maxSnapshotSends: number
  /** a snapshot is taken after this many applied entries, … */
  snapshotEntries: number
  /** … or this many applied bytes, whichever is first */
  snapshotBytes: number
  /** entries kept in memory from before the snapshot, for those who are only a little behind */
  trailingEntries: number
  segmentBytes: number
  /** random wait before campaigning after the leader's connection closed, so that voters do not split the vote */
  maxStaggerMs: number
}

/** Facts for the log and for metrics; `event` is `raft:…`. */
export interface ConsensusLogEvent {
  level: 'debug' | 'info' | 'warn' | 'error'
  event: string
  [fact: string]: unknown
}

export interface ConsensusInit {
  id: RaftId
  /** exclusively ours; created if absent */
  dir: string
  /** The founders, the same list at each of them; absent at everybody who joins later. Only read when `dir` is empty. */
  bootstrapVoters?: RaftId[]
  transport: RaftTransport
  machine: StateMachine
  clock?: Clock
  /** in [0, 1) */
  random?: () => number
  timing?: Partial<ConsensusTiming>
  limits?: Partial<ConsensusLimits>
  log?: (event: ConsensusLogEvent) => void
}

export type ConsensusEvent =
  /** `leader` is '' while none is known */
  | { type: 'leader:change', leader: RaftId, term: number, role: RaftRole }
  | { type: 'conf:change', conf: ConfState, index: number }
  /** In order, after the state machine applied them; also those that are applied again after a restart. */
  | { type: 'commit', entries: AppliedEntry[] }
  /** A leader's snapshot replaced the state machine's state: no `commit` came for the entries up to `index`. */
  | { type: 'restore', index: number, term: number }
  /** The driver does nothing more. `error` is absent after `stop()`. */
  | { type: 'stopped', error?: Error }

/** What a leader knows of another member of the configuration. */
export interface PeerProgress {
  /** highest index known to be on its disk */
  match: number
  /** monotonic ms since a message of it was last stepped, or, if that is later, since this node leads or it is a member */
  silentMs: number
  /** it came back without its log: not heard under this id until it has been removed (and perhaps added again) */
  isWiped: boolean
}

/** As of the last batch that is on disk. */
export interface ConsensusStatus {
  id: RaftId
  role: RaftRole
  term: number
  /** '' where none is known */
  leader: RaftId
  conf: ConfState
  commitIndex: number
  appliedIndex: number
  lastIndex: number
  /** lowest index that `entries` can still serve */
  firstIndex: number
  snapshotIndex: number
  /** empty unless this node leads; never contains it */
  progress: ReadonlyMap<RaftId, PeerProgress>
}

export interface SnapshotWithData extends Pick<SnapshotMeta, 'index' | 'term'> { data: Uint8Array }

export interface ProposalAck { index: number, term: number }

export interface Consensus {
  readonly id: RaftId
  /** Starts ticking and talking. The state machine has been restored before. */
  start (): void
  /** Finishes the batch in hand, closes the log. Pending proposals fail with STOPPED. Idempotent. */
  stop (): Promise<void>
  /**
   * @returns once committed and applied here
   * @throws NOT_LEADER {leader}; BUSY; PROPOSAL_DROPPED {reason: DropReason}: certainly not proposed.
   *   LEADERSHIP_LOST: outcome unknown, the same idempotent command may be proposed again. STOPPED. `signal.reason` on abort (outcome unknown).
   */
  propose (data: Uint8Array, signal?: AbortSignal): Promise<ProposalAck>
  /** One or more changes as one step; joint where more than one voter changes. @returns once applied here. @throws as `propose` */
  changeMembers (changes: ConfChangeSingle[], signal?: AbortSignal): Promise<ProposalAck>
  /** Hands leadership to `to` (default: the voter that is furthest). @returns the new leader. @throws NOT_LEADER, TRANSFER_FAILED */
  transferLeadership (to?: RaftId, signal?: AbortSignal): Promise<RaftId>
  /** A linearizable read point: @returns once everything committed before the call is applied here. @throws as `propose` */
  readBarrier (signal?: AbortSignal): Promise<number>
  status (): ConsensusStatus
  /** Committed and applied entries from `from` on, at least one if there is one, about `maxBytes` of data; [] at the end; undefined: compacted, see `latestSnapshot` */
  entries (from: number, maxBytes: number): AppliedEntry[] | undefined
  /** The state that everything before `firstIndex` became; undefined while the log still starts at 1. */
  latestSnapshot (): SnapshotWithData | undefined
  /** The connection to this peer is closed. If it led, an election (pre-vote first) starts within `maxStaggerMs`, and soon again while nobody leads. */
  peerLost (id: RaftId): void
  /** Called synchronously, in order; must not throw. @returns stops it */
  onEvent (listener: (event: ConsensusEvent) => void): () => void
}

export type { ConfChangeSingle, ConfState, DropReason, Entry, RaftId, RaftRole, SnapshotMeta }
