/**
 * One attempt, from blocks to a receipt: fetch the code and the inputs, run the sandbox, store the outputs. Nothing here decides
 * whether to run it (`accept.ts`) or tells anybody (`participant.ts`).
 */
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Exchange } from '../blocks/exchange.ts'
import { getObject, putObject } from '../blocks/object.ts'
import type { BlockStore } from '../blocks/store.ts'
import { ConclaveError } from '../errors.ts'
import type { AttemptReceipt } from '../ledger/command.ts'
import type { AttemptRef } from '../ledger/event.ts'
import type { CidStr, Ledger, RunningJob, StageSpec, TaskOutput } from '../ledger/state.ts'
import { codeOf, taskInputs } from '../ledger/view.ts'
import type { TaskInput } from '../ledger/view.ts'
import type { Executors } from './sandbox/executors.ts'

/** Blocks of one task that are fetched at the same time. */
const MAX_FETCHES = 8

export interface AttemptInit {
  self: PeerIdStr
  store: BlockStore
  exchange: Exchange
  executors: Executors
  fetchTimeoutMs: number
  /** copies of a result, this node's included */
  copies: number
  /** connected members that may hold a copy */
  holders: () => readonly PeerIdStr[]
}

/** What an attempt needs, read from the ledger in one go: the ledger may change while it runs. */
export interface AttemptPlan {
  readonly ref: AttemptRef
  readonly job: RunningJob
  readonly stage: StageSpec
  readonly code: TaskInput
  readonly inputs: readonly TaskInput[]
}

/** @returns undefined where the task cannot start by this ledger: its job has ended or the stage before is not done */
export function planAttempt (ledger: Ledger, ref: AttemptRef): AttemptPlan | undefined {
  const job = ledger.running.get(ref.job)
  const stage = job?.stages[ref.stage]?.spec
  const code = codeOf(ledger, ref.job)
  const inputs = taskInputs(ledger, ref.job, ref.stage, ref.task)
  if (job === undefined || stage === undefined || code === undefined || inputs === undefined) return undefined
  return { ref, job, stage, code, inputs }
}

/**
 * Bring everything that the attempt reads into the local store. Safe to call ahead of time, and again.
 *
 * @returns the CIDs that no holder gave
 * @throws the signal's reason, DISK_FULL, BLOCK_STORE_FULL
 */
export async function fetchAttempt (init: AttemptInit, plan: AttemptPlan, signal: AbortSignal): Promise<CidStr[]> {
  const missing = new Set<CidStr>()
  const queue = [plan.code, ...plan.inputs]
  const worker = async (): Promise<void> => {
    for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
      try {
        init.store.pin(block.cid, plan.ref.job)
        await init.exchange.fetch(block.cid, block.holders.filter((peer) => peer !== init.self), AbortSignal.any([signal, AbortSignal.timeout(init.fetchTimeoutMs)]))
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof ConclaveError && (error.code === 'DISK_FULL' || error.code === 'BLOCK_STORE_FULL')) throw error
        missing.add(block.cid)
      }
    }
  }
  await Promise.all(Array.from({ length: MAX_FETCHES }, worker))
  return [...missing]
}

/**
 * Run an attempt whose blocks are here.
 *
 * @returns what to sign: outputs or a fault
 * @throws the signal's reason, where the attempt was stopped; DISK_FULL, BLOCK_STORE_FULL; COPY_FAILED where no other member took a result
 */
export async function runAttempt (init: AttemptInit, plan: AttemptPlan, signal: AbortSignal): Promise<AttemptReceipt> {
  const { ref, job, stage } = plan
  const inputBytes = plan.inputs.reduce((sum, input) => sum + input.bytes, 0)
  if (inputBytes > job.spec.limits.inputBytes) {
    return fault(ref, 'memory', `the task's input has ${inputBytes} bytes; the job allows ${job.spec.limits.inputBytes}`)
  }
  const code = await getObject(init.store, plan.code.cid, plan.code.bytes)
  const input = await Promise.all(plan.inputs.map(async ({ cid, bytes }) => await getObject(init.store, cid, bytes)))
  const outcome = await init.executors.run({
    job: ref.job,
    codeCid: plan.code.cid,
    code,
    stage: { kind: stage.kind, clean: stage.clean, combine: stage.combine, partitions: stage.partitions },
    input,
    encoding: job.spec.encoding,
    limits: job.spec.limits,
    seed: `${ref.job}/${ref.stage}/${ref.task}`,
    nowMs: job.spec.createdAtMs
  }, signal)
  signal.throwIfAborted()
  if (!outcome.ok) return { ...ref, ok: false, fault: { ...outcome.fault, missing: [] } }
  return { ...ref, ok: true, outputs: await storeOutputs(init, plan, outcome.outputs, signal), counters: outcome.counters }
}

function fault (ref: AttemptRef, code: 'memory', message: string): AttemptReceipt {
  return { ...ref, ok: false, fault: { code, message, record: 0, missing: [] } }
}

/** The receipt of an attempt whose blocks nobody gave. */
export function missingReceipt (ref: AttemptRef, missing: readonly CidStr[]): AttemptReceipt {
  return { ...ref, ok: false, fault: { code: 'missing', message: `no holder gave ${missing.length} block${missing.length === 1 ? '' : 's'}`, record: 0, missing } }
}

async function storeOutputs (init: AttemptInit, plan: AttemptPlan, outputs: ReadonlyArray<{ partition: number, bytes: Uint8Array, records: number }>, signal: AbortSignal): Promise<TaskOutput[]> {
  const isResult = plan.stage.partitions === 0
  return await Promise.all(outputs.filter((output) => output.records > 0).map(async ({ partition, bytes, records }): Promise<TaskOutput> => {
    const { cid } = await putObject(init.store, bytes, { durable: isResult, owner: isResult ? resultPin(plan.ref.job) : plan.ref.job })
    const holders = isResult ? await copyResult(init, cid, signal) : []
    return { partition, cid, bytes: bytes.length, records, holders }
  }))
}

/** Who pins a job's results in the block store, until the ledger forgets the job. */
export const resultPin = (job: string): string => `${job}/result`

async function copyResult (init: AttemptInit, cid: CidStr, signal: AbortSignal): Promise<PeerIdStr[]> {
  const candidates = init.holders()
  const holders: PeerIdStr[] = []
  let failure: unknown
  for (const peer of candidates) {
    if (holders.length + 1 >= init.copies) break
    try {
      await init.exchange.push(cid, peer, AbortSignal.any([signal, AbortSignal.timeout(init.fetchTimeoutMs)]))
      holders.push(peer)
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  if (holders.length === 0 && candidates.length > 0 && init.copies > 1) {
    throw new ConclaveError('COPY_FAILED', 'no other member took a copy of a result', { cause: failure, next: 'conclave peers' })
  }
  return holders
}
