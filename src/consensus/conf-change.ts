/**
 * The rules by which one configuration becomes the next. Leaf module of pure functions; no argument is changed.
 * Source: Raft paper §6, thesis §4.3; etcd-io/raft `confchange`.
 *
 * A configuration is joint while `votersOutgoing` is not empty. Every rule answers with the next configuration, or `reject` and why.
 */
import { accept, reject } from '../../keys/verdict.ts'
import type { Verdict } from '../../keys/verdict.ts'
import type { ConfChange, ConfChangeSingle, ConfState, RaftId } from './types.ts'

export const EMPTY_CONF: ConfState = { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }

export const isJoint = (conf: ConfState): boolean => conf.votersOutgoing.length > 0

/** @returns true if `id` takes part in votes of either half */
export const isVoter = (conf: ConfState, id: RaftId): boolean => conf.voters.includes(id) || conf.votersOutgoing.includes(id)

/** @returns everybody whom the leader replicates to, sorted, each once */
export function membersOf (conf: ConfState): RaftId[] {
  return [...new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners, ...conf.learnersNext])].sort()
}

/**
 * A configuration as it came from elsewhere (a snapshot).
 *
 * @returns a sorted copy without duplicates; `reject` where it breaks an invariant. Empty altogether is a newcomer's.
 */
export function restoreConf (conf: ConfState): Verdict<ConfState> {
  if (membersOf(conf).length === 0 && !conf.autoLeave) return accept(EMPTY_CONF)
  return checked({
    voters: sorted(conf.voters),
    votersOutgoing: sorted(conf.votersOutgoing),
    learners: sorted(conf.learners),
    learnersNext: sorted(conf.learnersNext),
    autoLeave: conf.autoLeave
  })
}

/** What `change` makes of `conf`: the one entrance for committed and proposed changes alike. */
export function nextConf (conf: ConfState, change: ConfChange): Verdict<ConfState> {
  if (change.changes.length === 0) return leaveJoint(conf)
  if (change.transition === 'auto') {
    const single = simple(conf, change.changes)
    if (single.verdict === 'accept' || single.code !== 'CONF_NOT_SIMPLE') return single
  }
  return enterJoint(conf, change.changes, change.transition !== 'explicit')
}

/** Changes that alter at most one voter, and any number of learners (thesis §4.1: old and new majorities overlap). */
export function simple (conf: ConfState, changes: readonly ConfChangeSingle[]): Verdict<ConfState> {
  if (isJoint(conf)) return reject('CONF_JOINT', 'a simple change in a joint configuration')
  const next = changed(conf, changes)
  const differing = next.voters.filter(id => !conf.voters.includes(id)).length + conf.voters.filter(id => !next.voters.includes(id)).length
  if (differing > 1) return reject('CONF_NOT_SIMPLE', 'more than one voter changes')
  return checked(next)
}

/** The present voters become the outgoing half; both halves decide until `leaveJoint`. */
export function enterJoint (conf: ConfState, changes: readonly ConfChangeSingle[], autoLeave: boolean): Verdict<ConfState> {
  if (isJoint(conf)) return reject('CONF_JOINT', 'the configuration is joint already')
  if (conf.voters.length === 0) return reject('CONF_NO_VOTERS', 'there are no voters to come from')
  return checked(changed({ ...conf, votersOutgoing: conf.voters, autoLeave }, changes))
}

/** The incoming half alone remains; who waited to become a learner is one. */
export function leaveJoint (conf: ConfState): Verdict<ConfState> {
  if (!isJoint(conf)) return reject('CONF_NOT_JOINT', 'there is no joint configuration to leave')
  return checked({
    voters: conf.voters,
    votersOutgoing: [],
    learners: sorted([...conf.learners, ...conf.learnersNext]),
    learnersNext: [],
    autoLeave: false
  })
}

function changed (conf: ConfState, changes: readonly ConfChangeSingle[]): ConfState {
  const voters = new Set(conf.voters)
  const learners = new Set(conf.learners)
  const learnersNext = new Set(conf.learnersNext)
  for (const { type, id } of changes) {
    voters.delete(id)
    learners.delete(id)
    learnersNext.delete(id)
    if (type === 'addVoter') voters.add(id)
    if (type === 'addLearner') {
      // a voter of the outgoing half still votes there, and may not be a learner at the same time
      if (conf.votersOutgoing.includes(id)) learnersNext.add(id)
      else learners.add(id)
    }
  }
  return {
    voters: sorted(voters),
    votersOutgoing: sorted(conf.votersOutgoing),
    learners: sorted(learners),
    learnersNext: sorted(learnersNext),
    autoLeave: conf.autoLeave
  }
}

function checked (conf: ConfState): Verdict<ConfState> {
  const everybody = [...conf.voters, ...conf.votersOutgoing, ...conf.learners, ...conf.learnersNext]
  if (everybody.includes('')) return reject('CONF_BAD_ID', 'an empty id')
  if (conf.voters.length === 0) return reject('CONF_NO_VOTERS', 'no voter would be left')
  if (conf.learners.some(id => isVoter(conf, id))) return reject('CONF_OVERLAP', 'a learner is a voter too')
  if (conf.learnersNext.some(id => !conf.votersOutgoing.includes(id) || conf.voters.includes(id))) {
    return reject('CONF_OVERLAP', 'only voters that leave can wait to become learners')
  }
  if (!isJoint(conf) && (conf.learnersNext.length > 0 || conf.autoLeave)) {
    return reject('CONF_NOT_JOINT', 'marks of a joint configuration outside of one')
  }
  return accept(conf)
}

const sorted = (ids: Iterable<RaftId>): RaftId[] => [...new Set(ids)].sort()
