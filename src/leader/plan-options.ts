/** The planner's knobs, with their defaults; the one place they stand. */
export interface PlanOptions {
  /** how long a participant may be away before its attempts are taken back */
  readonly graceMs: number
  /** the same for one that this leader has not heard of yet: after an election participants must find the new leader first */
  readonly unheardGraceMs: number
  /** attempts given out beyond a participant's slots, so that the next input travels while one runs */
  readonly prefetch: number
  /** a lease beyond the wall time of the task itself and of one queued before it: for moving blocks and committing */
  readonly leaseMarginMs: number
  /** wait after a task's first fault; doubles with each further one */
  readonly backoffMs: number
  readonly maxBackoffMs: number
  /** assignments, and releases, of one plan */
  readonly maxBatch: number
  /** pending tasks of one job that one plan looks at */
  readonly maxScan: number
}

export const PLAN_OPTIONS: PlanOptions = {
  graceMs: 500,
  unheardGraceMs: 3_000,
  prefetch: 1,
  leaseMarginMs: 15_000,
  backoffMs: 100,
  maxBackoffMs: 30_000,
  maxBatch: 256,
  maxScan: 2_048
}
