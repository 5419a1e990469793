/**
 * Collecting effects, and what follows from their being done. See `Ready` in types.ts for the order that the caller keeps.
 */
import type { Core } from './core.ts'
import { countOwnVote } from './election.ts'
import { invariant } from './log.ts'
import { maybeLeaveJoint } from './membership.ts'
import { flush, noteOwnMatch } from './replication.ts'
import { step } from './step.ts'
import type { Message, Ready } from './types.ts'

/**
 * @returns true if the message may leave before its ready is written and synced: a leader may replicate while its own disk works
 * (thesis §10.2.1), since it counts itself only after `advance`. Votes and answers promise something, and must wait.
 */
export function mayPrecedeSync (message: Message): boolean {
  return message.type === 'append' || message.type === 'heartbeat'
}

export function hasReady (core: Core): boolean {
  if (core.outstanding !== undefined) return false
  flush(core)
  return core.messages.length > 0 || core.readStates.length > 0 || core.proposals.length > 0 ||
    core.log.hasUnwritten || core.log.hasUnapplied || core.log.pendingSnapshot !== undefined ||
    isHardStateNew(core) || isSoftStateNew(core)
}

export function ready (core: Core): Ready {
  invariant(core.outstanding === undefined, 'a ready is outstanding')
  flush(core)
  const isVoteNew = core.lastHard.term !== core.term || core.lastHard.votedFor !== core.votedFor
  const snapshot = core.log.pendingSnapshot
  const entries = core.log.takeUnwritten()
  const result: Ready = {
    entries,
    messages: core.messages,
    committed: core.log.takeCommitted(core.config.maxApplyBytes),
    readStates: core.readStates,
    proposals: core.proposals,
    mustSync: isVoteNew || entries.length > 0 || snapshot !== undefined
  }
  if (snapshot !== undefined) result.snapshot = snapshot
  if (isHardStateNew(core)) {
    core.lastHard = { term: core.term, votedFor: core.votedFor, commit: core.log.commit }
    result.hardState = { ...core.lastHard }
  }
  if (isSoftStateNew(core)) {
    core.lastSoft = { leader: core.leader, role: core.role }
    result.softState = { ...core.lastSoft }
  }
  core.messages = []
  core.readStates = []
  core.proposals = []
  core.outstanding = result
  return result
}

export function advance (core: Core, done: Ready): void {
  invariant(core.outstanding === done, 'advance of another ready than the outstanding one')
  const lastConf = done.committed.findLast(entry => entry.kind === 'conf')
  invariant(lastConf === undefined || lastConf.index <= core.confIndex, `conf entry ${lastConf?.index} was not given to applyConfChange`)
  core.outstanding = undefined
  core.log.noteWritten(done.entries)
  core.log.applied = Math.max(core.log.applied, done.snapshot?.index ?? 0, done.committed.at(-1)?.index ?? 0)
  if (done.hardState?.term === core.term && done.hardState.votedFor === core.id) countOwnVote(core)
  noteOwnMatch(core)
  maybeLeaveJoint(core)
  const waiting = core.delayedSnapshot
  core.delayedSnapshot = undefined
  if (waiting !== undefined) step(core, waiting)
}

function isHardStateNew (core: Core): boolean {
  const { term, votedFor, commit } = core.lastHard
  return term !== core.term || votedFor !== core.votedFor || commit !== core.log.commit
}

function isSoftStateNew (core: Core): boolean {
  return core.lastSoft.leader !== core.leader || core.lastSoft.role !== core.role
}
