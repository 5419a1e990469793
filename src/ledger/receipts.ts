/**
 * What a committed receipt does: the first valid one of a task counts, a fault is retried or ends the job, a missing block sends the
 * task that made it back to work (lineage).
 */
import { LEDGER_LIMITS } from '../../protocols/ledger/constants.ts'
import { endJob, openNextStage, retainBatch } from './jobs.ts'
import { judgeReceipt, type ReceiptBatchRead } from './judge.ts'
import { completeTask, makerOf, maxLosses, putBackTask, remember } from './task.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { AttemptReceipt } from './command.ts'
import type { AttemptRef, LedgerEvent } from './event.ts'
import type { CidStr, Counters, JobFault, Ledger, RunningJob, Signed, Stage, Task } from './state.ts'

type Success = Extract<AttemptReceipt, { ok: true }>
type Failure = Extract<AttemptReceipt, { ok: false }>

/** Apply a batch in its order; receipts that do not count leave an event, so that their participant forgets them. */
export function applyReceipts (ledger: Ledger, { participant, receipts }: ReceiptBatchRead, signed: Signed, index: number): LedgerEvent[] {
  const events: LedgerEvent[] = []
  for (const [ordinal, receipt] of receipts.entries()) {
    if (receipt === undefined) {
      ledger.stats.invalidReceipts++
      continue
    }
    const verdict = judgeReceipt(ledger, participant, receipt)
    if (verdict.verdict !== 'accept') {
      events.push(ignored(ledger, participant, receipt, verdict.code, index))
    } else if (receipt.ok) {
      events.push(...succeed(ledger, verdict.value, participant, receipt, signed, { index, ordinal }))
    } else {
      events.push(...fail(ledger, verdict.value, participant, receipt, index))
    }
  }
  return events
}

const refOf = ({ job, stage, task, attempt }: AttemptRef): AttemptRef => ({ job, stage, task, attempt })

function ignored (ledger: Ledger, participant: PeerIdStr, receipt: AttemptReceipt, why: string, index: number): LedgerEvent {
  const code = why === 'DUPLICATE' || why === 'LATE' ? why : 'INVALID'
  if (code === 'DUPLICATE') ledger.stats.duplicateReceipts++
  else if (code === 'LATE') ledger.stats.lateReceipts++
  else ledger.stats.invalidReceipts++
  return { type: 'receipt:ignore', index, participant, code, ...refOf(receipt) }
}

function succeed (ledger: Ledger, job: RunningJob, participant: PeerIdStr, receipt: Success, signed: Signed, position: { index: number, ordinal: number }): LedgerEvent[] {
  const stage = job.stages[receipt.stage] as Stage
  const { outputs, counters, task, attempt } = receipt
  completeTask(stage, task, outputs, position.index)
  ledger.stats.tasksDone++
  job.counters = addCounters(job.counters, counters)
  job.doneBy.set(participant, (job.doneBy.get(participant) ?? 0) + 1)
  const isResult = receipt.stage === job.stages.length - 1
  if (isResult) {
    job.results.push({ task, attempt, participant, position, outputs })
    retainBatch(ledger, position.index, signed)
  }
  const done: LedgerEvent = { type: 'task:done', index: position.index, participant, position, isResult, outputs, counters, ...refOf(receipt) }
  if (stage.done < stage.size) return [done]
  if (isResult) return [done, ...endJob(ledger, job, { status: 'succeeded', code: '', reason: '' }, position.index)]
  const isOpen = job.stages[receipt.stage + 1]?.tasks.length !== 0
  return isOpen ? [done] : [done, openNextStage(job, receipt.stage + 1, position.index)]
}

function fail (ledger: Ledger, job: RunningJob, participant: PeerIdStr, receipt: Failure, index: number): LedgerEvent[] {
  const { code, message, record, missing } = receipt.fault
  const event: LedgerEvent = { type: 'task:fault', index, participant, code, message, record, ...refOf(receipt) }
  if (code === 'missing') return [event, ...lose(ledger, job, participant, receipt, missing, index)]
  const stage = job.stages[receipt.stage] as Stage
  const history = remember((stage.tasks[receipt.task] as Task).history, { fault: true, avoid: participant })
  putBackTask(stage, receipt.task, history)
  const fault: JobFault = { code, message, record, participant, stage: receipt.stage, task: receipt.task }
  if (history.faults >= job.spec.maxAttempts) {
    return [event, ...endJob(ledger, job, { status: 'failed', code: `TASK_${code.toUpperCase()}`, reason: describeFault(job, fault), fault }, index)]
  }
  return [event, ...abandon(ledger, job, receipt, index)]
}

/** A task that was given out too often, whatever ended its attempts, ends its job. */
export function abandon (ledger: Ledger, job: RunningJob, ref: AttemptRef, index: number): LedgerEvent[] {
  if (ref.attempt < LEDGER_LIMITS.maxTaskAttempts) return []
  const reason = `${job.stages[ref.stage]?.spec.kind ?? 'stage'} task ${ref.task} was given out ${ref.attempt} times and never finished`
  return endJob(ledger, job, { status: 'failed', code: 'TASK_ABANDONED', reason }, index)
}

/**
 * Blocks that a task could not get: those of an earlier stage are made again, those of the submitter are waited for. A block that was made
 * after the attempt was given out is not the one that it missed: several tasks miss the same block at once, and the first to say so had it
 * made again already.
 */
function lose (ledger: Ledger, job: RunningJob, participant: PeerIdStr, receipt: Failure, missing: readonly CidStr[], index: number): LedgerEvent[] {
  const events: LedgerEvent[] = []
  const stage = job.stages[receipt.stage] as Stage
  const before = job.stages[receipt.stage - 1]
  const failed = stage.tasks[receipt.task] as Task
  const givenOutAt = failed.state === 'assigned' ? failed.since : 0
  for (const cid of before === undefined ? [] : missing) {
    const maker = makerOf(before as Stage, receipt.task, cid)
    const task = before?.tasks[maker ?? -1]
    if (before === undefined || maker === undefined || task?.state !== 'done' || task.since > givenOutAt) continue
    putBackTask(before, maker, remember(task.history, { loss: true, avoid: task.participant }))
    job.losses++
    events.push({ type: 'task:lost', index, job: job.id, stage: receipt.stage - 1, task: maker, attempt: task.attempt, participant: task.participant, cid })
  }
  const input = receipt.stage === 0 ? job.spec.inputs[receipt.task]?.cid : undefined
  const waiting = missing.find((cid) => cid === input || cid === job.spec.code.cid)
  // a loss that sends nothing back to work is this task's own, so that it cannot go on for ever
  const history = remember((stage.tasks[receipt.task] as Task).history, { loss: events.length === 0, avoid: participant })
  putBackTask(stage, receipt.task, history, waiting)
  if (history.losses > LEDGER_LIMITS.maxTaskLosses || job.losses > maxLosses(job)) {
    const reason = `${stage.spec.kind} task ${receipt.task}: no member gave block ${missing[0] ?? ''}, after ${history.losses + job.losses} tries`
    return [...events, ...endJob(ledger, job, { status: 'failed', code: 'BLOCK_LOST', reason }, index)]
  }
  return [...events, ...abandon(ledger, job, receipt, index)]
}

/** For a person: which task, which record of which file, what was thrown. */
function describeFault (job: RunningJob, fault: JobFault): string {
  const stage = job.stages[fault.stage]?.spec.kind ?? 'stage'
  const input = fault.stage === 0 ? job.spec.inputs[fault.task] : undefined
  const source = input === undefined || input.source === '' ? '' : ` of ${input.source}`
  const absolute = input !== undefined && input.firstRecord > 0 && fault.record > 0 ? ` (record ${input.firstRecord + fault.record - 1}${source})` : source
  const record = fault.record > 0 ? `, record ${fault.record}${absolute}` : absolute
  return `${stage} task ${fault.task}${record}: ${fault.message === '' ? fault.code : fault.message}`
}

function addCounters (a: Counters, b: Counters): Counters {
  const sum = (x: number, y: number): number => Math.min(x + y, Number.MAX_SAFE_INTEGER)
  return {
    recordsIn: sum(a.recordsIn, b.recordsIn),
    recordsOut: sum(a.recordsOut, b.recordsOut),
    bytesIn: sum(a.bytesIn, b.bytesIn),
    bytesOut: sum(a.bytesOut, b.bytesOut),
    wallMs: sum(a.wallMs, b.wallMs),
    cpuMs: sum(a.cpuMs, b.cpuMs)
  }
}
