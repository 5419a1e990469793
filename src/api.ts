/**
 * The shapes of the public API: what a program, the daemon and its command line see of a node. Types only; `node.ts` implements them.
 */
import type { Capability } from '../keys/certificate.ts'

export type { Capability }

/** One line of a node's log. Never holds a secret. */
export interface LogEvent {
  level: 'debug' | 'info' | 'warn' | 'error'
  /** `noun:verb` */
  event: string
  [fact: string]: unknown
}

export type SandboxChoice = 'auto' | 'bwrap' | 'unshare' | 'none'

export interface JoinOptions {
  /** exclusively this node's; created (0700) where absent */
  dataDir: string
  /** `conclave1…`: join that network; without it a new data directory founds a network of its own */
  ticket?: string
  /** multiaddrs to dial first, for a node that already is a member */
  bootstrap?: string[]
  /** multiaddrs to listen at; default `/ip4/0.0.0.0/tcp/0` */
  listen?: string[]
  /** tasks that run here at the same time; 0: none; default: cores − 1, at least 1 */
  slots?: number
  /** what a ticket's holder asks for, at most what the ticket grants; default: all of it */
  capabilities?: Capability[]
  /** gives up joining; has no effect once `join` has resolved */
  signal?: AbortSignal
  log?: (event: LogEvent) => void
  sandbox?: SandboxChoice
}

/** `member`: has no part in consensus; `learner`: a voter to be. */
export type NodeRole = 'leader' | 'follower' | 'learner' | 'member'

/** What is not running, why, and the next command to type. */
export interface Waiting { what: string, why: string, next: string }

export interface NodeStatus {
  peerId: string
  network: string
  role: NodeRole
  term: number
  /** peer id, or null while nobody is known to lead */
  leader: string | null
  voters: string[]
  /** members that the ledger lists, this node included */
  members: number
  commitIndex: number
  appliedIndex: number
  jobs: { running: number, finished: number, failed: number, cancelled: number }
  /** `layers` hold here; `missing` do not, with the reason */
  sandbox: { layers: string[], missing?: string[] }
  slots: { total: number, busy: number }
  blocks: { bytes: number, maxBytes: number, count: number }
  waiting: Waiting[]
}

export interface PeerInfo {
  peerId: string
  connected: boolean
  addrs: string[]
  /** null until measured */
  rttMs: number | null
  capabilities: string[]
  voter: boolean
  leader: boolean
  /** its certificate ends then, Unix milliseconds */
  notAfter: number
}

export type JobStatus = 'running' | 'succeeded' | 'failed' | 'cancelled'

export interface StageInfo { kind: string, total: number, done: number, running: number, pending: number }

export interface JobInfo {
  id: string
  name: string
  status: JobStatus
  /** why it failed */
  code?: string
  reason?: string
  /** peer id */
  submitter: string
  /** Unix milliseconds, by the submitter's clock */
  submittedAt: number
  stages: StageInfo[]
  /** committed tasks by participant, most first */
  participants: { peerId: string, done: number }[]
  /** why nothing of it runs, while nothing does */
  waiting?: string
}

export interface JobLimits {
  /** wall time of one task */
  timeoutMs: number
  memoryBytes: number
  inputBytes: number
  outputBytes: number
  logBytes: number
}

export interface JobRequest {
  /** the module's source, or the URL of a file that holds it */
  code: string | Uint8Array | URL
  name?: string
  /** paths of existing files: globs are expanded before */
  inputs: string[]
  encoding?: 'utf8' | 'latin1'
  /** aimed-at size of one map task's input */
  splitBytes?: number
  /** number of reduce tasks */
  partitions?: number
  limits?: Partial<JobLimits>
  /** of one task */
  maxAttempts?: number
  /** from submission; absent: none */
  deadlineMs?: number
}

/** A fact about a job, in ledger order. */
export type JobEvent =
  | { type: 'job:submit', job: string, name: string, submitter: string }
  /** the stage began */
  | { type: 'job:stage', job: string, stage: number, kind: string, tasks: number }
  | { type: 'task:assign', job: string, stage: number, task: number, attempt: number, participant: string }
  | { type: 'task:release', job: string, stage: number, task: number, attempt: number, participant: string, reason: string }
  | { type: 'task:done', job: string, stage: number, task: number, attempt: number, participant: string }
  | { type: 'task:fault', job: string, stage: number, task: number, attempt: number, participant: string, code: string, message: string }
  | { type: 'job:done', job: string }
  | { type: 'job:fail', job: string, code: string, reason: string }
  | { type: 'job:cancel', job: string, reason: string }

export type NodeEvent =
  | JobEvent
  | { type: 'leader:change', term: number, leader: string | null }
  | { type: 'peer:connect' | 'peer:disconnect', peerId: string }
  | { type: 'member:admit' | 'member:revoke', peerId: string }
  /** it cannot go on, and stops by itself: its disk is full or broken, or its log */
  | { type: 'node:fail', code: string, reason: string }

/** A result that counts: the first valid receipt of its task. */
export interface CommittedResult {
  /** where it stands in the ledger: entry index, and ordinal within the entry from 0 */
  position: { index: number, ordinal: number }
  job: string
  stage: number
  task: number
  attempt: number
  participant: string
  outputs: { partition: number, cid: string, bytes: number, records: number }[]
  /** the participant's signature was checked here */
  verified: boolean
}

export interface InviteOptions {
  /** default `vote,work,submit,observe` */
  capabilities?: Capability[]
  /** default 1 */
  uses?: number
  /** default one hour */
  ttlMs?: number
}

export interface JobHandle {
  readonly id: string
  /** @throws JOB_UNKNOWN where the replica does not (yet) hold it */
  info (): JobInfo
  /**
   * The records of the last stage. `ledger` (default): as their tasks are committed; `key`: in partition and key order, once the job is done.
   * @throws the job's own failure (its code), JOB_CANCELLED, BLOCK_MISSING; the signal's reason
   */
  results (options?: { signal?: AbortSignal, order?: 'ledger' | 'key' }): AsyncIterable<unknown>
  /** From now on, in ledger order; ends after `job:done`, `job:fail` or `job:cancel`, at once where that has already been. */
  events (options?: { signal?: AbortSignal }): AsyncIterable<JobEvent>
  /** Resolves once committed; running code is stopped after it. A job that has ended stays as it is. */
  cancel (): Promise<void>
  /** Resolves when the job has ended, however it ended. */
  done (options?: { signal?: AbortSignal }): Promise<JobInfo>
}

export interface ConclaveNode extends AsyncDisposable {
  readonly peerId: string
  readonly network: string
  readonly dataDir: string
  /** multiaddrs with `/p2p/<id>` */
  addrs (): string[]
  status (): NodeStatus
  peers (): PeerInfo[]
  /** newest first */
  jobs (): JobInfo[]
  /** @returns a ticket, a secret until it is used up. @throws DENIED without the `invite` capability, NO_QUORUM */
  invite (options?: InviteOptions): Promise<string>
  /**
   * Put a member out, for good: resolves once committed.
   *
   * @throws MEMBER_UNKNOWN; NOT_ALLOWED without the `invite` capability; NO_QUORUM
   */
  revoke (peerId: string): Promise<void>
  /** Resolves once the job is committed. @throws INPUT_*, JOB_*, NO_QUORUM, BUSY, DENIED */
  submit (request: JobRequest, options?: { signal?: AbortSignal }): Promise<JobHandle>
  /** @param id - the id, a unique prefix of it, or `last`. @throws JOB_UNKNOWN, JOB_AMBIGUOUS */
  job (id: string): JobHandle
  /** Every committed result once, in ledger order, from ledger index `from` (default: the beginning) on. */
  observe (options?: { from?: number, signal?: AbortSignal }): AsyncIterable<CommittedResult>
  /** Must not throw. @returns stops it */
  on (listener: (event: NodeEvent) => void): () => void
  /** Graceful within its own deadline; idempotent. */
  stop (): Promise<void>
}
