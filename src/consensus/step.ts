/**
 * What a message means before it is handled: is it well formed, and whose term is later? Source: Raft paper §5.1; etcd-io/raft `Step`.
 */
import { isInLease, send } from './core.ts'
import type { Core } from './core.ts'
import { campaignForced, handleVoteReply, handleVoteRequest, refuseVote } from './election.ts'
import { handleAppend, handleHeartbeat, handleSnapshot } from './follower.ts'
import { handleReadIndex, handleReadIndexReply } from './reads.ts'
import { handleAppendReply, handleHeartbeatReply } from './replication.ts'
import { becomeFollower } from './role.ts'
import { accept, reject } from '../../keys/verdict.ts'
import type { Verdict } from '../../keys/verdict.ts'
import type { Message, MessageType } from './types.ts'

const DONE = accept(undefined)

/** Only a leader sends these. */
const isFromLeader = (type: MessageType): boolean => type === 'append' || type === 'heartbeat' || type === 'snapshot'

export function step (core: Core, message: Message): Verdict {
  const fault = faultOf(core, message)
  if (fault !== undefined) return reject('RAFT_MALFORMED', fault)
  if (message.type === 'snapshot' && core.outstanding !== undefined) {
    // log and configuration are not replaced under a caller that is just writing and applying
    core.delayedSnapshot = message
    return DONE
  }
  if (message.term < core.term) return answerStale(core, message)
  if (message.type === 'vote' || message.type === 'preVote') {
    // while a leader is alive its followers do not help to depose it, and do not take over a disturber's term either
    if (message.term > core.term && !message.force && isInLease(core)) return DONE
    if (message.term > core.term && message.type === 'vote') becomeFollower(core, message.term, '')
    handleVoteRequest(core, message)
    return DONE
  }
  if (message.term > core.term && !(message.type === 'preVoteReply' && !message.reject)) {
    becomeFollower(core, message.term, isFromLeader(message.type) ? message.from : '')
  }
  return isFromLeader(message.type) ? stepFromLeader(core, message) : stepOther(core, message)
}

function stepFromLeader (core: Core, message: Message): Verdict {
  if (core.role === 'leader' || (core.leader !== '' && core.leader !== message.from)) {
    return reject('RAFT_TWO_LEADERS', `${message.from} and ${core.leader} in term ${core.term}`)
  }
  if (core.role !== 'follower') becomeFollower(core, core.term, message.from)
  core.leader = message.from
  core.electionElapsed = 0
  if (message.type === 'append') return handleAppend(core, message)
  if (message.type === 'heartbeat') return handleHeartbeat(core, message)
  return handleSnapshot(core, message)
}

function stepOther (core: Core, message: Message): Verdict {
  switch (message.type) {
    case 'preVoteReply':
    case 'voteReply':
      handleVoteReply(core, message)
      break
    case 'appendReply':
      if (core.role === 'leader' && !handleAppendReply(core, message)) return reject('RAFT_MALFORMED', 'an index that was never sent')
      break
    case 'heartbeatReply':
      if (core.role === 'leader') handleHeartbeatReply(core, message)
      break
    case 'timeoutNow':
      if (core.role === 'follower') campaignForced(core)
      break
    case 'readIndex':
      handleReadIndex(core, message)
      break
    case 'readIndexReply':
      handleReadIndexReply(core, message)
      break
  }
  return DONE
}

/**
 * A message of an earlier term. Who waits for an answer gets one that carries our term: a deposed leader steps down, a candidate
 * catches up, and a group cannot stay leaderless because one of it is ahead (etcd 8501).
 */
function answerStale (core: Core, message: Message): Verdict {
  if (isFromLeader(message.type)) send(core, 'appendReply', message.from, { reject: true })
  else if (message.type === 'preVote' || message.type === 'vote') refuseVote(core, message)
  else if (message.type === 'readIndex') send(core, 'readIndexReply', message.from, { reject: true, context: message.context })
  return DONE
}

/** @returns what no honest core has sent; undefined for a well-formed message */
function faultOf (core: Core, message: Message): string | undefined {
  const { from, to, term, index, logTerm, entries, commit, rejectHint, snapshot } = message
  if (to !== core.id || from === core.id || from === '') return `from '${from}' to '${to}'`
  for (const number of [term, index, logTerm, commit, rejectHint]) {
    if (!Number.isSafeInteger(number) || number < 0) return 'a number out of range'
  }
  if (term === 0) return 'term 0'
  if (entries.length > 0 && message.type !== 'append') return `entries in ${message.type}`
  let previous = logTerm
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    if (entry.index !== index + i + 1 || !(entry.term >= previous) || entry.term < 1 || entry.term > term) return `entry ${entry.index} out of order`
    previous = entry.term
  }
  if ((message.type === 'snapshot') !== (snapshot !== undefined)) return `snapshot in ${message.type}`
  if (snapshot !== undefined && !(Number.isSafeInteger(snapshot.index) && snapshot.index > 0 && snapshot.term <= term)) return 'a snapshot out of range'
  return undefined
}
