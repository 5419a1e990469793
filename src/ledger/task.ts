/**
 * A task's transitions, pending → assigned → done and back, with the stage's queue and counts kept in step. The queue is what makes
 * `apply` and the planner independent of the number of tasks.
 */
import { assert } from './assert.ts'
import { LEDGER_LIMITS } from '../../protocols/ledger/constants.ts'
import { NO_HISTORY, type CidStr, type RunningJob, type Stage, type StageSpec, type TaskHistory, type TaskOutput } from './state.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

/** A stage whose tasks do not exist yet. */
export function createStage (spec: StageSpec, size: number): Stage {
  return { spec, size, tasks: [], pending: new Set(), assigned: new Set(), done: 0 }
}

/** Create the stage's tasks, all pending. */
export function openStage (stage: Stage): void {
  assert(stage.tasks.length === 0, 'a stage is opened once')
  for (let n = 0; n < stage.size; n++) {
    stage.tasks.push({ state: 'pending', attempt: 0, history: NO_HISTORY, waiting: undefined })
    stage.pending.add(n)
  }
}

/** pending → assigned, one attempt on. @param since - ledger index */
export function assignTask (stage: Stage, n: number, participant: PeerIdStr, leaseMs: number, since: number): void {
  const task = stage.tasks[n]
  assert(task?.state === 'pending' && stage.pending.delete(n), 'only a pending task is assigned')
  stage.tasks[n] = { state: 'assigned', attempt: task.attempt + 1, history: task.history, participant, leaseMs, since }
  stage.assigned.add(n)
}

/** assigned → done. @param since - ledger index */
export function completeTask (stage: Stage, n: number, outputs: readonly TaskOutput[], since: number): void {
  const task = stage.tasks[n]
  assert(task?.state === 'assigned' && stage.assigned.delete(n), 'only an assigned task completes')
  stage.tasks[n] = { state: 'done', attempt: task.attempt, history: task.history, participant: task.participant, outputs, since }
  stage.done++
}

/** assigned or done → pending, at the end of the queue. */
export function putBackTask (stage: Stage, n: number, history: TaskHistory, waiting?: CidStr): void {
  const task = stage.tasks[n]
  assert(task !== undefined && task.state !== 'pending', 'a pending task cannot be put back')
  if (task.state === 'done') stage.done--
  else stage.assigned.delete(n)
  stage.tasks[n] = { state: 'pending', attempt: task.attempt, history, waiting }
  stage.pending.add(n)
}

/** The history with one more fault, one more loss, or one more participant to avoid. */
export function remember (history: TaskHistory, what: { fault?: boolean, loss?: boolean, avoid?: PeerIdStr }): TaskHistory {
  const { avoid } = what
  const others = history.avoid.filter((peer) => peer !== avoid)
  return {
    faults: history.faults + (what.fault === true ? 1 : 0),
    losses: history.losses + (what.loss === true ? 1 : 0),
    avoid: avoid === undefined ? history.avoid : [...others, avoid].slice(-LEDGER_LIMITS.maxAvoid)
  }
}

/** How many losses a job may have before it fails: some for any job, and several for each of its tasks. */
export function maxLosses (job: RunningJob): number {
  return 16 + 4 * job.stages.reduce((sum, stage) => sum + stage.size, 0)
}

/**
 * The done task of a stage that made this block for this partition, the lowest where several did; or undefined. Linear in the
 * stage's tasks: losses are rare and bounded.
 */
export function makerOf (stage: Stage, partition: number, cid: CidStr): number | undefined {
  const n = stage.tasks.findIndex((task) => task.state === 'done' && outputFor(task.outputs, partition)?.cid === cid)
  return n < 0 ? undefined : n
}

/** The output for a partition, or undefined where nothing fell into it. `outputs` ascend by partition. */
export function outputFor (outputs: readonly TaskOutput[], partition: number): TaskOutput | undefined {
  const guess = outputs[partition]
  if (guess?.partition === partition) return guess
  let low = 0
  let high = outputs.length - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    const output = outputs[middle]
    if (output === undefined) return undefined
    if (output.partition === partition) return output
    if (output.partition < partition) low = middle + 1
    else high = middle - 1
  }
  return undefined
}
