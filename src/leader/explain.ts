/**
 * Why what does not run does not run, with the next step: never a silent wait. Asked by people, so it may look at every job; on a
 * node that does not lead, pass a fresh memory and the connections it sees itself.
 */
import { candidatesOf } from './plan-candidates.ts'
import type { PlanMemory } from './plan-memory.ts'
import { PLAN_OPTIONS, type PlanOptions } from './plan-options.ts'
import { readPeers, type ParticipantView, type Peers } from './plan-view.ts'
import type { JobId, Ledger, RunningJob } from '../ledger/state.ts'

export interface WaitReason {
  readonly code: 'NO_PARTICIPANTS' | 'SLOTS_BUSY' | 'BLOCK_AWAY' | 'BACKOFF' | 'STAGE_WAITS' | 'RUNNING' | 'READY'
  /** how many tasks it is true of */
  readonly tasks: number
  readonly reason: string
  /** what a person can do; '' where waiting is right */
  readonly next: string
}

export interface Explanation { readonly job: JobId, readonly name: string, readonly reasons: readonly WaitReason[] }

/** One explanation for each running job, in order of submission; `reasons` begin with what runs. */
export function explain (ledger: Ledger, participants: readonly ParticipantView[], memory: PlanMemory, nowMs: number, options: PlanOptions = PLAN_OPTIONS): Explanation[] {
  const peers = readPeers(ledger, participants, options.prefetch)
  return [...ledger.running.values()].map((job) => ({
    job: job.id,
    name: job.spec.name,
    reasons: [...running(job), ...stages(job), ...waiting(job, peers, nowMs, memory, options)]
  }))
}

function running (job: RunningJob): WaitReason[] {
  const tasks = job.stages.reduce((sum, stage) => sum + stage.assigned.size, 0)
  if (tasks === 0) return []
  const on = new Set<string>()
  for (const stage of job.stages) {
    for (const number of stage.assigned) {
      const task = stage.tasks[number]
      if (task?.state === 'assigned') on.add(task.participant)
    }
  }
  return [{ code: 'RUNNING', tasks, reason: `given to ${on.size} participant${on.size === 1 ? '' : 's'}`, next: '' }]
}

function stages (job: RunningJob): WaitReason[] {
  const reasons: WaitReason[] = []
  for (const [n, stage] of job.stages.entries()) {
    const before = job.stages[n - 1]
    const tasks = stage.tasks.length === 0 ? stage.size : stage.pending.size
    if (before === undefined || before.done === before.size || tasks === 0) continue
    reasons.push({ code: 'STAGE_WAITS', tasks, reason: `${stage.spec.kind} waits for ${before.size - before.done} ${before.spec.kind} tasks`, next: '' })
  }
  return reasons
}

function waiting (job: RunningJob, peers: Peers, nowMs: number, memory: PlanMemory, options: PlanOptions): WaitReason[] {
  const { ready, held } = candidatesOf(job, peers, nowMs, memory, options.maxScan, options)
  const reasons: WaitReason[] = []
  for (const [cid, { tasks, holders }] of held.blocks) {
    const who = holders.length === 0 ? 'nobody that is known' : holders.join(', ')
    reasons.push({ code: 'BLOCK_AWAY', tasks, reason: `waiting for block ${cid}, held by ${who} (away)`, next: 'start that member again, or cancel the job and submit it anew' })
  }
  if (held.backoff > 0) reasons.push({ code: 'BACKOFF', tasks: held.backoff, reason: 'tried again shortly after a fault', next: '' })
  if (ready.length > 0) reasons.push(readyReason(ready.length, peers))
  return reasons
}

function readyReason (tasks: number, { workers }: Peers): WaitReason {
  if (workers.size === 0) {
    return { code: 'NO_PARTICIPANTS', tasks, reason: 'no participant that may work is connected', next: 'conclave up on a member with the capability work, or conclave invite to let one join' }
  }
  if ([...workers.values()].every((worker) => worker.room <= 0)) {
    const slots = [...workers.values()].reduce((sum, worker) => sum + worker.slots, 0)
    return { code: 'SLOTS_BUSY', tasks, reason: `all ${slots} slots of ${workers.size} participants are busy`, next: 'conclave invite to add a machine' }
  }
  return { code: 'READY', tasks, reason: 'given out next', next: '' }
}
