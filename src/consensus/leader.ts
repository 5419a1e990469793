/**
 * A leader's own affairs: its clock, proposals, handing over. Source: Raft paper §5.3; thesis §3.10 (transfer), §6.2 (check-quorum).
 */
import { dropProposal, log } from './core.ts'
import type { Core } from './core.ts'
import { isVoter, membersOf } from './conf-change.ts'
import { ENTRY_OVERHEAD_BYTES } from './log.ts'
import { jointVote } from './quorum.ts'
import { appendOwn, broadcastHeartbeat, reportSnapshot, sendTimeoutNow } from './replication.ts'
import { becomeFollower } from './role.ts'
import type { DropReason, RaftId } from './types.ts'

/** @returns why this node does not take a proposal of that size now; undefined if it does */
export function refusalOf (core: Core, bytes: number): DropReason | undefined {
  if (core.role !== 'leader') return membersOf(core.conf).includes(core.id) ? 'noLeader' : 'notMember'
  if (core.transferee !== '') return 'transferring'
  if (bytes > core.config.maxEntryBytes) return 'tooLarge'
  return undefined
}

export function propose (core: Core, data: Uint8Array, context: Uint8Array): void {
  const refusal = refusalOf(core, data.length)
  if (refusal !== undefined) return dropProposal(core, context, refusal)
  // the first one always fits, however small the quota
  if (core.uncommittedBytes > 0 && core.uncommittedBytes + data.length + ENTRY_OVERHEAD_BYTES > core.config.maxUncommittedBytes) {
    return dropProposal(core, context, 'quota')
  }
  const { index, term } = appendOwn(core, 'normal', data)
  core.proposals.push({ context, index, term })
}

export function transferLeadership (core: Core, to: RaftId): void {
  if (core.role !== 'leader' || to === core.id || to === core.transferee || !isVoter(core.conf, to)) return
  core.transferee = to
  core.transferElapsed = 0
  sendTimeoutNow(core)
}

/** One tick of a leader. */
export function tickLeader (core: Core): void {
  core.heartbeatElapsed++
  core.checkQuorumElapsed++
  if (core.checkQuorumElapsed >= core.config.electionTicks) {
    core.checkQuorumElapsed = 0
    if (!hasActiveQuorum(core)) {
      log(core, 'raft:quorumlost', {})
      becomeFollower(core, core.term, '')
      return
    }
  }
  if (core.transferee !== '' && ++core.transferElapsed >= core.config.electionTicks) core.transferee = ''
  for (const [id, progress] of core.progress) {
    if (progress.state === 'snapshot' && ++progress.snapshotElapsed >= core.config.snapshotTicks) reportSnapshot(core, id, false)
  }
  if (core.heartbeatElapsed >= core.config.heartbeatTicks) broadcastHeartbeat(core)
}

/** Check-quorum (thesis §6.2). @returns true if a quorum answered since the last time */
function hasActiveQuorum (core: Core): boolean {
  const result = jointVote(core.conf, id => id === core.id || core.progress.get(id)?.recentActive === true)
  for (const progress of core.progress.values()) progress.recentActive = false
  return result === 'won'
}
