/**
 * What a participant does about its own attempts, pure: it runs what the ledger says is assigned to it, and nothing else.
 *
 * The shell's duties:
 * 1. at start, `createAcceptance` with the attempts in the durable outbox, then `reconcile` with the replica
 * 2. after each applied entry, `accept` with its events; after the replica jumped to a snapshot, `reconcile` again
 * 3. carry out actions in order: `stop` kills the code and drops what it made, `forget` deletes the outbox entry, `start` fetches and runs
 * 4. when an attempt has its receipt in the durable outbox, `finished` — before the receipt is sent
 */
import type { PeerIdStr } from '../../keys/ids.ts'
import type { AttemptRef, LedgerEvent } from '../ledger/event.ts'
import type { JobId, Ledger } from '../ledger/state.ts'

export type StopReason = 'job ended' | 'released' | 'superseded'

export type AcceptAction =
  | { readonly type: 'start', readonly attempt: AttemptRef }
  | { readonly type: 'stop', readonly attempt: AttemptRef, readonly reason: StopReason }
  /** its receipt was committed or will never count */
  | { readonly type: 'forget', readonly attempt: AttemptRef }

/** Owned by the participant's shell; changed by the functions here. Bounded by what the leader gives out to one participant. */
export interface Acceptance {
  readonly self: PeerIdStr
  /** attempts that were started and are not in the outbox yet, by task */
  readonly running: Map<string, AttemptRef>
  /** attempts whose receipt waits to be committed, by task and attempt */
  readonly outbox: Map<string, AttemptRef>
}

const taskName = ({ job, stage, task }: Omit<AttemptRef, 'attempt'>): string => `${job}/${stage}/${task}`
const attemptName = (ref: AttemptRef): string => `${taskName(ref)}/${ref.attempt}`
const refOf = ({ job, stage, task, attempt }: AttemptRef): AttemptRef => ({ job, stage, task, attempt })

/** @param outbox - attempts whose receipts were found in the durable outbox */
export function createAcceptance (self: PeerIdStr, outbox: Iterable<AttemptRef>): Acceptance {
  return { self, running: new Map(), outbox: new Map([...outbox].map((ref) => [attemptName(ref), refOf(ref)])) }
}

/** What to do after an entry was applied. */
export function accept (state: Acceptance, events: readonly LedgerEvent[]): AcceptAction[] {
  return events.flatMap((event) => react(state, event))
}

function react (state: Acceptance, event: LedgerEvent): AcceptAction[] {
  switch (event.type) {
    case 'task:assign': return assigned(state, event)
    case 'task:release':
      return event.participant === state.self ? drop(state, event, 'released') : []
    case 'task:done':
    case 'task:fault':
    case 'receipt:ignore':
      return event.participant === state.self ? settle(state, event) : []
    case 'job:done':
    case 'job:fail':
    case 'job:cancel':
      return dropJob(state, event.job)
    default: return []
  }
}

function assigned (state: Acceptance, event: Extract<LedgerEvent, { type: 'task:assign' }>): AcceptAction[] {
  const known = state.running.get(taskName(event))
  const ref = refOf(event)
  const isOurs = event.participant === state.self
  if (isOurs && (known?.attempt === event.attempt || state.outbox.has(attemptName(ref)))) return []
  // an attempt of ours is out while the ledger is at a newer one: its receipt can no longer count
  const stopped: AcceptAction[] = known === undefined ? [] : drop(state, known, 'superseded')
  if (!isOurs) return stopped
  state.running.set(taskName(ref), ref)
  return [...stopped, { type: 'start', attempt: ref }]
}

/** The attempt's receipt had its effect, or will never have one. */
function settle (state: Acceptance, event: AttemptRef): AcceptAction[] {
  const isKept = state.outbox.delete(attemptName(event))
  const isRunning = state.running.get(taskName(event))?.attempt === event.attempt
  // a receipt of this attempt was committed although it runs: it finished before a restart lost the outbox
  const stopped: AcceptAction[] = isRunning ? drop(state, event, 'superseded') : []
  return isKept ? [...stopped, { type: 'forget', attempt: refOf(event) }] : stopped
}

function drop (state: Acceptance, event: AttemptRef, reason: StopReason): AcceptAction[] {
  const actions: AcceptAction[] = []
  if (state.running.get(taskName(event))?.attempt === event.attempt) {
    state.running.delete(taskName(event))
    actions.push({ type: 'stop', attempt: refOf(event), reason })
  }
  if (state.outbox.delete(attemptName(event))) actions.push({ type: 'forget', attempt: refOf(event) })
  return actions
}

function dropJob (state: Acceptance, job: JobId): AcceptAction[] {
  const attempts = [...state.running.values(), ...state.outbox.values()].filter((ref) => ref.job === job)
  return attempts.flatMap((ref) => drop(state, ref, 'job ended'))
}

/**
 * Compare what runs with what the ledger says, at start and after a jump to a snapshot: attempts that are no longer current stop, those
 * assigned to this participant that neither run nor wait in the outbox start (again).
 */
export function reconcile (state: Acceptance, ledger: Ledger): AcceptAction[] {
  const current = currentAttempts(state.self, ledger)
  const actions: AcceptAction[] = []
  for (const ref of [...state.running.values(), ...state.outbox.values()]) {
    if (!current.has(attemptName(ref))) actions.push(...drop(state, ref, ledger.running.has(ref.job) ? 'released' : 'job ended'))
  }
  for (const ref of current.values()) {
    if (state.running.has(taskName(ref)) || state.outbox.has(attemptName(ref))) continue
    state.running.set(taskName(ref), ref)
    actions.push({ type: 'start', attempt: ref })
  }
  return actions
}

function currentAttempts (self: PeerIdStr, ledger: Ledger): Map<string, AttemptRef> {
  const current = new Map<string, AttemptRef>()
  for (const job of ledger.running.values()) {
    for (const [stage, { tasks, assigned }] of job.stages.entries()) {
      for (const number of assigned) {
        const task = tasks[number]
        if (task?.state !== 'assigned' || task.participant !== self) continue
        const ref = { job: job.id, stage, task: number, attempt: task.attempt }
        current.set(attemptName(ref), ref)
      }
    }
  }
  return current
}

/**
 * The attempt's receipt is in the durable outbox.
 *
 * @returns false where it was stopped meanwhile: the receipt is worthless, delete it
 */
export function finished (state: Acceptance, attempt: AttemptRef): boolean {
  if (state.running.get(taskName(attempt))?.attempt !== attempt.attempt) return false
  state.running.delete(taskName(attempt))
  state.outbox.set(attemptName(attempt), refOf(attempt))
  return true
}
