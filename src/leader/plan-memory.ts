/**
 * What a leader knows beyond the ledger: clocks. Leases and backoffs start when this leader first sees them, so that a new leader,
 * which starts with an empty memory, gives every attempt its full lease again instead of trusting another machine's clock.
 *
 * Owned by one leader's shell, changed by `plan` alone, thrown away at the end of its term.
 */
import type { JobId, RunningJob } from '../ledger/state.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

export interface JobMemory {
  /** attempts by task key: since when this leader has seen them assigned, monotonic ms */
  readonly leases: Map<number, { readonly attempt: number, readonly sinceMs: number }>
  /** pending tasks by key that had bad luck: from when on they may be given out again, monotonic ms */
  readonly backoffs: Map<number, { readonly attempt: number, readonly untilMs: number }>
  /** bytes that each peer holds of each partition of a stage's input; computed once a stage */
  locality: { readonly version: string, readonly byPartition: ReadonlyArray<ReadonlyMap<PeerIdStr, number>> } | undefined
}

export interface PlanMemory {
  readonly jobs: Map<JobId, JobMemory>
  /** when a participant that holds attempts was first seen away, monotonic ms */
  readonly awaySince: Map<PeerIdStr, number>
  /** the job that was served last: the next plan begins after it */
  lastServed: JobId | undefined
}

export function createPlanMemory (): PlanMemory {
  return { jobs: new Map(), awaySince: new Map(), lastServed: undefined }
}

/** A task's key within its job's memory. */
export const taskKey = (stage: number, task: number): number => stage * 1_048_576 + task

/** The job's memory, created on first sight. */
export function memoryOf (memory: PlanMemory, job: RunningJob): JobMemory {
  let found = memory.jobs.get(job.id)
  if (found === undefined) {
    found = { leases: new Map(), backoffs: new Map(), locality: undefined }
    memory.jobs.set(job.id, found)
  }
  return found
}

/** Forget jobs that run no more. */
export function forgetEnded (memory: PlanMemory, running: ReadonlyMap<JobId, RunningJob>): void {
  for (const id of memory.jobs.keys()) if (!running.has(id)) memory.jobs.delete(id)
}
