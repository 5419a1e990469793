/**
 * The four roles and the ways between them. Source: Raft paper §5.1, §5.2, figure 4; thesis §9.6 (pre-vote).
 */
import { log, resetElectionTimer } from './core.ts'
import type { Core } from './core.ts'
import { membersOf } from './conf-change.ts'
import { entryBytes, invariant } from './log.ts'
import { createProgress } from './progress.ts'
import { failReads } from './reads.ts'
import { appendOwn } from './replication.ts'
import type { RaftId } from './types.ts'

/** What belongs to a role or a term ends here; a vote is forgotten with its term only (§5.2). */
function reset (core: Core, term: number): void {
  invariant(term >= core.term, `term falls from ${core.term} to ${term}`)
  if (core.role === 'leader') failReads(core)
  if (term !== core.term) {
    core.term = term
    core.votedFor = ''
  }
  core.leader = ''
  core.votes = new Map()
  core.forced = false
  core.progress = new Map()
  core.transferee = ''
  core.pendingConfIndex = 0
  core.uncommittedBytes = 0
  resetElectionTimer(core)
}

/** @param leader - '' while it is not known */
export function becomeFollower (core: Core, term: number, leader: RaftId): void {
  const was = core.role
  reset(core, term)
  core.role = 'follower'
  core.leader = leader
  if (was === 'leader') log(core, 'raft:stepdown', { leader })
}

/** Neither term nor vote change: a pre-vote asks whether it would make sense to change them. */
export function becomePreCandidate (core: Core): void {
  invariant(core.role !== 'leader', 'a leader does not campaign')
  reset(core, core.term)
  core.role = 'preCandidate'
}

/** Its own vote counts once it is on disk: see `advance`. */
export function becomeCandidate (core: Core): void {
  invariant(core.role !== 'leader', 'a leader does not campaign')
  reset(core, core.term + 1)
  core.role = 'candidate'
  core.votedFor = core.id
}

/** Its first act is an empty entry, whose commit commits all that came before it (§5.4.2, §8). */
export function becomeLeader (core: Core): void {
  invariant(core.role === 'candidate', `a ${core.role} cannot become leader`)
  reset(core, core.term)
  core.role = 'leader'
  core.leader = core.id
  core.heartbeatElapsed = 0
  core.checkQuorumElapsed = 0
  core.readSeq = 0
  core.readSeqSent = 0
  const { lastIndex, stable, commit } = core.log
  for (const id of membersOf(core.conf)) {
    const progress = createProgress(lastIndex + 1, core.config)
    if (id === core.id) progress.match = stable
    core.progress.set(id, progress)
  }
  for (let index = commit + 1; index <= lastIndex; index++) {
    core.uncommittedBytes += entryBytes(core.log.slice(index, index, 0)[0]!)
  }
  // there may be a change in the tail that is not committed: none is proposed until all of it is applied
  core.pendingConfIndex = lastIndex
  appendOwn(core, 'empty', new Uint8Array(0))
  log(core, 'raft:lead', { lastIndex })
}
