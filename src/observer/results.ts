/**
 * Committed results as streams: of one job as records, of all jobs as facts. Whatever the observer missed, it reads from its replica, so
 * every stream is in ledger order, without a gap and without a repeat, however late it begins.
 */
import { verifyStatement } from '../../keys/statement.ts'
import { STATEMENT_DOMAINS } from '../../protocols/ledger/constants.ts'
import { ReceiptBatch } from '../../protocols/ledger/messages.js'
import type { CommittedResult } from '../api.ts'
import type { Exchange } from '../blocks/exchange.ts'
import { getObject } from '../blocks/object.ts'
import { exportRecords } from '../blocks/records.ts'
import type { BlockStore } from '../blocks/store.ts'
import { ConclaveError, explain } from '../errors.ts'
import { cidText } from '../ledger/cid.ts'
import { findJob } from '../ledger/state.ts'
import type { Job, JobId, Position, Result, Signed } from '../ledger/state.ts'
import { committedResults as committedSince } from '../ledger/view.ts'
import type { CommittedResult as Committed } from '../ledger/view.ts'
import type { Replica } from './replica.ts'

export interface ResultsInit {
  replica: Replica
  store: BlockStore
  exchange: Exchange
}

/**
 * The records of a job's last stage.
 *
 * @param order - `ledger`: as their tasks are committed; `key`: in task order (within a task in key order), once the job has succeeded
 * @throws JOB_UNKNOWN; the code that the job failed with, JOB_CANCELLED; BLOCK_MISSING; the signal's reason
 */
export async function * records (init: ResultsInit, id: JobId, options: { order: 'ledger' | 'key', signal: AbortSignal }): AsyncGenerator<unknown> {
  for await (const result of resultsOf(init.replica, id, options)) {
    for (const output of result.outputs) {
      await init.exchange.fetch(output.cid, [result.participant, ...output.holders], options.signal)
      yield * exportRecords(await getObject(init.store, output.cid, output.bytes))
    }
  }
}

async function * resultsOf (replica: Replica, id: JobId, { order, signal }: { order: 'ledger' | 'key', signal: AbortSignal }): AsyncGenerator<Result> {
  let next = 0
  let sorted: readonly Result[] | undefined
  for (;;) {
    signal.throwIfAborted()
    const job = findJob(replica.ledger, id)
    if (job === undefined) throw new ConclaveError('JOB_UNKNOWN', `this node does not know the job ${id}`, { next: 'conclave jobs' })
    if (job.status === 'failed' || job.status === 'cancelled') throw failureOf(job)
    if (order === 'key' && job.status === 'succeeded') sorted ??= [...job.results].sort((a, b) => a.task - b.task)
    const result = (order === 'key' ? sorted : job.results)?.[next]
    if (result !== undefined) {
      next++
      yield result
    } else if (job.status === 'succeeded') {
      return
    } else {
      await replica.changed(signal)
    }
  }
}

/** The error that a person meets for a job that did not succeed. */
export function failureOf (job: Job & { status: 'failed' | 'cancelled' }): ConclaveError {
  const code = job.status === 'cancelled' ? 'JOB_CANCELLED' : job.code
  return new ConclaveError(code, job.reason, { next: explain(code).next, details: { job: job.id, ...job.fault } })
}

/**
 * Every committed result of every job that the ledger remembers, from ledger index `from` on, then each new one. Signatures are checked here.
 *
 * @throws OBSERVER_BEHIND where results that this observer has not seen were forgotten: a gap is told, never skipped; the signal's reason
 */
export async function * committedResults (replica: Replica, from: number, signal: AbortSignal): AsyncGenerator<CommittedResult> {
  let cursor: Position = { index: from, ordinal: 0 }
  // from the beginning means from the first result that is remembered; whoever names an index, or has begun, is owed every one after it
  let owedFrom = from > 0 ? from : replica.ledger.forgottenUpTo + 1
  for (;;) {
    signal.throwIfAborted()
    if (replica.ledger.forgottenUpTo >= owedFrom) {
      throw new ConclaveError('OBSERVER_BEHIND', `results up to ledger index ${replica.ledger.forgottenUpTo} are no longer remembered, and this observer has seen those before ${owedFrom} only`,
        { next: 'observe again from the beginning of what is remembered', details: { forgottenUpTo: replica.ledger.forgottenUpTo, owedFrom } })
    }
    const found = committedSince(replica.ledger, cursor)
    for (const result of found) {
      const stages = findJob(replica.ledger, result.job)?.stages.length ?? 1
      yield describe(result, stages - 1)
      cursor = { index: result.position.index, ordinal: result.position.ordinal + 1 }
    }
    if (found.length > 0) owedFrom = cursor.index + 1
    if (found.length === 0) await replica.changed(signal)
  }
}

/** As the API shows it; `verified` only if the signed batch really says this of this task. */
function describe ({ job, signed, ...result }: Committed, stage: number): CommittedResult {
  const { position, task, attempt, participant } = result
  return {
    position: { ...position },
    job,
    stage,
    task,
    attempt,
    participant,
    outputs: result.outputs.map(({ partition, cid, bytes, records }) => ({ partition, cid, bytes, records })),
    verified: signed.signer === participant && verifyStatement({ ...signed }, STATEMENT_DOMAINS.receipts) && says(signed, job, stage, result)
  }
}

function says (signed: Signed, job: JobId, stage: number, result: Result): boolean {
  const receipt = ReceiptBatch.decode(signed.payload).receipts[result.position.ordinal]
  return receipt?.job === job && receipt.stage === stage && receipt.task === result.task && receipt.attempt === result.attempt &&
    receipt.fault === undefined && receipt.outputs.length === result.outputs.length &&
    receipt.outputs.every((output, i) => cidText(output.cid) === result.outputs[i]?.cid)
}
