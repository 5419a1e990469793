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
 * `transition`: `auto` uses a simple change where at most one voter differs and a joint one otherwise; `joint` is always joint. The
 * leader leaves both by itself once they are applied. `explicit` is joint and stays so until an empty change is proposed. An empty
 * `changes` list leaves a joint configuration.
 */
export interface ConfChange {
  transition: 'auto' | 'joint' | 'explicit'
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
  | 'snapshot' | 'timeoutNow'
  | 'readIndex' | 'readIndexReply'

/**
 * One message between two cores. Fields that a type does not use are 0, '', false or empty. `entries` are shared with the sender's
 * log: read, never written to.
 */
export interface Message {
  type: MessageType
  from: RaftId
  to: RaftId
  term: number
  /**
   * append: index before `entries`; appendReply: matched or rejected index; vote, preVote: last log index; their replies with reject:
   * commit index; heartbeat and its reply: number of the latest read that waits for a confirmation; readIndexReply: the index to
   * apply up to
   */
  index: number
  /** term of the entry at `index`; appendReply with reject: of the entry at `rejectHint`, 0 if there is none */
  logTerm: number
  entries: Entry[]
  commit: number
  reject: boolean
  /** appendReply with reject: where the follower's log may agree, and that entry's term in `logTerm` */
  rejectHint: number
  /** vote because of a leader transfer: skip the lease check */
  force: boolean
  /** readIndex: opaque, echoed in the reply */
  context: Uint8Array
  /** of type `snapshot` only; its bytes travel on the driver's own stream */
  snapshot?: SnapshotMeta
}

export type RaftRole = 'follower' | 'preCandidate' | 'candidate' | 'leader'

export interface SoftState { leader: RaftId, role: RaftRole }

/**
 * `index`: the state machine must have applied this far before the read with this context may be answered. With `dropped` the read
 * was refused and may be asked again.
 */
export interface ReadState { index: number, context: Uint8Array, dropped?: DropReason }

/**
 * What became of a proposal: an explicit answer, never silence. Without `dropped` it stands in this leader's log at `index` in `term`:
 * it is committed if, and only if, the entry committed at `index` has that `term`.
 */
export interface ProposalResult { context: Uint8Array, index: number, term: number, dropped?: DropReason }

/**
 * Why a proposal or read was not taken. `noLeader`: this node does not lead (see `status().leader`); `notMember`: nor is it part of the
 * configuration; `transferring`: leadership is being handed over; `quota`: too many bytes uncommitted, or too many
 * reads waiting; `confPending`: an earlier configuration change is not applied yet; `confInvalid`: the change is against the rules;
 * `tooLarge`: above `maxEntryBytes`; `stopped`: given by the driver only.
 */
export type DropReason = 'noLeader' | 'notMember' | 'transferring' | 'quota' | 'confPending' | 'confInvalid' | 'tooLarge' | 'stopped'

/**
 * The effects of the inputs since the last `advance`, to be carried out in this order (the caller's duties; see README.md):
 * 1. write `snapshot`, then `entries` (truncating any stored entry from the first one's index on), then `hardState`: one batch
 * 2. if `mustSync`, fsync; a failed write or sync stops the node
 * 3. send `messages`; those for which `mayPrecedeSync` holds may leave before 1
 * 4. note `proposals`; restore `snapshot` into, then apply `committed` to the state machine; `applyConfChange` for each `conf` entry
 * 5. answer `readStates` once applied that far
 * 6. `advance(ready)`
 */
export interface Ready {
  /** present where role or leader changed */
  softState?: SoftState
  /** present where it changed; `commit` belongs into the same batch as `entries` */
  hardState?: HardState
  entries: Entry[]
  /** replaces the whole log and the state machine */
  snapshot?: SnapshotMeta
  messages: Message[]
  /** without gaps after what was handed out before; may hold entries that are in `entries` too */
  committed: Entry[]
  readStates: ReadState[]
  proposals: ProposalResult[]
  mustSync: boolean
}

/** What was on disk at start. `entries` follow the snapshot without a gap; conf entries up to `applied` are applied again by the core. */
export interface RestoredState {
  hardState: HardState
  /**
   * A founder starts from { index: 1, term: 1, conf: its voters } with the hard state { term: 1, votedFor: '', commit: 1 }, so that
   * the first configuration reaches newcomers by snapshot. A newcomer starts from index 0, term 0 and an empty conf.
   */
  snapshot: SnapshotMeta
  entries: Entry[]
  /** highest index the state machine has applied; at least `snapshot.index`, at most `hardState.commit` */
  applied: number
}

/** All limits are required but those with a stated default. */
export interface RaftConfig {
  id: RaftId
  /** a follower campaigns after a random time in [electionTicks, 2 × electionTicks); also the lease and the check-quorum period */
  electionTicks: number
  /** less than `electionTicks`, by a factor of 3 at least to be calm */
  heartbeatTicks: number
  /** appends in flight to one follower */
  maxInflightMessages: number
  /** bytes of appends in flight to one follower; one message may exceed it */
  maxInflightBytes: number
  /** bytes of entries in one append; one entry may exceed it */
  maxAppendBytes: number
  /** bytes in the leader's log that are not committed yet; beyond it proposals are dropped with `quota` */
  maxUncommittedBytes: number
  /** bytes of one proposal */
  maxEntryBytes: number
  /** bytes of `committed` in one ready; one entry may exceed it. Default 4 MiB */
  maxApplyBytes?: number
  /** reads waiting for their confirmation at the leader. Default 4096 */
  maxPendingReads?: number
  /** how long a leader waits for `reportSnapshot` before it tries that follower again. Default 10 × electionTicks */
  snapshotTicks?: number
  /** uniform in [0, 1); used for election timeouts only */
  random: () => number
  /** facts worth a line in the log: `event` is `noun:verb`, `detail` flat */
  logger?: (event: string, detail: Record<string, string | number | boolean>) => void
}

export type ProgressState = 'probe' | 'replicate' | 'snapshot'

/** What the leader knows of one member. */
export interface PeerStatus {
  id: RaftId
  match: number
  next: number
  state: ProgressState
  /** answered since the last check-quorum */
  recentActive: boolean
  isLearner: boolean
  inflightMessages: number
  inflightBytes: number
}

/** A copy: changing it changes nothing. */
export interface RaftStatus {
  id: RaftId
  role: RaftRole
  term: number
  votedFor: RaftId
  /** '' while unknown */
  leader: RaftId
  commit: number
  applied: number
  /** of the entries in memory; `lastIndex + 1` where there are none */
  firstIndex: number
  lastIndex: number
  snapshotIndex: number
  /** in force here: as of the last applied conf entry */
  conf: ConfState
  /** '' unless leadership is being handed over */
  transferee: RaftId
  uncommittedBytes: number
  /** at a leader: every member, itself too, sorted by id; empty elsewhere */
  peers: PeerStatus[]
}
