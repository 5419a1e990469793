/**
 * Quorum arithmetic over majority and joint configurations. Leaf module of pure functions.
 * Source: Raft paper §5.2, §5.3, §6; etcd-io/raft `quorum`.
 */
import type { ConfState, RaftId } from './types.ts'

export type VoteResult = 'won' | 'lost' | 'pending'

/** The part of a configuration that decides; voters of both halves while it is joint. */
export type Electorate = Pick<ConfState, 'voters' | 'votersOutgoing'>

/** @returns how many of `count` voters are a majority; 1 for 0 */
export function majority (count: number): number {
  return Math.floor(count / 2) + 1
}

/**
 * @param voters - without duplicates
 * @param acknowledged - highest number that a voter has acknowledged
 * @returns the highest number that a majority has acknowledged; Infinity without voters, so that an empty half of a joint
 * configuration does not hold back the other
 */
export function majorityIndex (voters: readonly RaftId[], acknowledged: (id: RaftId) => number): number {
  if (voters.length === 0) return Infinity
  const sorted = voters.map(acknowledged).sort((a, b) => b - a)
  return sorted[majority(voters.length) - 1]!
}

/** @returns as `majorityIndex`, of both halves: what either has not acknowledged is not acknowledged (§6) */
export function jointIndex (electorate: Electorate, acknowledged: (id: RaftId) => number): number {
  return Math.min(majorityIndex(electorate.voters, acknowledged), majorityIndex(electorate.votersOutgoing, acknowledged))
}

/** @returns what the votes so far decide; an empty list has won */
export function majorityVote (voters: readonly RaftId[], vote: (id: RaftId) => boolean | undefined): VoteResult {
  if (voters.length === 0) return 'won'
  let granted = 0
  let missing = 0
  for (const id of voters) {
    const answer = vote(id)
    if (answer === true) granted++
    else if (answer === undefined) missing++
  }
  const needed = majority(voters.length)
  if (granted >= needed) return 'won'
  return granted + missing >= needed ? 'pending' : 'lost'
}

/** @returns `won` if both halves are, `lost` if either is */
export function jointVote (electorate: Electorate, vote: (id: RaftId) => boolean | undefined): VoteResult {
  const incoming = majorityVote(electorate.voters, vote)
  const outgoing = majorityVote(electorate.votersOutgoing, vote)
  if (incoming === outgoing) return incoming
  return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending'
}
