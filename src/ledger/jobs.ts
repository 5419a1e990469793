/**
 * A job's life in the ledger: submitted, its stages opened one after another, ended, forgotten.
 */
import { LEDGER_LIMITS } from '../../protocols/ledger/constants.ts'
import { CancelRequest } from '../../protocols/ledger/messages.js'
import { accept, ignore, reject, type Verdict } from '../../keys/verdict.ts'
import { jobIdOf } from './job-id.ts'
import { decodeJobSpec } from './job-spec.ts'
import { judgeSigner } from './judge.ts'
import { createStage, openStage } from './task.ts'
import { NO_COUNTERS, findJob, type EndedJob, type JobFault, type JobId, type JobSpec, type Ledger, type RunningJob, type Signed } from './state.ts'
import type { LedgerEvent } from './event.ts'

export interface Submission { readonly id: JobId, readonly spec: JobSpec, readonly signed: Signed }

/**
 * Whether this job may start now. Signatures are not checked here.
 *
 * @returns `accept`; `ignore` ALREADY_SUBMITTED for the same signed spec again; `reject` with JOBS_LIMIT, JOBS_BYTES_LIMIT,
 *   JOBS_OUTPUTS_LIMIT (all three: try again when a job has ended), WRONG_NETWORK, WRONG_SIGNER, or a code of `decodeJobSpec`
 */
export function judgeSubmission (ledger: Ledger, statement: Signed | undefined): Verdict<Submission> {
  const signer = judgeSigner(ledger, statement, 'submit')
  if (signer.verdict !== 'accept') return signer
  const { signed } = signer.value
  const id = jobIdOf(signed.payload)
  if (findJob(ledger, id) !== undefined) return ignore('ALREADY_SUBMITTED', `${id} is known already`)
  const read = decodeJobSpec(signed.payload)
  if (read.verdict !== 'accept') return read
  const spec = read.value
  if (spec.network !== ledger.network) return reject('WRONG_NETWORK', 'a job for another network')
  if (spec.submitter !== signer.value.signer) return reject('WRONG_SIGNER', 'the job is signed by another peer than its submitter')
  if (ledger.running.size >= LEDGER_LIMITS.maxRunningJobs) return reject('JOBS_LIMIT', `${LEDGER_LIMITS.maxRunningJobs} jobs are running: wait for one to end, or cancel one`)
  if (ledger.usage.runningBytes + signed.payload.length > LEDGER_LIMITS.maxRunningBytes) return reject('JOBS_BYTES_LIMIT', 'the specs of all running jobs together are too large: wait for one to end')
  if (ledger.usage.runningOutputs + outputsOf(spec) > LEDGER_LIMITS.maxRunningOutputs) return reject('JOBS_OUTPUTS_LIMIT', 'all running jobs together shuffle too many outputs: wait for one to end')
  return accept({ id, spec, signed })
}

/** How many shuffle outputs the ledger may have to remember for this job. */
export function outputsOf (spec: JobSpec): number {
  return spec.inputs.length * spec.stages.reduce((sum, stage) => sum + stage.partitions, 0)
}

export function startJob (ledger: Ledger, { id, spec, signed }: Submission, index: number): LedgerEvent[] {
  const kept = { payload: signed.payload.slice(), signer: signed.signer, signature: signed.signature.slice() }
  const job: RunningJob = {
    status: 'running',
    id,
    spec,
    signed: kept,
    submittedAt: index,
    stages: createStages(spec),
    losses: 0,
    results: [],
    counters: NO_COUNTERS,
    doneBy: new Map()
  }
  ledger.running.set(id, job)
  ledger.usage.runningBytes += kept.payload.length
  ledger.usage.runningOutputs += outputsOf(spec)
  const submitted: LedgerEvent = { type: 'job:submit', index, job: id }
  const isEmpty = spec.inputs.every((input) => input.bytes === 0 && input.records === 0)
  if (isEmpty) return [submitted, ...endJob(ledger, job, { status: 'succeeded', code: '', reason: 'there was no input' }, index)]
  return [submitted, openNextStage(job, 0, index)]
}

/** Stages of the right sizes: inputs, then each stage's partitions. */
export function createStages (spec: JobSpec): RunningJob['stages'] {
  return spec.stages.map((stage, n) => createStage(stage, n === 0 ? spec.inputs.length : spec.stages[n - 1]?.partitions ?? 0))
}

/** Open a stage whose predecessor is done. */
export function openNextStage (job: RunningJob, n: number, index: number): LedgerEvent {
  const stage = job.stages[n]
  if (stage !== undefined) openStage(stage)
  return { type: 'job:stage', index, job: job.id, stage: n, tasks: stage?.size ?? 0 }
}

export interface JobEnd {
  readonly status: EndedJob['status']
  readonly code: string
  readonly reason: string
  readonly fault?: JobFault
}

/** End a running job: its tasks are dropped, its committed results stay, and the oldest ended jobs beyond the limits are forgotten. */
export function endJob (ledger: Ledger, job: RunningJob, end: JobEnd, index: number): LedgerEvent[] {
  const { status, code, reason, fault } = end
  ledger.running.delete(job.id)
  ledger.usage.runningBytes -= job.signed.payload.length
  ledger.usage.runningOutputs -= outputsOf(job.spec)
  const { id, spec, signed, submittedAt, results, counters, doneBy } = job
  const stages = job.stages.map((stage) => ({ spec: stage.spec, size: stage.size, done: stage.done }))
  ledger.ended.set(id, { status, id, spec: { ...spec, inputs: [] }, signed, submittedAt, results, counters, doneBy, endedAt: index, stages, code, reason, fault })
  ledger.usage.endedBytes += signed.payload.length
  const ended: LedgerEvent = status === 'succeeded'
    ? { type: 'job:done', index, job: id }
    : status === 'failed' ? { type: 'job:fail', index, job: id, code, reason, fault } : { type: 'job:cancel', index, job: id, reason }
  return [ended, ...forgetOldest(ledger, index)]
}

/**
 * Whether this member may cancel the job that it names: the submitter may, and whoever may invite. Signatures are not checked here.
 *
 * @returns `accept`; `ignore` JOB_ENDED, JOB_UNKNOWN; `reject` NOT_ALLOWED, WRONG_NETWORK, CANCEL_UNDECODABLE
 */
export function judgeCancel (ledger: Ledger, statement: Signed | undefined): Verdict<RunningJob> {
  const signer = judgeSigner(ledger, statement, 'submit')
  if (signer.verdict !== 'accept') return signer
  let request: CancelRequest
  try {
    request = CancelRequest.decode(signer.value.signed.payload)
  } catch (error) {
    return reject('CANCEL_UNDECODABLE', error instanceof Error ? error.message : 'unknown')
  }
  if (request.network !== ledger.network) return reject('WRONG_NETWORK', 'a cancellation for another network')
  const id = request.job as JobId
  const job = ledger.running.get(id)
  if (job === undefined) return ledger.ended.has(id) ? ignore('JOB_ENDED', `${id} has ended`) : ignore('JOB_UNKNOWN', `no job ${id} is known`)
  const mayCancel = job.spec.submitter === signer.value.signer || ledger.members.get(signer.value.signer)?.capabilities.includes('invite') === true
  return mayCancel ? accept(job) : reject('NOT_ALLOWED', 'only the submitter of a job, or a member that may invite, can cancel it')
}

function forgetOldest (ledger: Ledger, index: number): LedgerEvent[] {
  const events: LedgerEvent[] = []
  const { usage } = ledger
  for (const job of ledger.ended.values()) {
    const isFull = ledger.ended.size > LEDGER_LIMITS.maxEndedJobs || usage.endedBytes + usage.batchBytes > LEDGER_LIMITS.maxEndedBytes
    // the job that ended just now stays whatever its size
    if (!isFull || job.endedAt === index) break
    ledger.ended.delete(job.id)
    usage.endedBytes -= job.signed.payload.length
    for (const result of job.results) {
      ledger.forgottenUpTo = Math.max(ledger.forgottenUpTo, result.position.index)
      releaseBatch(ledger, result.position.index)
    }
    events.push({ type: 'job:forget', index, job: job.id })
  }
  return events
}

/** Keep the signed batch that a result came in. */
export function retainBatch (ledger: Ledger, index: number, signed: Signed): void {
  const batch = ledger.batches.get(index)
  if (batch !== undefined) {
    batch.results++
    return
  }
  const kept = { payload: signed.payload.slice(), signer: signed.signer, signature: signed.signature.slice() }
  ledger.batches.set(index, { signed: kept, results: 1 })
  ledger.usage.batchBytes += kept.payload.length
}

function releaseBatch (ledger: Ledger, index: number): void {
  const batch = ledger.batches.get(index)
  if (batch === undefined || --batch.results > 0) return
  ledger.batches.delete(index)
  ledger.usage.batchBytes -= batch.signed.payload.length
}
