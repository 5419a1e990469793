/**
 * The leader's decisions, pure: which attempts to take back, which jobs to end, which task goes to whom next.
 *
 * The shell's duties:
 * 1. call `plan` when the ledger changed, a participant came, went or advertised, and at `wakeAtMs`
 * 2. propose what it returns, in its own term: ends, releases, assignments
 * 3. call again only when those commands were applied or failed: a plan made from a ledger that lags counts nobody's work twice, since
 *    `apply` refuses what is stale, but gives out less than it could
 * 4. begin each term of leadership with `createPlanMemory()`
 */
import { candidatesOf, type Candidate, type JobCandidates } from './plan-candidates.ts'
import { forgetEnded, type PlanMemory } from './plan-memory.ts'
import { PLAN_OPTIONS, type PlanOptions } from './plan-options.ts'
import { readPeers, type ParticipantView, type Peers, type Worker } from './plan-view.ts'
import { planReleases } from './plan-releases.ts'
import type { ReleasedAttempt } from '../ledger/command.ts'
import type { Assignment } from '../ledger/event.ts'
import type { JobId, Ledger, RunningJob } from '../ledger/state.ts'

export { createPlanMemory } from './plan-memory.ts'
export type { PlanMemory } from './plan-memory.ts'
export type { ParticipantView } from './plan-view.ts'

export interface PlanTime {
  /** monotonic: leases, grace, backoff */
  readonly nowMs: number
  /** wall clock: deadlines, which count from the submitter's date */
  readonly wallMs: number
}

export interface JobEnding { readonly job: JobId, readonly code: 'DEADLINE', readonly reason: string }

export interface Plan {
  /** in the order to commit and gossip; at most `maxBatch` */
  readonly assignments: Assignment[]
  /** at most `maxBatch` */
  readonly releases: ReleasedAttempt[]
  readonly ends: JobEnding[]
  /** monotonic ms at which to plan again even if nothing happens */
  readonly wakeAtMs: number
}

/**
 * Decide what to do next.
 *
 * @param ledger - committed state; not changed
 * @param participants - every peer the leader knows, sorted by peer id
 * @param time - both clocks in milliseconds
 * @param memory - of this term; changed in place
 */
export function plan (ledger: Ledger, participants: readonly ParticipantView[], time: PlanTime, memory: PlanMemory, options: PlanOptions = PLAN_OPTIONS): Plan {
  forgetEnded(memory, ledger.running)
  const peers = readPeers(ledger, participants, options.prefetch)
  const { ends, wakeInMs } = planEnds(ledger, time.wallMs)
  const ending = new Set(ends.map(({ job }) => job))
  const { releases, wakeAtMs: leasesWakeAtMs } = planReleases(ledger, peers, time.nowMs, memory, options)
  const jobs = inTurn(ledger, memory).filter((job) => !ending.has(job.id))
  const room = Math.min(options.maxBatch, roomOf(peers))
  const candidates = room === 0 ? [] : jobs.map((job) => candidatesOf(job, peers, time.nowMs, memory, scanLimit(room), options))
  const assignments = planAssignments(candidates, peers, memory, room, options)
  const wakeAtMs = Math.min(leasesWakeAtMs, time.nowMs + Math.min(wakeInMs, MAX_SLEEP_MS), ...candidates.map((job) => job.wakeAtMs))
  return { assignments, releases, ends, wakeAtMs }
}

/** A wall clock may be set, and timers have a longest time: deadlines are looked at again at least this often. */
const MAX_SLEEP_MS = 3_600_000

/** More candidates than can be given out, so that among them are tasks near to each worker. */
const scanLimit = (room: number): number => Math.max(256, 4 * room)

const roomOf = (peers: Peers): number => [...peers.workers.values()].reduce((sum, worker) => sum + Math.max(0, worker.room), 0)

/** Jobs past their deadline. */
function planEnds (ledger: Ledger, wallMs: number): { ends: JobEnding[], wakeInMs: number } {
  const ends: JobEnding[] = []
  let wakeInMs = Infinity
  for (const job of ledger.running.values()) {
    const { createdAtMs, deadlineMs } = job.spec
    if (deadlineMs === 0) continue
    const leftMs = createdAtMs + deadlineMs - wallMs
    if (leftMs > 0) wakeInMs = Math.min(wakeInMs, leftMs)
    else ends.push({ job: job.id, code: 'DEADLINE', reason: `it was not done ${deadlineMs} ms after it was submitted` })
  }
  return { ends, wakeInMs }
}

/** The running jobs, beginning after the one that was served last. */
function inTurn (ledger: Ledger, memory: PlanMemory): RunningJob[] {
  const jobs = [...ledger.running.values()]
  const last = jobs.findIndex((job) => job.id === memory.lastServed)
  return [...jobs.slice(last + 1), ...jobs.slice(0, last + 1)]
}

/**
 * Round robin between jobs, first among the tasks whose input lies with a worker that has room, then among the rest: no worker stands
 * idle because a busy one is nearer to the data.
 */
function planAssignments (jobs: readonly JobCandidates[], peers: Peers, memory: PlanMemory, room: number, options: PlanOptions): Assignment[] {
  const assignments: Assignment[] = []
  const give = ({ job, stage, number, task }: Candidate, worker: Worker): void => {
    worker.room--
    memory.lastServed = job.id
    const leaseMs = 2 * job.spec.limits.timeoutMs + options.leaseMarginMs
    assignments.push({ job: job.id, stage, task: number, attempt: task.attempt + 1, participant: worker.peerId, leaseMs })
  }
  const left = roundRobin(jobs.map(({ ready }) => ready), (candidate) => {
    const worker = assignments.length < room ? roomiest(allowed(candidate, candidate.near, peers)) : undefined
    if (worker === undefined) return false
    give(candidate, worker)
    return true
  })
  const workers = [...peers.workers.values()]
  roundRobin(left, (candidate) => {
    const worker = assignments.length < room ? roomiest(allowed(candidate, workers, peers)) : undefined
    if (worker === undefined) return false
    give(candidate, worker)
    return true
  })
  return assignments
}

/** Offer one item of each list in turn until all were offered once; returns what was not taken. */
function roundRobin<T> (lists: ReadonlyArray<readonly T[]>, take: (item: T) => boolean): T[][] {
  const left: T[][] = lists.map(() => [])
  const next = lists.map(() => 0)
  let isOpen = true
  while (isOpen) {
    isOpen = false
    for (const [n, list] of lists.entries()) {
      // an offer that is refused does not use up the job's turn
      for (let at = next[n] ?? 0; at < list.length; at = next[n] ?? 0) {
        next[n] = at + 1
        const item = list[at] as T
        if (take(item)) { isOpen = true; break }
        left[n]?.push(item)
      }
    }
  }
  return left
}

/** Workers that a task may go to: not those it failed on, as long as there is any other. */
function allowed ({ task }: Candidate, workers: readonly Worker[], peers: Peers): readonly Worker[] {
  const { avoid } = task.history
  if (avoid.length === 0) return workers
  const isShunned = (worker: Worker): boolean => avoid.includes(worker.peerId)
  const hasOther = [...peers.workers.values()].some((worker) => !isShunned(worker))
  return hasOther ? workers.filter((worker) => !isShunned(worker)) : workers
}

/** The worker with most room for its size, the first of equals; undefined where none has any. */
function roomiest (workers: readonly Worker[]): Worker | undefined {
  let best: Worker | undefined
  for (const worker of workers) {
    if (worker.room > 0 && (best === undefined || worker.room / worker.slots > best.room / best.slots)) best = worker
  }
  return best
}
