/**
 * What `apply` tells the shells about an entry's effects. Events notify; whoever missed some looks at the ledger instead.
 */
import type { PeerIdStr } from '../../keys/ids.ts'
import type { FaultCode, ReleaseReason } from '../../protocols/ledger/constants.ts'
import type { CidStr, Counters, JobFault, JobId, Position, TaskOutput } from './state.ts'

/** An attempt's name. It is current while the ledger has the task as assigned with this attempt. */
export interface AttemptRef {
  readonly job: JobId
  readonly stage: number
  readonly task: number
  readonly attempt: number
}

export interface Assignment extends AttemptRef {
  readonly participant: PeerIdStr
  readonly leaseMs: number
}

/** `index` is that of the ledger entry. Events of one entry come in the order of its effects. */
export type LedgerEvent = { readonly index: number } & (
  | { readonly type: 'member:admit' | 'member:renew' | 'member:revoke', readonly peerId: PeerIdStr }
  | { readonly type: 'job:submit', readonly job: JobId }
  | { readonly type: 'job:stage', readonly job: JobId, readonly stage: number, readonly tasks: number }
  | { readonly type: 'job:done', readonly job: JobId }
  | { readonly type: 'job:fail', readonly job: JobId, readonly code: string, readonly reason: string, readonly fault: JobFault | undefined }
  | { readonly type: 'job:cancel', readonly job: JobId, readonly reason: string }
  /** it ended long ago and is no longer remembered */
  | { readonly type: 'job:forget', readonly job: JobId }
  | ({ readonly type: 'task:assign' } & Assignment)
  | ({ readonly type: 'task:release', readonly participant: PeerIdStr, readonly reason: ReleaseReason | 'revoked' } & AttemptRef)
  | ({ readonly type: 'task:done', readonly participant: PeerIdStr, readonly position: Position, /** an output of the job's last stage */ readonly isResult: boolean, readonly outputs: readonly TaskOutput[], readonly counters: Counters } & AttemptRef)
  | ({ readonly type: 'task:fault', readonly participant: PeerIdStr, readonly code: FaultCode, readonly message: string, readonly record: number } & AttemptRef)
  /** a done task is pending again: the block that it made is gone; `attempt` is the one that made it */
  | ({ readonly type: 'task:lost', readonly participant: PeerIdStr, readonly cid: CidStr } & AttemptRef)
  /** a receipt without effect: the participant may forget it */
  | ({ readonly type: 'receipt:ignore', readonly participant: PeerIdStr, readonly code: 'DUPLICATE' | 'LATE' | 'INVALID' } & AttemptRef)
  /** the whole command had no effect */
  | { readonly type: 'command:invalid', readonly code: string, readonly reason: string }
)
