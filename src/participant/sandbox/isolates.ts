/**
 * The isolates of an executor process: one a job, kept warm between its tasks. Runs inside the executor process only.
 */
import { createRequire } from 'node:module'
import { KERNEL_SOURCE, type KernelResult, type KernelTask } from './kernel/kernel.ts'
import type ivm from 'isolated-vm'
import type { FaultCode } from './types.ts'

/** Isolates alive at once: the one in use and the one before it. Each more would loosen the process's memory limit by V8's code range. */
export const MAX_ISOLATES = 2
/** An idle isolate that holds more than this is not kept when another job runs. */
const MAX_IDLE_BYTES = 16 * 1024 * 1024
const MIB = 1024 * 1024
/** V8 needs a few megabytes to exist at all. */
const MIN_ISOLATE_MIB = 12

/** A task's code is to blame. `job` is the code of the error that `inspect` throws for it. */
export class JobFault extends Error {
  override readonly name = 'JobFault'
  readonly fault: FaultCode
  readonly job: string

  constructor (fault: FaultCode, job: string, message: string) {
    super(message)
    this.fault = fault
    this.job = job
  }
}

export interface WarmJob {
  run (task: KernelTask, input: string | string[]): Promise<KernelResult>
  shape (): Promise<unknown>
}

interface Entry extends WarmJob { isolate: ivm.Isolate }

export interface IsolatesInit {
  /** Path of isolated-vm's native addon. */
  addon: string
  memoryBytes: number
  /** V8 gave up on an isolate: the process must end now. */
  onOutOfMemory: () => void
}

/** Loads jobs and keeps the last few, least recently used first. */
export class Isolates {
  readonly #ivm: typeof ivm
  readonly #init: IsolatesInit
  readonly #warm = new Map<string, Entry>()

  constructor (init: IsolatesInit) {
    this.#init = init
    this.#ivm = createRequire(import.meta.url)(init.addon).ivm
  }

  /**
   * @param key - names job and code
   * @returns the job's functions in its isolate
   * @throws JobFault
   */
  async load (key: string, code: Uint8Array): Promise<WarmJob> {
    const found = this.#warm.get(key)
    this.#warm.delete(key)
    if (found !== undefined && !found.isolate.isDisposed) {
      this.#warm.set(key, found)
      return found
    }
    this.#makeRoom()
    const entry = await this.#create(code)
    this.#warm.set(key, entry)
    return entry
  }

  #makeRoom (): void {
    for (const [key, { isolate }] of this.#warm) {
      const isDead = isolate.isDisposed
      const { used_heap_size: heap, externally_allocated_size: external } = isDead ? { used_heap_size: 0, externally_allocated_size: 0 } : isolate.getHeapStatisticsSync()
      if (isDead || this.#warm.size >= MAX_ISOLATES || heap + external > MAX_IDLE_BYTES) {
        if (!isDead) isolate.dispose()
        this.#warm.delete(key)
      }
    }
  }

  async #create (code: Uint8Array): Promise<Entry> {
    const memoryLimit = Math.max(MIN_ISOLATE_MIB, Math.ceil(this.#init.memoryBytes / MIB))
    const isolate = new this.#ivm.Isolate({ memoryLimit, onCatastrophicError: this.#init.onOutOfMemory })
    try {
      const context = await isolate.createContext()
      const kernel = await context.eval(KERNEL_SOURCE, { reference: true, filename: 'kernel.js' }) as ivm.Reference
      const [bind, run, shape] = await Promise.all(['bind', 'run', 'shape'].map(async name => await kernel.get(name, { reference: true }) as ivm.Reference))
      const module = await this.#evaluate(isolate, context, code)
      await (bind as ivm.Reference).apply(undefined, [module.namespace.derefInto()])
      return {
        isolate,
        async run (task, input) {
          try {
            return await (run as ivm.Reference).apply(undefined, [task, input], { arguments: { copy: true }, result: { copy: true } }) as KernelResult
          } catch (error) {
            throw explain(isolate, error, 'throw', 'JOB_THROWS')
          }
        },
        shape: async () => await (shape as ivm.Reference).apply(undefined, [], { result: { copy: true } })
      }
    } catch (error) {
      const fault = error instanceof JobFault ? error : explain(isolate, error, 'code', 'JOB_THROWS_ON_LOAD')
      if (!isolate.isDisposed) isolate.dispose()
      throw fault
    }
  }

  async #evaluate (isolate: ivm.Isolate, context: ivm.Context, code: Uint8Array): Promise<ivm.Module> {
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(code)
    } catch {
      throw new JobFault('code', 'JOB_SYNTAX', 'the job module is not UTF-8 text')
    }
    let module: ivm.Module
    try {
      module = await isolate.compileModule(text, { filename: 'job.mjs' })
    } catch (error) {
      throw explain(isolate, error, 'code', 'JOB_SYNTAX')
    }
    const specifier = module.dependencySpecifiers[0]
    if (specifier !== undefined) throw new JobFault('denied', 'JOB_IMPORTS', `the job imports ${JSON.stringify(specifier).slice(0, 200)}`)
    await module.instantiate(context, () => { throw new JobFault('denied', 'JOB_IMPORTS', 'the job imports a module') })
    await module.evaluate()
    return module
  }
}

/** What an exception out of an isolate means. Its text may be the job's, so it is cut to size. */
function explain (isolate: ivm.Isolate, error: unknown, fault: FaultCode, job: string): JobFault {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  // what V8 says to import() where no host loads modules
  if (message === 'Not supported') return new JobFault('denied', 'JOB_IMPORTS', 'the job calls import()')
  if (isolate.isDisposed || isMemoryText(message)) return new JobFault('memory', 'JOB_MEMORY', 'the job wanted more memory than its limit')
  const where = (stack ?? '').slice(0, 8192).split('\n').filter(line => line.startsWith('    at ') && line.includes('job.mjs')).slice(0, 4)
  return new JobFault(fault, job, [`${name}: ${message}`.slice(0, 1200), ...where.map(line => line.slice(0, 200))].join('\n'))
}

function isMemoryText (message: string): boolean {
  return message === 'Array buffer allocation failed' || message.endsWith(': Out of memory')
}
