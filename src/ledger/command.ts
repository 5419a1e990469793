/**
 * Building the commands that a leader proposes, and the payloads that their authors sign. The only writer of ledger entries.
 */
import { COMMAND_LIMITS } from '../../protocols/ledger/constants.ts'
import { CancelRequest, Command, ReceiptBatch, Revocation, type SignedStatement } from '../../protocols/ledger/messages.js'
import { cidBytes } from './cid.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { FaultCode, ReleaseReason } from '../../protocols/ledger/constants.ts'
import type { Assignment, AttemptRef } from './event.ts'
import type { CidStr, Counters, JobId, Signed, TaskOutput } from './state.ts'

/** A participant's word on one attempt: outputs in ascending order of partition, at most one each; or a fault. */
export type AttemptReceipt = AttemptRef & (
  | { readonly ok: true, readonly outputs: readonly TaskOutput[], readonly counters: Counters }
  | { readonly ok: false, readonly fault: { readonly code: FaultCode, readonly message: string, readonly record: number, readonly missing: readonly CidStr[] } }
)

export interface ReleasedAttempt extends AttemptRef { readonly reason: ReleaseReason }

/** The payload a participant signs (domain STATEMENT_DOMAINS.receipts); at most COMMAND_LIMITS.maxReceipts receipts. */
export function encodeReceiptBatch (network: NetworkId, participant: PeerIdStr, receipts: readonly AttemptReceipt[]): Uint8Array<ArrayBuffer> {
  return ReceiptBatch.encode({
    network,
    participant,
    receipts: receipts.map((receipt) => {
      const { job, stage, task, attempt } = receipt
      if (receipt.ok) return { job, stage, task, attempt, outputs: receipt.outputs.map(outputMessage), counters: { ...receipt.counters } }
      const { code, message, record, missing } = receipt.fault
      return {
        job,
        stage,
        task,
        attempt,
        outputs: [],
        fault: { code, message: message.slice(0, COMMAND_LIMITS.maxFaultMessageChars).toWellFormed(), record, missing: missing.slice(0, COMMAND_LIMITS.maxMissing).map(cidBytes) }
      }
    })
  })
}

const outputMessage = (output: TaskOutput): { partition: number, cid: Uint8Array<ArrayBuffer>, bytes: number, records: number, holders: string[] } =>
  ({ partition: output.partition, cid: cidBytes(output.cid), bytes: output.bytes, records: output.records, holders: [...output.holders] })

/** The payload a member signs to cancel a job (domain STATEMENT_DOMAINS.cancel). */
export function encodeCancelRequest (network: NetworkId, job: JobId, atMs: number): Uint8Array<ArrayBuffer> {
  return CancelRequest.encode({ network, job, atMs })
}

/** The payload an issuer signs to revoke a member (domain STATEMENT_DOMAINS.revocation). */
export function encodeRevocation (network: NetworkId, peer: PeerIdStr, atMs: number): Uint8Array<ArrayBuffer> {
  return Revocation.encode({ network, peer, atMs })
}

/** @param chain - root first; @param atMs - the leader's wall clock, by which every node judges the dates */
export function admitCommand (chain: readonly Uint8Array[], atMs: number): Uint8Array<ArrayBuffer> {
  return Command.encode({ admit: { chain: chain.map(owned), atMs } })
}

/** @param chain - the extended chain, root first; @param atMs - the leader's wall clock */
export function renewCommand (chain: readonly Uint8Array[], atMs: number): Uint8Array<ArrayBuffer> {
  return Command.encode({ renew: { chain: chain.map(owned), atMs } })
}

/** @param issuerChain - of the signer, root first; empty where the root key itself signed */
export function revokeCommand (signed: Signed, issuerChain: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Command.encode({ revoke: { signed: statement(signed), issuerChain: issuerChain.map(owned) } })
}

export function submitCommand (signed: Signed): Uint8Array<ArrayBuffer> {
  return Command.encode({ submit: { signed: statement(signed) } })
}

/** @param term - of the leader that planned this: it has no effect when committed in another */
export function assignCommand (term: number, assignments: readonly Assignment[]): Uint8Array<ArrayBuffer> {
  return Command.encode({ assign: { term, assignments: [...assignments] } })
}

export function receiptsCommand (signed: Signed): Uint8Array<ArrayBuffer> {
  return Command.encode({ receipts: { signed: statement(signed) } })
}

/** @param term - of the leader that planned this: it has no effect when committed in another */
export function releaseCommand (term: number, released: readonly ReleasedAttempt[]): Uint8Array<ArrayBuffer> {
  return Command.encode({ release: { term, released: [...released] } })
}

/** The leader ends a job on its own account, for example past its deadline. */
export function failCommand (job: JobId, code: string, reason: string): Uint8Array<ArrayBuffer> {
  return Command.encode({ end: { job, status: 'failed', code, reason: reason.slice(0, COMMAND_LIMITS.maxReasonChars).toWellFormed() } })
}

/** @param signed - a member's CancelRequest */
export function cancelCommand (job: JobId, signed: Signed): Uint8Array<ArrayBuffer> {
  return Command.encode({ end: { job, status: 'cancelled', code: 'CANCELLED', reason: `cancelled by ${signed.signer}`, signed: statement(signed) } })
}

const owned = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes.buffer instanceof ArrayBuffer ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes)
const statement = (signed: Signed): SignedStatement => ({ payload: owned(signed.payload), signer: signed.signer, signature: owned(signed.signature) })
