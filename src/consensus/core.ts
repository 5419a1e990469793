/**
 * The state of one Raft node, and the few things every module does with it. Owned by `createRaft`; changed in place.
 */
import { EMPTY_CONF, isVoter } from './conf-change.ts'
import type { RaftLog } from './log.ts'
import type { Progress } from './progress.ts'
import type {
  ConfState, DropReason, HardState, Message, MessageType, ProposalResult, RaftConfig, RaftId, RaftRole, Ready, ReadState, SnapshotMeta, SoftState
} from './types.ts'

export type Limits = Required<Omit<RaftConfig, 'logger'>> & Pick<RaftConfig, 'logger'>

/** A read at the leader, waiting for a quorum to confirm that it still leads. `from` is where the answer goes. */
export interface PendingRead { seq: number, from: RaftId, context: Uint8Array, index: number }

export interface Core {
  readonly config: Limits
  readonly id: RaftId
  readonly log: RaftLog

  // persisted (§5.1): term, votedFor, log.commit
  term: number
  votedFor: RaftId

  role: RaftRole
  leader: RaftId

  /** in force: as of the last applied conf entry or restored snapshot, which stood at `confIndex` */
  conf: ConfState
  confIndex: number
  /** the latest snapshot that can be sent */
  snapshot: SnapshotMeta

  electionElapsed: number
  /** drawn anew at each reset */
  electionTimeout: number

  // pre-candidate and candidate
  votes: Map<RaftId, boolean>
  /** the campaign goes past leases: leadership was handed to this node */
  forced: boolean

  // leader
  progress: Map<RaftId, Progress>
  heartbeatElapsed: number
  checkQuorumElapsed: number
  transferee: RaftId
  transferElapsed: number
  /** no further conf change is proposed until this index is applied */
  pendingConfIndex: number
  uncommittedBytes: number
  /** number of the last read, and of the last one that heartbeats have carried */
  readSeq: number
  readSeqSent: number
  reads: PendingRead[]
  /** asked for before this term's first commit, with no index yet */
  earlyReads: Array<{ from: RaftId, context: Uint8Array }>

  // effects for the next ready
  messages: Message[]
  readStates: ReadState[]
  proposals: ProposalResult[]
  outstanding: Ready | undefined
  /** arrived while a ready is outstanding; taken by `advance` */
  delayedSnapshot: Message | undefined
  lastHard: HardState
  lastSoft: SoftState
}

const NO_BYTES = new Uint8Array(0)

type MessageFields = Partial<Omit<Message, 'type' | 'from' | 'to'>>

/** Queue a message in the present term, or in `fields.term`. */
export function send (core: Core, type: MessageType, to: RaftId, fields: MessageFields): void {
  core.messages.push({
    type,
    from: core.id,
    to,
    term: fields.term ?? core.term,
    index: fields.index ?? 0,
    logTerm: fields.logTerm ?? 0,
    entries: fields.entries ?? [],
    commit: fields.commit ?? 0,
    reject: fields.reject ?? false,
    rejectHint: fields.rejectHint ?? 0,
    force: fields.force ?? false,
    context: fields.context ?? NO_BYTES,
    ...(fields.snapshot === undefined ? undefined : { snapshot: fields.snapshot })
  })
}

/** Start a new random wait for the leader (§5.2). */
export function resetElectionTimer (core: Core): void {
  const { electionTicks, random } = core.config
  core.electionElapsed = 0
  core.electionTimeout = electionTicks + Math.min(Math.floor(random() * electionTicks), electionTicks - 1)
}

/** A leader was heard within the shortest election timeout: votes are not given, unless leadership is being handed over (§6, thesis §4.2.3). */
export function isInLease (core: Core): boolean {
  if (core.role === 'leader') return true
  return core.leader !== '' && core.electionElapsed < core.config.electionTicks
}

/** @returns true if this node may lead: a voter in force, whose snapshot, if one is being restored, is on disk */
export function isElectable (core: Core): boolean {
  return isVoter(core.conf, core.id) && core.log.pendingSnapshot === undefined
}

export function dropProposal (core: Core, context: Uint8Array, dropped: DropReason): void {
  core.proposals.push({ context, index: 0, term: core.term, dropped })
}

export function log (core: Core, event: string, detail: Record<string, string | number | boolean>): void {
  core.config.logger?.(event, { term: core.term, ...detail })
}

/** @returns a follower that knows nothing but its log; `createRaft` fills in what was stored */
export function createCore (config: Limits, raftLog: RaftLog, hard: HardState, snapshot: SnapshotMeta): Core {
  const core: Core = {
    config,
    id: config.id,
    log: raftLog,
    term: hard.term,
    votedFor: hard.votedFor,
    role: 'follower',
    leader: '',
    conf: EMPTY_CONF,
    confIndex: 0,
    snapshot,
    electionElapsed: 0,
    electionTimeout: 0,
    votes: new Map(),
    forced: false,
    progress: new Map(),
    heartbeatElapsed: 0,
    checkQuorumElapsed: 0,
    transferee: '',
    transferElapsed: 0,
    pendingConfIndex: 0,
    uncommittedBytes: 0,
    readSeq: 0,
    readSeqSent: 0,
    reads: [],
    earlyReads: [],
    messages: [],
    readStates: [],
    proposals: [],
    outstanding: undefined,
    delayedSnapshot: undefined,
    lastHard: { ...hard },
    lastSoft: { leader: '', role: 'follower' }
  }
  resetElectionTimer(core)
  return core
}
