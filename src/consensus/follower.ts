/**
 * The follower's half of log replication. Source: Raft paper §5.3, §7; etcd-io/raft (fast rejection hints).
 */
import { log, send } from './core.ts'
import type { Core } from './core.ts'
import { membersOf, restoreConf } from './conf-change.ts'
import { accept, reject } from '../../keys/verdict.ts'
import type { Verdict } from '../../keys/verdict.ts'
import type { Message } from './types.ts'

const DONE = accept(undefined)

/** An append of the present term's leader. */
export function handleAppend (core: Core, message: Message): Verdict {
  const { from, index, entries } = message
  if (index < core.log.commit) {
    send(core, 'appendReply', from, { index: core.log.commit })
    return DONE
  }
  if (core.log.term(index) !== message.logTerm) {
    // where we may agree: not above our end, and no entry of a later term than the leader's at `index`; up to commit we do agree
    const rejectHint = core.log.lastIndexOfTermUpTo(message.logTerm, index, core.log.commit)
    send(core, 'appendReply', from, { index, reject: true, rejectHint, logTerm: core.log.term(rejectHint) ?? 0 })
    return DONE
  }
  // nothing is dropped that matches: this append may be older than what we hold (§5.3)
  const conflict = core.log.findConflict(entries)
  if (conflict !== undefined) {
    if (conflict.index <= core.log.commit) return reject('RAFT_CONFLICTS_WITH_COMMITTED', `entry ${conflict.index} of term ${conflict.term}`)
    core.log.append(entries.slice(conflict.index - index - 1))
  }
  const last = index + entries.length
  core.log.commitTo(Math.min(message.commit, last))
  send(core, 'appendReply', from, { index: last })
  return DONE
}

export function handleHeartbeat (core: Core, message: Message): Verdict {
  if (message.commit > core.log.lastIndex) {
    return reject('RAFT_COMMIT_BEYOND_LOG', `commit ${message.commit} of entries that this node said to hold; its log ends at ${core.log.lastIndex}`)
  }
  core.log.commitTo(message.commit)
  send(core, 'heartbeatReply', message.from, { index: message.index })
  return DONE
}

/** A snapshot that has arrived. It is taken only where it brings something new. */
export function handleSnapshot (core: Core, message: Message): Verdict {
  const snapshot = message.snapshot!
  const conf = restoreConf(snapshot.conf)
  if (conf.verdict !== 'accept') return conf
  if (snapshot.index > core.log.commit) {
    if (core.log.term(snapshot.index) === snapshot.term) {
      // we hold all of it already
      core.log.commitTo(snapshot.index)
    } else {
      core.snapshot = { ...snapshot, conf: conf.value }
      core.log.restore(core.snapshot)
      core.conf = conf.value
      core.confIndex = snapshot.index
      log(core, 'raft:restore', { index: snapshot.index, members: membersOf(conf.value).length })
    }
  }
  send(core, 'appendReply', message.from, { index: core.log.commit })
  return DONE
}
