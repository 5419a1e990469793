/**
 * The data of the Raft core: what goes in, what comes out. Plain objects; nothing here does I/O.
 * Source: Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm" (the Raft paper); Ongaro's thesis; the
 * documented semantics of etcd-io/raft, whose shape (ready → persist → send → apply → advance) this follows.
 */

/** Opaque, never reused: here the peer id text. '' means nobody. */
export type RaftId = string

export interface HardState {
  term: number
  /** '' where no vote was given in this term */
  votedFor: RaftId
  commit: number
}

/** `empty`: the no-op a new leader appends (§8). `conf`: a ConfChange in `data`, encoded by `conf-codec.ts`. */
export type EntryKind = 'normal' | 'conf' | 'empty'

export interface Entry {
  /** from 1, without gaps */
  index: number
  term: number
  kind: EntryKind
  data: Uint8Array
}

/** Membership in force at an index. `votersOutgoing` is empty outside of a joint configuration. All lists sorted. */
export interface ConfState {
  voters: RaftId[]
  votersOutgoing: RaftId[]
  learners: RaftId[]
  /** voters of the outgoing half that become learners when the joint configuration is left */
  learnersNext: RaftId[]
  autoLeave: boolean
}

export interface ConfChangeSingle { type: 'addVoter' | 'addLearner' | 'remove', id: RaftId }

/**
 * `transition`: `auto` uses a simple change for one voter and a joint one otherwise; `joint` always joint. An empty `changes` list
 * leaves a joint configuration.
 */
export interface ConfChange {
  transition: 'auto' | 'joint'
  changes: ConfChangeSingle[]
  context: Uint8Array
}

/** The core handles the facts about a snapshot only; its bytes stay with the driver, which moves them on a stream of their own. */
export interface SnapshotMeta {
  index: number
  term: number
  conf: ConfState
}

export type MessageType =
  | 'preVote' | 'preVoteReply' | 'vote' | 'voteReply'
  | 'append' | 'appendReply' | 'heartbeat' | 'heartbeatReply'
  | 'snapshot' | 'timeoutNow' | 'transferLeader'
  | 'readIndex' | 'readIndexReply' | 'propose' | 'proposeReply'

/** One message between two cores. Fields that a type does not use are 0, '', false or empty. */
export interface Message {
  type: MessageType
  from: RaftId
  to: RaftId
  term: number
  /** append: index before `entries`; appendReply: matched or rejected index; vote: last log index */
  index: number
  /** term of the entry at `index` */
  logTerm: number
  entries: Entry[]
  commit: number
  reject: boolean
  /** appendReply with reject: where the follower's log may agree, and that entry's term in `logTerm` */
  rejectHint: number
  /** vote because of a leader transfer: skip the lease check */
  force: boolean
  /** readIndex, heartbeat, propose: opaque, echoed in the reply */
  context: Uint8Array
  snapshot?: SnapshotMeta
}

export type RaftRole = 'follower' | 'preCandidate' | 'candidate' | 'leader'

export interface SoftState { leader: RaftId, role: RaftRole }

/** `index`: the state machine must have applied this far before the read with this context may be answered. */
export interface ReadState { index: number, context: Uint8Array }

/** What became of a proposal that this node forwarded or took: an explicit answer, never silence. */
export interface ProposalResult { context: Uint8Array, index: number, term: number, dropped?: DropReason }

export type DropReason = 'noLeader' | 'notMember' | 'transferring' | 'quota' | 'confPending' | 'tooLarge' | 'stopped'

/**
 * The effects of the inputs since the last `advance`, to be carried out in this order (the caller's duties; see README.md):
 * 1. write `snapshot`, then `entries` (truncating any stored entry from the first one's index on), then `hardState`
 * 2. if `mustSync`, fsync; a failed write or sync stops the node
 * 3. send `messages`
 * 4. restore `snapshot` into, then apply `committed` to the state machine; call `applyConfChange` for each `conf` entry
 * 5. answer `readStates` once applied that far, and `proposals`
 * 6. `advance(ready)`
 */
export interface Ready {
  softState?: SoftState
  hardState?: HardState
  entries: Entry[]
  snapshot?: SnapshotMeta
  messages: Message[]
  committed: Entry[]
  readStates: ReadState[]
  proposals: ProposalResult[]
  mustSync: boolean
}

/** What was on disk at start. `entries` follow the snapshot without a gap. */
export interface RestoredState {
  hardState: HardState
  snapshot: SnapshotMeta
  entries: Entry[]
  /** highest index the state machine has applied; at least `snapshot.index` */
  applied: number
}
