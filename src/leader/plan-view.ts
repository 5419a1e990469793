/** What the planner is told about the peers, and what it makes of it before it gives out tasks. */
import { isReady, type Ledger, type RunningJob, type Stage, type Task } from '../ledger/state.ts'
import { can } from '../ledger/view.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

/** A peer as the leader sees it; `slots` 0 for one that holds blocks but takes no work. */
export interface ParticipantView {
  readonly peerId: PeerIdStr
  /** tasks that it runs at a time, as it last advertised */
  readonly slots: number
  /** it takes no new work but finishes what it has */
  readonly isDraining: boolean
  /** it is connected, and has advertised lately: a stopped process keeps its connections */
  readonly isConnected: boolean
}

/** A participant that may be given work, with room counted down while a plan is made. */
export interface Worker {
  readonly peerId: PeerIdStr
  readonly slots: number
  /** attempts that it may still be given */
  room: number
}

export interface Peers {
  readonly workers: ReadonlyMap<PeerIdStr, Worker>
  readonly connected: ReadonlySet<PeerIdStr>
  /** all that the leader was told of, connected or not */
  readonly heard: ReadonlySet<PeerIdStr>
}

/** Who can work, and with how much room: members with the capability, connected, not draining. */
export function readPeers (ledger: Ledger, participants: readonly ParticipantView[], prefetch: number): Peers {
  const workers = new Map<PeerIdStr, Worker>()
  const connected = new Set<PeerIdStr>()
  for (const { peerId, slots, isDraining, isConnected } of participants) {
    if (!isConnected) continue
    connected.add(peerId)
    if (can(ledger, peerId, 'work') && !isDraining && slots > 0) workers.set(peerId, { peerId, slots, room: slots + prefetch })
  }
  for (const { job, stage, task } of assignedTasks(ledger)) {
    const worker = workers.get(task.participant)
    // an attempt that waits for a lost block must not take the room of the task that makes it again
    if (worker !== undefined && isReady(job, stage)) worker.room--
  }
  return { workers, connected, heard: new Set(participants.map(({ peerId }) => peerId)) }
}

export type AssignedTask = Extract<Task, { state: 'assigned' }>
export interface AssignedView { readonly job: RunningJob, readonly stage: number, readonly number: number, readonly task: AssignedTask }

/** Every attempt that is out, over all jobs. */
export function * assignedTasks (ledger: Ledger): Generator<AssignedView> {
  for (const job of ledger.running.values()) {
    for (const [stage, { tasks, assigned }] of job.stages.entries()) {
      for (const number of assigned) {
        const task = tasks[number]
        if (task?.state === 'assigned') yield { job, stage, number, task }
      }
    }
  }
}

/** The stages of a job whose pending tasks may be given out: not those that wait for the stage before. */
export function * readyStages (job: RunningJob): Generator<{ readonly n: number, readonly stage: Stage }> {
  for (const [n, stage] of job.stages.entries()) {
    if (stage.pending.size > 0 && isReady(job, n)) yield { n, stage }
  }
}
