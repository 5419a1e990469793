/**
 * Campaigns and votes. Source: Raft paper §5.2, §5.4.1; thesis §3.10 (transfer), §4.2.3 (leases against disruption), §9.6 (pre-vote).
 */
import { isElectable, log, send } from './core.ts'
import type { Core } from './core.ts'
import { isVoter } from './conf-change.ts'
import { jointVote } from './quorum.ts'
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from './role.ts'
import type { Message } from './types.ts'

/** @returns true if a campaign may start: a candidate counts votes by a configuration that may be out of force (etcd 7625) otherwise */
function mayCampaign (core: Core): boolean {
  if (core.role === 'leader' || !isElectable(core)) return false
  return !core.log.hasUnappliedConf()
}

/** Ask everybody whether a campaign would be welcome, and start it if a quorum says so. No effect where this node may not lead. */
export function campaign (core: Core): void {
  if (!mayCampaign(core)) return
  becomePreCandidate(core)
  core.votes.set(core.id, true)
  if (!tally(core)) requestVotes(core)
}

/** Leadership is being handed to this node: no pre-vote, and leases on the old leader do not count. */
export function campaignForced (core: Core): void {
  if (!mayCampaign(core)) return
  startElection(core, true)
}

function startElection (core: Core, forced: boolean): void {
  becomeCandidate(core)
  core.forced = forced
  log(core, 'raft:campaign', { forced })
  requestVotes(core)
}

/** Ask the voters that have not answered; asked again each heartbeat interval, since a message may be lost. */
function requestVotes (core: Core): void {
  const type = core.role === 'preCandidate' ? 'preVote' : 'vote'
  const term = core.role === 'preCandidate' ? core.term + 1 : core.term
  for (const id of new Set([...core.conf.voters, ...core.conf.votersOutgoing])) {
    if (id === core.id || core.votes.has(id)) continue
    send(core, type, id, { term, index: core.log.lastIndex, logTerm: core.log.lastTerm, force: core.forced })
  }
}

/** @returns true if the votes so far have decided, and the role changed */
function tally (core: Core): boolean {
  const result = jointVote(core.conf, id => core.votes.get(id))
  if (result === 'pending') return false
  if (result === 'lost') becomeFollower(core, core.term, '')
  else if (core.role === 'preCandidate') startElection(core, false)
  else becomeLeader(core)
  return true
}

/** This node's vote for itself in the present term is on disk. */
export function countOwnVote (core: Core): void {
  if (core.role !== 'candidate' || core.votes.has(core.id)) return
  core.votes.set(core.id, true)
  tally(core)
}

/** One tick of a node that does not lead. */
export function tickElection (core: Core): void {
  core.electionElapsed++
  if (core.electionElapsed >= core.electionTimeout) {
    if (mayCampaign(core)) {
      campaign(core)
    } else {
      // who cannot campaign forgets a silent leader all the same, and asks again later
      core.leader = ''
      core.electionElapsed = 0
    }
  } else if (core.role !== 'follower' && core.electionElapsed % core.config.heartbeatTicks === 0) {
    requestVotes(core)
  }
}

/**
 * Answer a vote or pre-vote whose term is at least ours; the lease was looked at before. Whoever is asked answers, member or not: a
 * learner that was promoted may not know it yet (etcd 10998), and only the candidate knows who counts.
 */
export function handleVoteRequest (core: Core, message: Message): void {
  const isPreVote = message.type === 'preVote'
  const isFree = core.votedFor === message.from ||
    (core.votedFor === '' && core.leader === '') ||
    (isPreVote && message.term > core.term)
  const granted = isFree && core.log.isUpToDate(message.index, message.logTerm)
  if (!granted) return refuseVote(core, message)
  // a pre-vote is granted for the term that was asked about, and changes nothing here
  send(core, isPreVote ? 'preVoteReply' : 'voteReply', message.from, { term: message.term })
  if (isPreVote) return
  core.votedFor = message.from
  core.electionElapsed = 0
}

/**
 * A refusal carries our term, so that nobody stays behind for ever (etcd 8501), and says what is committed. Without that, a voter could be stuck: the leader removed itself, nobody else learned that this is
 * committed, and its longer log keeps it from voting for those who still count it in.
 */
export function refuseVote (core: Core, message: Message): void {
  const { commit } = core.log
  send(core, message.type === 'preVote' ? 'preVoteReply' : 'voteReply', message.from, {
    reject: true, index: commit, logTerm: core.log.term(commit) ?? 0
  })
}

/** What one node knows to be committed is committed for all whose log holds it (Log Matching). */
function learnCommit (core: Core, message: Message): void {
  if (core.log.term(message.index) !== message.logTerm || !core.log.commitTo(message.index)) return
  if (core.log.hasUnappliedConf()) becomeFollower(core, core.term, '')
}

/** A message of the present term, or a granted pre-vote for a later one. */
export function handleVoteReply (core: Core, message: Message): void {
  const isPreVote = message.type === 'preVoteReply'
  if (message.reject && core.role !== 'leader') learnCommit(core, message)
  if (core.role !== (isPreVote ? 'preCandidate' : 'candidate')) return
  if (isPreVote && !message.reject && message.term !== core.term + 1) return
  if (core.votes.has(message.from) || !isVoter(core.conf, message.from)) return
  core.votes.set(message.from, !message.reject)
  tally(core)
}
