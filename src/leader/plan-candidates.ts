/** Which pending tasks of a job may be given out now, and who would rather have them. */
import { memoryOf, taskKey, type JobMemory, type PlanMemory } from './plan-memory.ts'
import { readyStages, type Peers, type Worker } from './plan-view.ts'
import type { RunningJob, Task } from '../ledger/state.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { PlanOptions } from './plan-options.ts'

type PendingTask = Extract<Task, { state: 'pending' }>

export interface Candidate {
  readonly job: RunningJob
  readonly stage: number
  readonly number: number
  readonly task: PendingTask
  /** workers that hold its input, best first; may be empty */
  readonly near: readonly Worker[]
}

export interface Held {
  /** backing off until `wakeAtMs` at the earliest */
  backoff: number
  /** waiting for a block whose holders are away, by its CID */
  readonly blocks: Map<string, { tasks: number, readonly holders: readonly PeerIdStr[] }>
}

export interface JobCandidates {
  readonly job: RunningJob
  readonly ready: readonly Candidate[]
  readonly held: Held
  /** when the first backoff ends, monotonic ms; Infinity: never */
  readonly wakeAtMs: number
}

/**
 * The job's tasks that may run now, those that wait longest first, at most `limit`; looks at no more than `options.maxScan`.
 */
export function candidatesOf (job: RunningJob, peers: Peers, nowMs: number, memory: PlanMemory, limit: number, options: PlanOptions): JobCandidates {
  const kept = memoryOf(memory, job)
  const held: Held = { backoff: 0, blocks: new Map() }
  const ready: Candidate[] = []
  let wakeAtMs = Infinity
  let scanned = 0
  for (const { n, stage } of readyStages(job)) {
    for (const number of stage.pending) {
      if (ready.length >= limit || scanned++ >= options.maxScan) break
      const task = stage.tasks[number]
      if (task?.state !== 'pending') continue
      const untilMs = backoffEnd(kept, taskKey(n, number), task, nowMs, options)
      if (untilMs > nowMs) {
        held.backoff++
        wakeAtMs = Math.min(wakeAtMs, untilMs)
      } else if (!holdForBlock(job, number, task, peers, held)) {
        ready.push({ job, stage: n, number, task, near: near(job, n, number, peers, kept) })
      }
    }
  }
  return { job, ready, held, wakeAtMs }
}

/** A task that had a fault, or missed a block, waits; the clock starts when this leader first sees it pending. */
function backoffEnd (kept: JobMemory, key: number, { attempt, history }: PendingTask, nowMs: number, options: PlanOptions): number {
  const mishaps = history.faults + history.losses
  if (mishaps === 0) return 0
  const known = kept.backoffs.get(key)
  if (known?.attempt === attempt) return known.untilMs
  const untilMs = nowMs + Math.min(options.maxBackoffMs, options.backoffMs * 2 ** (mishaps - 1))
  kept.backoffs.set(key, { attempt, untilMs })
  return untilMs
}

/** A task that missed a block of the submitter's waits until somebody who had it is there again. */
function holdForBlock (job: RunningJob, number: number, { waiting }: PendingTask, peers: Peers, held: Held): boolean {
  if (waiting === undefined) return false
  const holders = waiting === job.spec.code.cid ? job.spec.code.holders : job.spec.inputs[number]?.holders ?? []
  if (holders.some((holder) => peers.connected.has(holder))) return false
  const block = held.blocks.get(waiting) ?? { tasks: 0, holders }
  block.tasks++
  held.blocks.set(waiting, block)
  return true
}

/** Workers that hold the task's input: for a map task the input's holders, for a reduce task whoever has most bytes of its partition. */
function near (job: RunningJob, stage: number, number: number, peers: Peers, kept: JobMemory): Worker[] {
  if (stage === 0) return workersAmong(job.spec.inputs[number]?.holders ?? [], peers)
  const bytes = locality(job, stage, kept)[number]
  if (bytes === undefined) return []
  // the three that have most: with even partitions everybody has about the same, and whoever has room is as good
  const best = [...bytes].sort((a, b) => b[1] - a[1]).slice(0, 3)
  return workersAmong(best.map(([peer]) => peer), peers)
}

function workersAmong (holders: readonly PeerIdStr[], peers: Peers): Worker[] {
  const found: Worker[] = []
  for (const holder of holders) {
    const worker = peers.workers.get(holder)
    if (worker !== undefined) found.push(worker)
  }
  return found
}

function locality (job: RunningJob, stage: number, kept: JobMemory): ReadonlyArray<ReadonlyMap<PeerIdStr, number>> {
  // outputs of a done stage change only when one is lost and made again
  const version = `${stage}/${job.losses}`
  if (kept.locality?.version === version) return kept.locality.byPartition
  const byPartition = Array.from({ length: job.stages[stage]?.size ?? 0 }, () => new Map<PeerIdStr, number>())
  for (const made of job.stages[stage - 1]?.tasks ?? []) {
    if (made.state !== 'done') continue
    for (const output of made.outputs) {
      const peers = byPartition[output.partition]
      peers?.set(made.participant, (peers.get(made.participant) ?? 0) + output.bytes)
    }
  }
  kept.locality = { version, byPartition }
  return byPartition
}
