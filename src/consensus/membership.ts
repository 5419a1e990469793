/**
 * Changes of configuration: proposed one at a time, in force once applied. Source: Raft paper §6, thesis §4; etcd-io/raft.
 *
 * Why it is safe to switch when applied instead of when appended: the leader proposes the next change only after it has applied the
 * last, and each append carries its commit index, so whoever holds the next change knows that the last is committed, also after a
 * restart (the commit index is written together with the entries); and who has a committed change to apply does not campaign.
 */
import { dropProposal, log } from './core.ts'
import type { Core } from './core.ts'
import { decodeConfChange, encodeConfChange } from './conf-codec.ts'
import { isJoint, isVoter, membersOf, nextConf } from './conf-change.ts'
import { refusalOf } from './leader.ts'
import { invariant } from './log.ts'
import { createProgress } from './progress.ts'
import { releaseReads } from './reads.ts'
import { appendOwn, maybeCommit } from './replication.ts'
import { becomeFollower } from './role.ts'
import type { ConfChange, ConfState, Entry } from './types.ts'

export function proposeConfChange (core: Core, change: ConfChange, context: Uint8Array): void {
  const data = encodeConfChange(change)
  const refusal = refusalOf(core, data?.length ?? 0)
  if (refusal !== undefined) return dropProposal(core, context, refusal)
  if (core.pendingConfIndex > core.log.applied) return dropProposal(core, context, 'confPending')
  if (data === undefined || nextConf(core.conf, change).verdict !== 'accept') return dropProposal(core, context, 'confInvalid')
  const { index, term } = appendOwn(core, 'conf', data)
  core.pendingConfIndex = index
  core.proposals.push({ context, index, term })
}

/** See `Raft.applyConfChange`. What cannot be applied changes nothing, and the same nothing everywhere. */
export function applyConfChange (core: Core, entry: Entry): ConfState {
  invariant(entry.kind === 'conf' && entry.index <= core.log.commit, `entry ${entry.index} is no committed conf entry`)
  invariant(entry.index > core.confIndex, `conf entry ${entry.index} was applied already`)
  core.confIndex = entry.index
  const change = decodeConfChange(entry.data)
  const next = change === undefined ? undefined : nextConf(core.conf, change)
  if (next?.verdict === 'accept') switchConf(core, next.value)
  else log(core, 'raft:confskip', { index: entry.index })
  return core.conf
}

function switchConf (core: Core, conf: ConfState): void {
  core.conf = conf
  log(core, 'raft:conf', { voters: conf.voters.join(), outgoing: conf.votersOutgoing.join(), learners: conf.learners.join() })
  if (core.role !== 'leader') return
  if (!isVoter(conf, core.id)) {
    // it was removed or demoted, and led until that was committed (§6)
    becomeFollower(core, core.term, '')
    return
  }
  const members = membersOf(conf)
  for (const id of core.progress.keys()) {
    if (!members.includes(id)) core.progress.delete(id)
  }
  for (const id of members) {
    if (core.progress.has(id)) continue
    const progress = createProgress(core.log.lastIndex + 1, core.config)
    // a newcomer counts as heard until it had time to answer, so that adding it does not cost the leader its quorum
    progress.recentActive = true
    core.progress.set(id, progress)
  }
  if (!isVoter(conf, core.transferee)) core.transferee = ''
  // the quorum may have become smaller
  maybeCommit(core)
  releaseReads(core)
}

/** Leave a joint configuration once, as soon as it is applied. */
export function maybeLeaveJoint (core: Core): void {
  if (core.role !== 'leader' || !isJoint(core.conf) || !core.conf.autoLeave) return
  if (core.pendingConfIndex > core.log.applied || core.transferee !== '') return
  const leave = encodeConfChange({ transition: 'auto', changes: [], context: new Uint8Array(0) })
  core.pendingConfIndex = appendOwn(core, 'conf', leave!).index
}
