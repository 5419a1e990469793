/**
 * The Raft core's one entrance: `createRaft`. A state machine without I/O, clock or dice: inputs are methods, effects come out of
 * `ready`. See README.md for the caller's duties. Not thread safe; calls between `ready` and `advance` are allowed.
 */
import type { Verdict } from '../../keys/verdict.ts'
import { isVoter, membersOf, restoreConf } from './conf-change.ts'
import { createCore } from './core.ts'
import type { Core, Limits } from './core.ts'
import { campaign, tickElection } from './election.ts'
import { propose, tickLeader, transferLeadership } from './leader.ts'
import { invariant, RaftLog } from './log.ts'
import { applyConfChange, maybeLeaveJoint, proposeConfChange } from './membership.ts'
import { readIndex } from './reads.ts'
import { advance, hasReady, ready } from './ready.ts'
import { noteUnreachable, reportSnapshot } from './replication.ts'
import { step } from './step.ts'
import type {
  ConfChange, ConfState, Entry, Message, PeerStatus, RaftConfig, RaftId, RaftStatus, Ready, RestoredState, SnapshotMeta
} from './types.ts'

export { mayPrecedeSync } from './ready.ts'
export type { RaftConfig, RaftStatus } from './types.ts'

export interface Raft {
  /** One unit of time has passed: timers of elections, heartbeats, check-quorum, transfer and snapshots. */
  tick (): void

  /**
   * Take a message of a peer. The caller has checked that `message.from` is the authenticated sender. A message of type `snapshot`
   * is stepped once its bytes have arrived completely; they are wanted if the next `ready` carries that snapshot.
   *
   * @returns `reject` for what an honest peer cannot have sent: malformed (nothing was changed), or against what is committed here
   * (log and commit index stay as they are). Codes RAFT_MALFORMED, RAFT_TWO_LEADERS, RAFT_CONFLICTS_WITH_COMMITTED,
   * RAFT_COMMIT_BEYOND_LOG, CONF_*. `accept` otherwise, also where the message was late and had no effect. Never throws on a message.
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

  /**
   * Start a pre-vote now, if this node may lead: a voter, not the leader, with no committed configuration change still to be applied. A
   * candidate gives up the vote that it waits for, as after an election timeout.
   */
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
 * @param config - limits and randomness
 * @param restored - what was on disk; the core takes ownership of `entries`
 * @returns a follower without a leader in the stored term
 * @throws Error `raft invariant broken: …` where the arguments contradict themselves: a gap, an applied entry that is missing, …
 */
export function createRaft (config: RaftConfig, restored: RestoredState): Raft {
  const limits: Limits = {
    ...config,
    maxApplyBytes: config.maxApplyBytes ?? 4 * 1024 * 1024,
    maxPendingReads: config.maxPendingReads ?? 4096,
    snapshotTicks: config.snapshotTicks ?? 10 * config.electionTicks
  }
  checkLimits(limits)
  const core = restore(limits, restored)
  return {
    tick: () => tick(core),
    step: message => step(core, message),
    propose: (data, context) => propose(core, data, context),
    proposeConfChange: (change, context) => proposeConfChange(core, change, context),
    applyConfChange: entry => copyConf(applyConfChange(core, entry)),
    campaign: () => campaign(core),
    transferLeadership: to => transferLeadership(core, to),
    readIndex: context => readIndex(core, context),
    reportUnreachable: id => reportUnreachable(core, id),
    reportSnapshot: (id, ok) => reportSnapshot(core, id, ok),
    snapshotted: meta => snapshotted(core, meta),
    compact: index => core.log.compact(Math.min(index, core.log.applied, core.snapshot.index)),
    hasReady: () => hasReady(core),
    ready: () => ready(core),
    advance: done => advance(core, done),
    status: () => status(core),
    committedEntries: (from, maxBytes) => {
      if (from <= core.log.offset) return undefined
      return from > core.log.commit ? [] : core.log.slice(from, core.log.commit, maxBytes)
    }
  }
}

function checkLimits (limits: Limits): void {
  const { random, logger, id, ...numbers } = limits
  invariant(id !== '' && typeof random === 'function' && (logger === undefined || typeof logger === 'function'), 'config')
  for (const [name, value] of Object.entries(numbers)) invariant(Number.isSafeInteger(value) && value > 0, `${name} is ${value}`)
  invariant(limits.heartbeatTicks < limits.electionTicks, 'heartbeatTicks is not below electionTicks')
}

function restore (limits: Limits, restored: RestoredState): Core {
  const { hardState, entries, applied } = restored
  const conf = restoreConf(restored.snapshot.conf)
  invariant(conf.verdict === 'accept', 'the stored configuration breaks its rules')
  const snapshot = { ...restored.snapshot, conf: conf.value }
  let last = { index: snapshot.index, term: snapshot.term }
  for (const entry of entries) {
    invariant(entry.index === last.index + 1 && entry.term >= last.term, `stored entry ${entry.index} after ${last.index}`)
    last = entry
  }
  invariant(applied <= last.index, `applied ${applied} is beyond the log's end ${last.index}`)
  // a commit index is knowledge about others: too low (it is not synced alone) or ahead of what was written here, it does no harm
  const commit = Math.max(Math.min(hardState.commit, last.index), applied, snapshot.index)
  invariant(applied >= snapshot.index, `applied ${applied} is behind the snapshot ${snapshot.index}`)
  invariant(last.term <= hardState.term, `stored term ${hardState.term} behind the log's ${last.term}`)
  const core = createCore(limits, new RaftLog(snapshot, entries, commit, applied), hardState, snapshot)
  core.conf = conf.value
  core.confIndex = snapshot.index
  for (const entry of entries) {
    if (entry.kind === 'conf' && entry.index <= applied) applyConfChange(core, entry)
  }
  return core
}

function tick (core: Core): void {
  if (core.role !== 'leader') return tickElection(core)
  tickLeader(core)
  maybeLeaveJoint(core)
}

function reportUnreachable (core: Core, id: RaftId): void {
  if (core.role === 'leader') noteUnreachable(core, id)
  else if (core.leader === id) core.leader = ''
}

function snapshotted (core: Core, meta: SnapshotMeta): void {
  if (meta.index <= core.snapshot.index) return
  invariant(meta.index <= core.log.handedOut && core.log.term(meta.index) === meta.term, `snapshot at ${meta.index} was not applied`)
  core.snapshot = { ...meta, conf: copyConf(meta.conf) }
}

function status (core: Core): RaftStatus {
  return {
    id: core.id,
    role: core.role,
    term: core.term,
    votedFor: core.votedFor,
    leader: core.leader,
    commit: core.log.commit,
    applied: core.log.applied,
    firstIndex: core.log.offset + 1,
    lastIndex: core.log.lastIndex,
    snapshotIndex: core.snapshot.index,
    conf: copyConf(core.conf),
    transferee: core.transferee,
    uncommittedBytes: core.uncommittedBytes,
    peers: core.role === 'leader' ? membersOf(core.conf).map(id => peerStatus(core, id)) : []
  }
}

function peerStatus (core: Core, id: RaftId): PeerStatus {
  const progress = core.progress.get(id)!
  return {
    id,
    match: progress.match,
    next: progress.next,
    state: progress.state,
    recentActive: id === core.id || progress.recentActive,
    isLearner: !isVoter(core.conf, id),
    inflightMessages: progress.inflight.messages,
    inflightBytes: progress.inflight.bytes
  }
}

function copyConf (conf: ConfState): ConfState {
  return {
    voters: [...conf.voters],
    votersOutgoing: [...conf.votersOutgoing],
    learners: [...conf.learners],
    learnersNext: [...conf.learnersNext],
    autoLeave: conf.autoLeave
  }
}
