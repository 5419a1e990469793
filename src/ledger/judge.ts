/**
 * Structural checks of signed statements and receipts: all that needs no signature. `check.ts` runs them before a command is
 * proposed, `apply` again when it is committed, because a second proposal may have come between.
 */
import { COMMAND_LIMITS as LIMITS, FAULT_CODES, type FaultCode } from '../../protocols/ledger/constants.ts'
import { ReceiptBatch, type Receipt } from '../../protocols/ledger/messages.js'
import { accept, ignore, reject, type Verdict } from '../../keys/verdict.ts'
import { cidText } from './cid.ts'
import { isJobId } from './job-id.ts'
import { readHolders } from './job-spec.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Capability } from '../../keys/certificate.ts'
import type { AttemptReceipt } from './command.ts'
import { findJob, type CidStr, type Counters, type Ledger, type RunningJob, type Signed, type StageSpec, type TaskOutput } from './state.ts'

const SIGNATURE_BYTES = 64
const MAX_BATCH_BYTES = 1_048_576

/** `signed` is whole and its signer is a member with this capability. */
export function judgeSigner (ledger: Ledger, signed: Signed | undefined, capability: Capability): Verdict<{ signed: Signed, signer: PeerIdStr }> {
  if (signed === undefined || signed.signature.length !== SIGNATURE_BYTES || signed.payload.length === 0) return reject('STATEMENT_INVALID', 'a signed statement is missing or cut short')
  const signer = signed.signer as PeerIdStr
  if (ledger.revoked.has(signer)) return reject('REVOKED', `${signer} is no longer a member`)
  const member = ledger.members.get(signer)
  if (member === undefined) return ignore('NOT_A_MEMBER', `${signer} is not a member`)
  if (!member.capabilities.includes(capability)) return reject('NOT_ALLOWED', `${signer} lacks the capability ${capability}`)
  return accept({ signed, signer })
}

export interface ReceiptBatchRead {
  readonly participant: PeerIdStr
  /** a malformed receipt is undefined, so that ordinals stay */
  readonly receipts: ReadonlyArray<AttemptReceipt | undefined>
}

/** The batch that these bytes hold, of a working member of this network. */
export function judgeReceiptBatch (ledger: Ledger, signed: Signed | undefined): Verdict<ReceiptBatchRead> {
  const signer = judgeSigner(ledger, signed, 'work')
  if (signer.verdict !== 'accept') return signer
  const { payload } = signer.value.signed
  if (payload.length > MAX_BATCH_BYTES) return reject('RECEIPTS_TOO_LARGE', `a batch of receipts has at most ${MAX_BATCH_BYTES} bytes`)
  let batch: ReceiptBatch
  try {
    batch = ReceiptBatch.decode(payload, { limits: { receipts: LIMITS.maxReceipts, receipts$: { outputs: LIMITS.maxPartitions, outputs$: { holders: LIMITS.maxHolders }, fault: { missing: LIMITS.maxMissing } } } })
  } catch (error) {
    return reject('RECEIPTS_UNDECODABLE', error instanceof Error ? error.message : 'unknown')
  }
  if (batch.network !== ledger.network) return reject('WRONG_NETWORK', 'receipts of another network')
  if (batch.participant !== signer.value.signer) return reject('WRONG_SIGNER', 'receipts signed by another peer than their participant')
  if (batch.receipts.length === 0) return reject('RECEIPTS_EMPTY', 'a batch without receipts')
  return accept({ participant: signer.value.signer, receipts: batch.receipts.map(readReceipt) })
}

function readReceipt (message: Receipt): AttemptReceipt | undefined {
  const { job, stage, task, attempt, fault } = message
  if (!isJobId(job) || attempt === 0) return undefined
  if (fault === undefined) {
    const outputs = readOutputs(message.outputs)
    const counters = readCounters(message.counters)
    return outputs === undefined || counters === undefined ? undefined : { job, stage, task, attempt, ok: true, outputs, counters }
  }
  const code = fault.code as FaultCode
  const missing = readCids(fault.missing)
  if (!FAULT_CODES.includes(code) || missing === undefined || (code === 'missing') !== (missing.length > 0)) return undefined
  if (!Number.isSafeInteger(fault.record) || fault.message.length > LIMITS.maxFaultMessageChars) return undefined
  return { job, stage, task, attempt, ok: false, fault: { code, message: fault.message, record: fault.record, missing } }
}

function readCids (list: readonly Uint8Array[]): CidStr[] | undefined {
  const cids: CidStr[] = []
  for (const bytes of list) {
    const cid = cidText(bytes)
    if (cid === undefined) return undefined
    cids.push(cid)
  }
  return cids
}

/** In ascending order of partition, at most one each. */
function readOutputs (outputs: Receipt['outputs']): TaskOutput[] | undefined {
  const read: TaskOutput[] = []
  let last = -1
  for (const { partition, cid: bytes, bytes: size, records, holders } of outputs) {
    const cid = cidText(bytes)
    const others = readHolders(holders)
    if (cid === undefined || others === undefined || partition <= last) return undefined
    last = partition
    read.push({ partition, cid, bytes: size, records, holders: others })
  }
  return read
}

function readCounters (counters: Receipt['counters']): Counters | undefined {
  if (counters === undefined) return undefined
  const { recordsIn, recordsOut, bytesIn, bytesOut, wallMs, cpuMs } = counters
  const read = { recordsIn, recordsOut, bytesIn, bytesOut, wallMs, cpuMs }
  return Object.values(read).every((value) => Number.isSafeInteger(value) && value >= 0) ? read : undefined
}

/**
 * Whether a receipt counts now.
 *
 * @returns `accept` with the job where it is the first receipt of the task's current attempt by its participant; `ignore` with
 *   DUPLICATE (the task is done), LATE (another attempt, or the job has ended), UNKNOWN (no such attempt was given out); `reject`
 *   with INVALID where its outputs cannot be of that stage
 */
export function judgeReceipt (ledger: Ledger, participant: PeerIdStr, receipt: AttemptReceipt): Verdict<RunningJob> {
  const job = findJob(ledger, receipt.job)
  if (job === undefined) return ignore('UNKNOWN', 'no such job')
  if (job.status !== 'running') return ignore('LATE', 'the job has ended')
  const stage = job.stages[receipt.stage]
  const task = stage?.tasks[receipt.task]
  if (stage === undefined || task === undefined || receipt.attempt > task.attempt) return ignore('UNKNOWN', 'no such attempt was given out')
  if (task.state === 'done') return ignore('DUPLICATE', 'the task is done')
  if (task.state === 'pending' || task.attempt !== receipt.attempt) return ignore('LATE', 'the attempt is no longer current')
  if (task.participant !== participant) return reject('INVALID', 'the attempt was given to another participant')
  if (receipt.ok && !fits(receipt.outputs, stage.spec, job.spec.limits.outputBytes)) return reject('INVALID', 'the outputs are not those of this stage')
  return accept(job)
}

function fits (outputs: readonly TaskOutput[], stage: StageSpec, maxBytes: number): boolean {
  const partitions = Math.max(1, stage.partitions)
  return outputs.every(({ partition, bytes }) => partition < partitions && bytes <= maxBytes)
}
