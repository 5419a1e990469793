/**
 * The replicated state: who is a member, which jobs run, what became of each task. Changed by `apply` alone; everybody else reads.
 *
 * Iteration order of every Map and Set below (but `assigned`) is part of the state: it follows from the order of commands, survives snapshots,
 * and is therefore the same on every node. Derived sums are marked; snapshots leave them out and `restore` computes them again.
 */
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { Brand } from '../../keys/ids.ts'
import type { Capability } from '../../keys/certificate.ts'
import type { FaultCode } from '../../protocols/ledger/constants.ts'

/** `j` + 25 characters of base32: the hash of the signed spec's payload. */
export type JobId = Brand<string, 'JobId'>

/** A CIDv1 (sha2-256; raw or dag-pb) in base32 text, `b…`. */
export type CidStr = string

/** Signed bytes as they travel; the shape of `SignedStatement` in protocols/ledger. */
export interface Signed {
  readonly payload: Uint8Array
  readonly signer: string
  readonly signature: Uint8Array
}

/** Where a fact stands in the ledger: the index of its entry, and its ordinal within that entry, from 0. */
export interface Position { readonly index: number, readonly ordinal: number }

export interface Member {
  readonly capabilities: readonly Capability[]
  readonly notAfterMs: number
  /** absent for a member that an issuer certified directly, such as the founder */
  readonly grantId?: string
  /** the certificates that were admitted or renewed last, root first */
  readonly chain: readonly Uint8Array[]
  readonly admittedAt: number
}

/** An invitation's uses so far. */
export interface Grant { readonly used: number, readonly uses: number, readonly notAfterMs: number }

export interface JobInput {
  readonly cid: CidStr
  readonly bytes: number
  readonly records: number
  readonly holders: readonly PeerIdStr[]
  /** file name of the first record, for error messages; may be empty */
  readonly source: string
  /** number of the first record within `source`, from 1; 0: unknown */
  readonly firstRecord: number
}

export interface StageSpec {
  readonly kind: 'map' | 'reduce'
  readonly clean: boolean
  readonly combine: boolean
  /** partitions that each task of this stage writes; 0: its outputs are the job's result */
  readonly partitions: number
}

export interface TaskLimits {
  readonly timeoutMs: number
  readonly memoryBytes: number
  readonly inputBytes: number
  readonly outputBytes: number
  readonly logBytes: number
}

export interface JobSpec {
  readonly network: NetworkId
  readonly submitter: PeerIdStr
  /** 16 bytes: the same work submitted twice is two jobs */
  readonly nonce: Uint8Array
  readonly createdAtMs: number
  readonly name: string
  readonly code: { readonly cid: CidStr, readonly bytes: number, readonly holders: readonly PeerIdStr[] }
  readonly inputs: readonly JobInput[]
  readonly stages: readonly StageSpec[]
  readonly limits: TaskLimits
  readonly maxAttempts: number
  /** milliseconds from `createdAtMs`; 0: none */
  readonly deadlineMs: number
  readonly encoding: 'utf8' | 'latin1'
}

export interface TaskOutput {
  readonly partition: number
  readonly cid: CidStr
  readonly bytes: number
  readonly records: number
  /** who holds it besides the participant that made it */
  readonly holders: readonly PeerIdStr[]
}

export interface Counters {
  readonly recordsIn: number
  readonly recordsOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly wallMs: number
  readonly cpuMs: number
}

/** What a task went through; the same frozen object for all tasks that nothing happened to. */
export interface TaskHistory {
  /** its own faults, which count against `maxAttempts` */
  readonly faults: number
  /** times that it was put back because a block was missing */
  readonly losses: number
  /** participants to avoid while there are others, the latest last */
  readonly avoid: readonly PeerIdStr[]
}

/** `attempt`: the last one given out; 0: none yet. */
export type Task =
  | { readonly state: 'pending', readonly attempt: number, readonly history: TaskHistory, /** the job input or code that no holder gave */ readonly waiting: CidStr | undefined }
  | { readonly state: 'assigned', readonly attempt: number, readonly history: TaskHistory, readonly participant: PeerIdStr, readonly leaseMs: number, /** ledger index of the assignment */ readonly since: number }
  | { readonly state: 'done', readonly attempt: number, readonly history: TaskHistory, readonly participant: PeerIdStr, readonly outputs: readonly TaskOutput[], /** ledger index of the receipt */ readonly since: number }

export interface Stage {
  readonly spec: StageSpec
  /** number of its tasks */
  readonly size: number
  /** empty until the stage before it was done for the first time */
  readonly tasks: Task[]
  /** task numbers, those that wait longest first */
  readonly pending: Set<number>
  /** derived from `tasks`; its order means nothing */
  readonly assigned: Set<number>
  /** derived from `tasks` */
  done: number
}

/** A committed output of a job's last stage. Its signed receipt is in `Ledger.batches` under `position.index`. */
export interface Result {
  readonly task: number
  readonly attempt: number
  readonly participant: PeerIdStr
  readonly position: Position
  readonly outputs: readonly TaskOutput[]
}

interface JobFacts {
  readonly id: JobId
  readonly spec: JobSpec
  readonly signed: Signed
  readonly submittedAt: number
  /** in ledger order */
  readonly results: Result[]
  /** sums over committed receipts, a lost task's again when it is done again */
  counters: Counters
  /** committed receipts by participant */
  readonly doneBy: Map<PeerIdStr, number>
}

export interface RunningJob extends JobFacts {
  readonly status: 'running'
  readonly stages: readonly Stage[]
  /** tasks put back because of a missing block */
  losses: number
}

export interface JobFault {
  readonly code: FaultCode
  readonly message: string
  readonly stage: number
  readonly task: number
  /** 1-based, within the task's input; 0: not tied to a record */
  readonly record: number
  readonly participant: PeerIdStr
}

/** `spec` of an ended job has no inputs; `signed` still has. */
export type EndedJob = EndedFacts & ({ readonly status: 'succeeded' } | { readonly status: 'failed' | 'cancelled' })

interface EndedFacts extends JobFacts {
  readonly endedAt: number
  readonly stages: ReadonlyArray<{ readonly spec: StageSpec, readonly size: number, readonly done: number }>
  /** '' for a success */
  readonly code: string
  readonly reason: string
  readonly fault: JobFault | undefined
}

export type Job = RunningJob | EndedJob

/** What had no effect, counted since the ledger began. */
export interface LedgerStats {
  invalidCommands: number
  /** receipts of a done task */
  duplicateReceipts: number
  /** receipts of an attempt that is no longer current, or of a job that has ended */
  lateReceipts: number
  invalidReceipts: number
  /** assignments and releases that lost a race */
  staleAssignments: number
  tasksDone: number
}

export interface Ledger {
  readonly network: NetworkId
  /** of the last applied entry; 0: none */
  index: number
  term: number
  readonly members: Map<PeerIdStr, Member>
  readonly grants: Map<string, Grant>
  readonly revoked: Set<PeerIdStr>
  /** in order of submission */
  readonly running: Map<JobId, RunningJob>
  /** in order of their end */
  readonly ended: Map<JobId, EndedJob>
  /** signed ReceiptBatches that some result came in, by ledger index, with the number of such results */
  readonly batches: Map<number, { readonly signed: Signed, results: number }>
  readonly stats: LedgerStats
  /** ledger index of the newest result that is no longer remembered; 0: none was forgotten */
  forgottenUpTo: number
  /** derived: sums that limits are held against */
  readonly usage: { runningBytes: number, runningOutputs: number, endedBytes: number, batchBytes: number }
}

export const NO_HISTORY: TaskHistory = Object.freeze({ faults: 0, losses: 0, avoid: Object.freeze([]) })
export const NO_COUNTERS: Counters = Object.freeze({ recordsIn: 0, recordsOut: 0, bytesIn: 0, bytesOut: 0, wallMs: 0, cpuMs: 0 })

/** An empty ledger of a network, before its first entry. */
export function createLedger (network: NetworkId): Ledger {
  return {
    network,
    index: 0,
    term: 0,
    members: new Map(),
    grants: new Map(),
    revoked: new Set(),
    running: new Map(),
    ended: new Map(),
    batches: new Map(),
    stats: { invalidCommands: 0, duplicateReceipts: 0, lateReceipts: 0, invalidReceipts: 0, staleAssignments: 0, tasksDone: 0 },
    forgottenUpTo: 0,
    usage: { runningBytes: 0, runningOutputs: 0, endedBytes: 0, batchBytes: 0 }
  }
}

/** The job with this id, running or ended, or undefined. */
export function findJob (ledger: Ledger, id: string): Job | undefined {
  return ledger.running.get(id as JobId) ?? ledger.ended.get(id as JobId)
}

/** Whether the stage's tasks may run: the stage before it is done, also after losses. */
export function isReady (job: RunningJob, stage: number): boolean {
  if (stage === 0) return true
  const before = job.stages[stage - 1]
  return before !== undefined && before.done === before.size && job.stages[stage] !== undefined
}
