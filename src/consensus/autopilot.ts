/**
 * Who should vote: the next step towards the right number of living voters. Pure; run at the leader, again and again.
 *
 * - voters: the largest odd number that `target` and the members at hand allow; 1 → 3 and replacements are one joint step, never through 2
 * - whoever is to vote is a learner first, and promoted once it has caught up: a join never weakens the quorum
 * - a voter that was silent for a minute is replaced where a spare has caught up; without a spare it stays, unless an odd number of at
 *   least three living voters remains without the silent ones
 * - a member whose disk was wiped leaves, to come back as a learner with an empty log
 * - no change is proposed unless a majority of the present and of the next voters was heard just now
 */
import type { PeerProgress } from './consensus.ts'
import type { ConfChangeSingle, ConfState, RaftId } from './types.ts'

/** heard within this: counted on for a quorum */
export const ALIVE_MS = 3_000
/** not heard for this: replaced */
export const GONE_MS = 60_000
/** a learner at most this many entries behind has caught up: it will have them within a few round trips */
export const CAUGHT_UP_ENTRIES = 256

export interface AutopilotInput {
  /** the leader, a voter */
  self: RaftId
  /** members that may vote and are connected now; any order, with or without `self` */
  eligible: readonly RaftId[]
  conf: ConfState
  /** of every other voter and learner */
  progress: ReadonlyMap<RaftId, PeerProgress>
  lastIndex: number
  /** voters aimed at, odd */
  target: number
}

/** @returns the changes of one step, to be proposed together; [] where all is well or nothing can be done */
export function nextConfChange (input: AutopilotInput): ConfChangeSingle[] {
  const { self, conf } = input
  if (conf.votersOutgoing.length > 0 || !conf.voters.includes(self)) return []
  for (const step of [dropWiped, changeVoters, dropGoneLearner, addLearners]) {
    const changes = step(input)
    if (changes.length > 0 && isSafe(input, changes)) return changes
  }
  return []
}

function dropWiped ({ conf, progress }: AutopilotInput): ConfChangeSingle[] {
  const wiped = [...conf.learners, ...conf.voters].find(id => progress.get(id)?.isWiped === true)
  return wiped === undefined ? [] : [{ type: 'remove', id: wiped }]
}

function changeVoters (input: AutopilotInput): ConfChangeSingle[] {
  const { conf, eligible, target } = input
  const gone = conf.voters.filter(id => silentMs(input, id) >= GONE_MS)
  const kept = conf.voters.filter(id => !gone.includes(id))
  const ready = conf.learners.filter(id => eligible.includes(id) && isAlive(input, id) && hasCaughtUp(input, id))
  const next = largestOdd(Math.min(target, kept.length + ready.length))
  const isGrowth = next > conf.voters.length
  const isReplacement = gone.length > 0 && next >= conf.voters.length
  const isRetreat = gone.length > 0 && next < conf.voters.length && next >= 3 && kept.length <= next
  if (!isGrowth && !isReplacement && !isRetreat) return []
  return [
    ...ready.slice(0, Math.max(0, next - kept.length)).map(id => ({ type: 'addVoter' as const, id })),
    ...gone.map(id => ({ type: 'remove' as const, id }))
  ]
}

/** Frees its place for somebody who is there. */
function dropGoneLearner (input: AutopilotInput): ConfChangeSingle[] {
  const gone = input.conf.learners.find(id => silentMs(input, id) >= GONE_MS)
  return gone === undefined ? [] : [{ type: 'remove', id: gone }]
}

function addLearners (input: AutopilotInput): ConfChangeSingle[] {
  const { self, conf, eligible, target } = input
  const members = new Set([...conf.voters, ...conf.learners])
  const present = conf.voters.filter(id => silentMs(input, id) < GONE_MS).length + conf.learners.length
  const newcomers = [...new Set(eligible)].filter(id => id !== self && !members.has(id)).sort()
  return newcomers.slice(0, Math.max(0, target - present)).map(id => ({ type: 'addLearner', id }))
}

/** Changing learners alone moves no quorum. */
function isSafe (input: AutopilotInput, changes: readonly ConfChangeSingle[]): boolean {
  const { voters } = input.conf
  const removed = new Set(changes.filter(({ type }) => type === 'remove').map(({ id }) => id))
  const next = voters.filter(id => !removed.has(id))
  for (const { type, id } of changes) if (type === 'addVoter') next.push(id)
  if (next.length === voters.length && next.every(id => voters.includes(id))) return true
  return hasLivingMajority(input, voters) && hasLivingMajority(input, next)
}

function hasLivingMajority (input: AutopilotInput, voters: readonly RaftId[]): boolean {
  return voters.filter(id => isAlive(input, id)).length > voters.length / 2
}

function isAlive (input: AutopilotInput, id: RaftId): boolean {
  return silentMs(input, id) < ALIVE_MS && input.progress.get(id)?.isWiped !== true
}

function silentMs ({ self, progress }: AutopilotInput, id: RaftId): number {
  return id === self ? 0 : progress.get(id)?.silentMs ?? 0
}

function hasCaughtUp ({ progress, lastIndex }: AutopilotInput, id: RaftId): boolean {
  const match = progress.get(id)?.match ?? 0
  return match > 0 && lastIndex - match <= CAUGHT_UP_ENTRIES
}

const largestOdd = (count: number): number => count % 2 === 0 ? Math.max(0, count - 1) : count
