/** Taking attempts back: their participant is gone, or their lease ran out. */
import { memoryOf, taskKey, type PlanMemory } from './plan-memory.ts'
import { assignedTasks, type AssignedView, type Peers } from './plan-view.ts'
import type { ReleasedAttempt } from '../ledger/command.ts'
import type { JobId, Ledger } from '../ledger/state.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { PlanOptions } from './plan-options.ts'

export interface Releases {
  readonly releases: ReleasedAttempt[]
  /** when the next lease or grace ends, monotonic ms; Infinity: never */
  readonly wakeAtMs: number
}

/**
 * Which attempts to take back now. Linear in the attempts that are out, which the participants' slots bound.
 *
 * @param memory - clocks of attempts seen for the first time start here, those of finished ones are forgotten
 */
export function planReleases (ledger: Ledger, peers: Peers, nowMs: number, memory: PlanMemory, options: PlanOptions): Releases {
  const releases: ReleasedAttempt[] = []
  const away = new Set<PeerIdStr>()
  const out = new Map<JobId, Set<number>>()
  let wakeAtMs = Infinity
  for (const view of assignedTasks(ledger)) {
    const { job, stage, number, task } = view
    const keys = out.get(job.id) ?? new Set()
    out.set(job.id, keys.add(taskKey(stage, number)))
    const leaseEndsMs = leaseStart(view, nowMs, memory) + task.leaseMs
    const isAway = !peers.connected.has(task.participant)
    if (isAway) away.add(task.participant)
    const graceEndsMs = isAway ? awayStart(task.participant, nowMs, memory) + (peers.heard.has(task.participant) ? options.graceMs : options.unheardGraceMs) : Infinity
    const endsMs = Math.min(leaseEndsMs, graceEndsMs)
    if (endsMs > nowMs) wakeAtMs = Math.min(wakeAtMs, endsMs)
    else if (releases.length < options.maxBatch) releases.push({ job: job.id, stage, task: number, attempt: task.attempt, reason: graceEndsMs <= nowMs ? 'gone' : 'lease' })
    else wakeAtMs = nowMs
  }
  for (const [id, { leases }] of memory.jobs) {
    for (const key of leases.keys()) if (out.get(id)?.has(key) !== true) leases.delete(key)
  }
  for (const peer of memory.awaySince.keys()) if (!away.has(peer)) memory.awaySince.delete(peer)
  return { releases, wakeAtMs }
}

function leaseStart ({ job, stage, number, task }: AssignedView, nowMs: number, memory: PlanMemory): number {
  const { leases, backoffs } = memoryOf(memory, job)
  const key = taskKey(stage, number)
  backoffs.delete(key)
  const known = leases.get(key)
  if (known?.attempt === task.attempt) return known.sinceMs
  leases.set(key, { attempt: task.attempt, sinceMs: nowMs })
  return nowMs
}

function awayStart (peer: PeerIdStr, nowMs: number, memory: PlanMemory): number {
  const known = memory.awaySince.get(peer)
  if (known !== undefined) return known
  memory.awaySince.set(peer, nowMs)
  return nowMs
}
