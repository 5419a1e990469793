/**
 * What goes into a sandbox and what comes out of it.
 *
 * Everything that crosses the border is bytes with a stated limit; nothing of the job's is ever evaluated outside the executor process.
 */

/** Bounds of one task. Past each stands a fault, never a wait. */
export interface TaskLimits {
  /** Wall time; then SIGKILL and fault `timeout`. */
  timeoutMs: number
  /** Heap and buffers of the job's isolate together; then fault `memory`. */
  memoryBytes: number
  /** Sum of all inputs; then fault `denied`. */
  inputBytes: number
  /** Sum of all outputs; then fault `output`. */
  outputBytes: number
  /** UTF-8 bytes of `ctx.log`; the rest is cut off with a word, no fault. */
  logBytes: number
}

/** What a task gets that asks for nothing else. */
export const DEFAULT_TASK_LIMITS: Readonly<TaskLimits> = {
  timeoutMs: 30_000,
  memoryBytes: 128 * 1024 * 1024,
  inputBytes: 16 * 1024 * 1024,
  outputBytes: 16 * 1024 * 1024,
  logBytes: 64 * 1024
}

/** What a task may ask for at most on this machine; more is fault `denied`. */
export const DEFAULT_CEILING: Readonly<TaskLimits> = {
  timeoutMs: 3_600_000,
  memoryBytes: 1024 * 1024 * 1024,
  inputBytes: 64 * 1024 * 1024,
  outputBytes: 64 * 1024 * 1024,
  logBytes: 1024 * 1024
}

/** Longest job module, in bytes of UTF-8. */
export const MAX_CODE_BYTES = 1024 * 1024
/** Longest `fault.message`, in UTF-16 units. */
export const MAX_FAULT_CHARS = 2048
/** Most partitions that a map task may write. */
export const MAX_PARTITIONS = 4096
/** Most sorted runs that a reduce task may read. */
export const MAX_RUNS = 65_536

/** One attempt at one task. The byte arrays stay the caller's and must not change until `run` settles. */
export interface SandboxTask {
  /** Isolates are shared by tasks of equal `job` and `codeCid` only. */
  job: string
  codeCid: string
  /** UTF-8 text of the ES module. */
  code: Uint8Array
  /** `partitions` 0: the outputs are the job's result. `clean`, `combine`: whether these exports are applied. */
  stage: { kind: 'map' | 'reduce', clean: boolean, combine: boolean, partitions: number }
  /** map: blocks of text lines, in order; reduce: runs of `[key,value]` lines, each sorted by the JSON text of its key. */
  input: readonly Uint8Array[]
  /** How a map's input becomes text; runs are always UTF-8. */
  encoding: 'utf8' | 'latin1'
  limits: TaskLimits
  seed: string
  /** What `ctx.now` and `Date.now()` say: milliseconds since 1970. */
  nowMs: number
}

/**
 * Why a task gave no output.
 *
 * - `timeout` ran longer than `timeoutMs`, in JavaScript or in native code
 * - `memory` wanted more than `memoryBytes`
 * - `output` wrote more than `outputBytes`
 * - `throw` its code threw, or gave what JSON cannot carry
 * - `denied` it asked for what no task gets: imports, limits above this machine's ceiling, an input that is too large or not what its stage reads
 * - `code` the module does not load, or lacks a function that its stage needs
 * - `crash` the executor died, or spoke nonsense
 */
export const FAULT_CODES = ['timeout', 'memory', 'output', 'throw', 'denied', 'code', 'crash'] as const
export type FaultCode = typeof FAULT_CODES[number]

/** `record`: 1-based number of the input record (of a reduce: of the pair in merged order), 0 where none is to blame. */
export interface TaskFault { code: FaultCode, message: string, record: number }

export interface TaskOutput { partition: number, bytes: Uint8Array, records: number }

export interface TaskCounters { recordsIn: number, recordsOut: number, bytesIn: number, bytesOut: number, wallMs: number, cpuMs: number }

/** `outputs`: ascending by partition, empty partitions left out. */
export type TaskOutcome =
  | { ok: true, outputs: TaskOutput[], counters: TaskCounters, log: string }
  | { ok: false, fault: TaskFault, log: string }

/** Which of the functions a job module exports. */
export interface JobShape { clean: boolean, map: boolean, combine: boolean, reduce: boolean }

export type JailKind = 'bwrap' | 'unshare' | 'none'

/** One escape attempt of the self-test. `held`: the sandbox withstood it here. */
export interface ProbeResult { name: string, held: boolean, detail: string }

/** What holds on this machine, as `conclave status` shows it. */
export interface SandboxReport {
  jail: JailKind
  /** Outermost last, each in a few words. */
  layers: string[]
  probes: ProbeResult[]
  /** Why a stronger jail is not in use; empty where the strongest is. */
  fallbacks: string[]
}

/** What the sandbox tells the daemon's log. */
export interface SandboxEvent { event: string, [fact: string]: unknown }

export interface ExecutorsInit {
  /** Tasks at once, from 1 to 256. */
  slots: number
  /** `auto`: the strongest jail whose self-test holds. A named one is used or refused with SANDBOX_JAIL. */
  jail?: JailKind | 'auto'
  /** The ceiling of what tasks may ask for here. */
  limits?: Partial<TaskLimits>
  log?: (event: SandboxEvent) => void
}

/** A pool of executor processes, at most one task in each. */
export interface Executors {
  readonly layers: SandboxReport
  /**
   * Run one task. What the task does wrong is an outcome, not an exception. Waits for a free slot, in order of calls.
   *
   * @param signal - stops the task: its process is killed, and the promise rejects with the signal's reason once it is gone
   * @throws SANDBOX_STOPPED after `stop`; SANDBOX_BUSY when too many tasks wait; SANDBOX_SPAWN when no executor can be started
   */
  run (task: SandboxTask, signal: AbortSignal): Promise<TaskOutcome>
  /**
   * Load a job module in a fresh executor and say what it exports.
   *
   * @throws JOB_SYNTAX, JOB_THROWS_ON_LOAD, JOB_EXPORTS_NOTHING, JOB_IMPORTS, JOB_TIMEOUT, JOB_MEMORY, JOB_TOO_LARGE, JOB_CRASHED;
   * SANDBOX_* as `run`
   */
  inspect (code: Uint8Array, signal: AbortSignal): Promise<JobShape>
  /** Kills every executor and resolves when all are gone; tasks under way reject with SANDBOX_STOPPED. */
  stop (): Promise<void>
}
