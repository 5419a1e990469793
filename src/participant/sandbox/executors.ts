/**
 * The pool: one slot a task, one process a slot.
 *
 * A slot is free again only when its process has answered, or is confirmed gone. A process serves one size of limits, and is replaced after a
 * fault, after MAX_TASKS tasks, after MAX_BUSY_MS of work, and when it has been idle for IDLE_MS.
 */
import { ConclaveError } from '../../../keys/conclave-error.ts'
import { encodeFrame, FRAME } from './frames.ts'
import { checkTask, exceedsCeiling } from './admit.ts'
import { outcomeOf, faultOutcome } from './reply.ts'
import { selectJail } from './self-test.ts'
import { checkCodeSize, INSPECT_TIMEOUT_MS, shapeOf } from './shape.ts'
import { DEFAULT_CEILING, DEFAULT_TASK_LIMITS, type Executors, type ExecutorsInit, type JobShape, type SandboxEvent, type SandboxTask, type TaskLimits, type TaskOutcome } from './types.ts'
import type { Executor, Reply } from './executor.ts'
import type { Launcher, ProcessBounds } from './launch.ts'

export type { Executors, ExecutorsInit, JobShape, SandboxReport, SandboxTask, TaskCounters, TaskFault, TaskLimits, TaskOutcome, TaskOutput } from './types.ts'
export { DEFAULT_TASK_LIMITS } from './types.ts'

const MAX_SLOTS = 256
const MAX_TASKS = 1000
const MAX_BUSY_MS = 3_600_000
const IDLE_MS = 60_000
/** Calls of `run` and of `inspect` that wait; past it: SANDBOX_BUSY. */
const MAX_WAITING = 1024
/** What a reply may hold beside log and outputs. */
const REPLY_OVERHEAD_BYTES = 512 * 1024

interface Slot { executor?: Executor, bounds: ProcessBounds, idleTimer?: NodeJS.Timeout }
interface Waiter { resolve: (slot: Slot) => void, reject: (error: unknown) => void }

/**
 * Tests the sandbox (once a process, see `selectJail`) and opens a pool. Processes start with the first task.
 *
 * @throws ConclaveError SANDBOX_SLOTS, SANDBOX_JAIL
 */
export async function createExecutors ({ slots, jail = 'auto', limits = {}, log = () => {} }: ExecutorsInit): Promise<Executors> {
  if (!Number.isInteger(slots) || slots < 1 || slots > MAX_SLOTS) {
    throw new ConclaveError('SANDBOX_SLOTS', `${slots} slots asked for; 1 to ${MAX_SLOTS} are possible`, { next: 'Give a number of slots in that range.' })
  }
  const { launcher, report } = await selectJail(jail)
  log({ event: 'sandbox:ready', jail: report.jail, failed: report.probes.filter(({ held }) => !held).map(({ name }) => name), fallbacks: report.fallbacks })
  const pool = new Pool(launcher, slots, log)
  const inspector = new Pool(launcher, 1, log)
  const ceiling = { ...DEFAULT_CEILING, ...limits }
  return {
    layers: report,
    run: (task, signal) => runTask(pool, task, ceiling, signal),
    inspect: (code, signal) => inspect(inspector, code, signal),
    async stop () {
      await Promise.all([pool.stop(), inspector.stop()])
    }
  }
}

async function runTask (pool: Pool, task: SandboxTask, ceiling: TaskLimits, signal: AbortSignal): Promise<TaskOutcome> {
  const refusal = exceedsCeiling(task.limits, ceiling) ?? checkTask(task)
  if (refusal !== undefined) return faultOutcome('denied', refusal)
  const { job, codeCid, code, stage, encoding, limits, seed, nowMs, input } = task
  const frame = encodeFrame(FRAME.task, { key: `${job} ${codeCid}`, stage, encoding, limits, seed, nowMs }, [code, ...input])
  const maxReplyBytes = limits.outputBytes + limits.logBytes + REPLY_OVERHEAD_BYTES
  let startMs = 0
  return await pool.use(limits, signal, async executor => {
    startMs = performance.now()
    return await executor.request(frame, { timeoutMs: limits.timeoutMs, maxReplyBytes, signal })
  }, reply => {
    const outcome = outcomeOf(reply, task, performance.now() - startMs)
    return { value: outcome, isSpent: !outcome.ok }
  })
}

async function inspect (pool: Pool, code: Uint8Array, signal: AbortSignal): Promise<JobShape> {
  checkCodeSize(code)
  const frame = encodeFrame(FRAME.inspect, {}, [code])
  const reply = await pool.use(DEFAULT_TASK_LIMITS, signal, async executor => {
    return await executor.request(frame, { timeoutMs: INSPECT_TIMEOUT_MS, maxReplyBytes: REPLY_OVERHEAD_BYTES, signal })
  }, reply => ({ value: reply, isSpent: true }))
  return shapeOf(reply)
}

function lostSlots (): ConclaveError {
  return new ConclaveError('SANDBOX_SPAWN', 'an executor could not be confirmed gone after SIGKILL, and its slot is lost', {
    next: 'Look for processes in uninterruptible sleep (`ps -o pid,stat,comm`), then restart the node.'
  })
}

class Pool {
  readonly #launcher: Launcher
  readonly #log: (event: SandboxEvent) => void
  readonly #slots = new Set<Slot>()
  readonly #free: Slot[] = []
  readonly #waiting: Waiter[] = []
  readonly #stopping = new AbortController()

  constructor (launcher: Launcher, slots: number, log: (event: SandboxEvent) => void) {
    this.#launcher = launcher
    this.#log = log
    for (let i = 0; i < slots; i++) {
      const slot = { bounds: DEFAULT_TASK_LIMITS }
      this.#slots.add(slot)
      this.#free.push(slot)
    }
  }

  /**
   * @param ask - one request to a started executor
   * @param read - what the reply means; `isSpent`: the process is not to be used again
   * @returns the value, once the slot's process is fit for the next task or confirmed gone
   */
  async use<T> (bounds: ProcessBounds, signal: AbortSignal, ask: (executor: Executor) => Promise<Reply>, read: (reply: Reply) => { value: T, isSpent: boolean }): Promise<T> {
    const either = AbortSignal.any([signal, this.#stopping.signal])
    const slot = await this.#acquire(either)
    try {
      const executor = await this.#executorFor(slot, bounds, either)
      const onStop = (): void => { executor.kill() }
      this.#stopping.signal.addEventListener('abort', onStop)
      const reply = await ask(executor).finally(() => { this.#stopping.signal.removeEventListener('abort', onStop) })
      either.throwIfAborted()
      const { value, isSpent } = read(reply)
      if (isSpent) executor.kill()
      return value
    } finally {
      await this.#release(slot)
    }
  }

  #acquire (signal: AbortSignal): Promise<Slot> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error)
      if (this.#slots.size === 0) return reject(lostSlots())
      const slot = this.#free.pop()
      if (slot !== undefined) return resolve(slot)
      if (this.#waiting.length >= MAX_WAITING) {
        return reject(new ConclaveError('SANDBOX_BUSY', `${MAX_WAITING} calls already wait for ${this.#slots.size} slots`, { next: 'Try again when tasks have ended.' }))
      }
      const onAbort = (): void => {
        const at = this.#waiting.indexOf(waiter)
        if (at !== -1) this.#waiting.splice(at, 1)
        reject(signal.reason as Error)
      }
      const waiter: Waiter = {
        resolve: slot => {
          signal.removeEventListener('abort', onAbort)
          resolve(slot)
        },
        reject
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiter)
    })
  }

  /** @returns the slot's process, started; a new one where there is none of this size */
  async #executorFor (slot: Slot, bounds: ProcessBounds, signal: AbortSignal): Promise<Executor> {
    clearTimeout(slot.idleTimer)
    const { memoryBytes, inputBytes, outputBytes } = bounds
    const isFit = slot.bounds.memoryBytes === memoryBytes && slot.bounds.inputBytes === inputBytes && slot.bounds.outputBytes === outputBytes
    if (slot.executor !== undefined && (slot.executor.isEnded || !isFit)) {
      slot.executor.kill()
      if (!await this.#confirmGone(slot, slot.executor)) throw lostSlots()
    }
    slot.bounds = { memoryBytes, inputBytes, outputBytes }
    const executor = slot.executor ??= this.#launch(slot.bounds)
    const onAbort = (): void => { executor.kill() }
    signal.addEventListener('abort', onAbort)
    const why = await executor.started().finally(() => { signal.removeEventListener('abort', onAbort) })
    signal.throwIfAborted()
    if (why !== undefined) {
      throw new ConclaveError('SANDBOX_SPAWN', `no executor process could be started: ${why}`, { next: 'Run `conclave status` to see which layers of the sandbox hold; free memory and process ids if they are short.' })
    }
    return executor
  }

  #launch (bounds: ProcessBounds): Executor {
    return this.#launcher.launch({ bounds, isPermissionOn: true, keepStderr: false })
  }

  async #release (slot: Slot): Promise<void> {
    const { executor } = slot
    if (!this.#slots.has(slot)) return
    if (executor !== undefined) {
      if (executor.requests >= MAX_TASKS || executor.busyMs >= MAX_BUSY_MS) executor.kill()
      if (executor.isEnded) {
        executor.kill()
        if (!await this.#confirmGone(slot, executor)) return
      }
    }
    const waiter = this.#waiting.shift()
    if (waiter !== undefined) return waiter.resolve(slot)
    this.#free.push(slot)
    slot.idleTimer = setTimeout(() => { slot.executor?.kill() }, IDLE_MS).unref()
  }

  /** @returns false where the slot is lost, because its process may still run */
  async #confirmGone (slot: Slot, executor: Executor): Promise<boolean> {
    const isGone = await executor.gone
    delete slot.executor
    if (isGone) return true
    this.#slots.delete(slot)
    this.#log({ event: 'sandbox:slot-lost', pid: executor.pid, slots: this.#slots.size })
    if (this.#slots.size === 0) for (const waiter of this.#waiting.splice(0)) waiter.reject(lostSlots())
    return false
  }

  /** Also ends what waits and what runs. Idempotent. */
  async stop (): Promise<void> {
    this.#stopping.abort(new ConclaveError('SANDBOX_STOPPED', 'the sandbox was stopped', { next: 'Start the node again.' }))
    await Promise.all([...this.#slots].map(async slot => {
      clearTimeout(slot.idleTimer)
      slot.executor?.kill()
      await slot.executor?.gone
    }))
  }
}
