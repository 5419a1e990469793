/**
 * The JavaScript that runs inside a job's isolate, around the job's own functions.
 *
 * It travels into the isolate as text (`KERNEL_SOURCE`), runs before the job's module and keeps what it needs of the globals, so a job that
 * overwrites `JSON.stringify` or `Map.prototype.get` disturbs its own code at most. It is no line of defence: whoever subverts it holds an
 * isolate, and its answers are checked outside. One call a task, strings in and strings out: calls across the border are what costs.
 */
import { installDeterminism } from './determinism.ts'
import { captureGlobals } from './globals.ts'
import { createMerge } from './merge.ts'
import { createPairs, type OutputText } from './pairs.ts'
import { createReport } from './report.ts'

/** What the kernel is told of a task; structured clone carries it. */
export interface KernelTask {
  kind: 'map' | 'reduce'
  clean: boolean
  combine: boolean
  partitions: number
  seed: string
  nowMs: number
  /** Limits in UTF-16 units; the exact ones, in bytes, are checked outside. */
  maxOutputChars: number
  maxLogChars: number
}

export interface KernelResult {
  fault?: { code: string, message: string, record: number }
  outputs: OutputText[]
  recordsIn: number
  recordsOut: number
  log: string
}

export interface Kernel {
  /** Take the functions of a job's module namespace. */
  bind (namespace: Record<string, unknown>): void
  shape (): { clean: boolean, map: boolean, combine: boolean, reduce: boolean }
  run (task: KernelTask, input: string | string[]): KernelResult
}

interface Parts {
  captureGlobals: typeof captureGlobals
  installDeterminism: typeof installDeterminism
  createReport: typeof createReport
  createPairs: typeof createPairs
  createMerge: typeof createMerge
}

function createKernel (parts: Parts): Kernel {
  type Fn = (...args: unknown[]) => unknown
  const globals = parts.captureGlobals()
  const { charCodeAt, freeze, indexOf, join, NativeTypeError, slice } = globals
  const determinism = parts.installDeterminism(globals)
  const report = parts.createReport(globals)
  const pairs = parts.createPairs(globals, report)
  const mergeRuns = parts.createMerge(globals, report)
  let clean: Fn | undefined
  let map: Fn | undefined
  let combine: Fn | undefined
  let reduce: Fn | undefined
  let lines: string[] = []

  const pushLine = (text: string): void => {
    report.grow(text.length + 1)
    if (report.fault === undefined) lines[lines.length] = text
  }

  /** `emit` of a stage whose output is the job's result: a record, or a pair as `[key,value]`. */
  const emitRecord = (value: unknown, second?: unknown): void => {
    if (!report.isOpen) throw new NativeTypeError('emit was called after its task had ended')
    if (report.fault !== undefined) return
    const text = report.jsonText(value, 'the record of emit(record)')
    pushLine(second === undefined ? text : `[${text},${report.jsonText(second, 'the value of emit(key, value)')}]`)
  }

  const mapLines = (text: string, task: KernelTask, ctx: unknown): void => {
    const emit = task.partitions > 0 ? pairs.emit : emitRecord
    for (let start = 0; start < text.length && report.fault === undefined;) {
      let end = indexOf(text, '\n', start)
      if (end === -1) end = text.length
      const isCrLf = end > start && charCodeAt(text, end - 1) === 13
      let item: unknown = slice(text, start, isCrLf ? end - 1 : end)
      start = end + 1
      report.record++
      if (task.clean) {
        item = (clean as Fn)(item, ctx)
        if (item === undefined || item === null) continue
        report.refusePromise(item, 'clean')
      }
      if (map === undefined) emitRecord(item)
      else report.refusePromise(map(item, emit, ctx), 'map')
    }
  }

  const reduceRuns = (texts: string[], ctx: unknown): void => {
    mergeRuns(texts, (key, values, keyText) => {
      const result = (reduce as Fn)(key, values, ctx)
      if (result === undefined) return
      report.refusePromise(result, 'reduce')
      pushLine(report.jsonText(result, `what reduce returned for the key ${slice(keyText, 0, 100)}`))
    })
  }

  /** @returns the function that a stage needs and the job lacks */
  const lacking = (task: KernelTask): string | undefined => {
    if (task.kind === 'reduce') return reduce === undefined ? 'reduce' : undefined
    if (task.clean && clean === undefined) return 'clean'
    if (task.combine && combine === undefined) return 'combine'
    return map === undefined && (task.partitions > 0 || !task.clean) ? 'map' : undefined
  }

  const runStage = (task: KernelTask, input: string | string[]): { outputs: OutputText[], recordsIn: number } => {
    const ctx = freeze({ seed: task.seed, now: task.nowMs, log: report.log })
    const texts = typeof input === 'string' ? [input] : input
    if (task.kind === 'reduce') reduceRuns(texts, ctx)
    else for (let i = 0; i < texts.length; i++) mapLines(texts[i] as string, task, ctx)
    const recordsIn = report.record
    if (task.kind === 'map' && task.partitions > 0) {
      report.record = report.fault?.record ?? 0
      return { outputs: pairs.finish(task.partitions), recordsIn }
    }
    return { outputs: lines.length > 0 ? [{ partition: 0, text: join(lines, '\n') + '\n', records: lines.length }] : [], recordsIn }
  }

  const run = (task: KernelTask, input: string | string[]): KernelResult => {
    report.begin(task.maxOutputChars, task.maxLogChars)
    determinism.reset(task.nowMs, task.seed)
    pairs.begin(task.combine ? combine : undefined)
    lines = []
    let outputs: OutputText[] = []
    let recordsIn = 0
    const missing = lacking(task)
    try {
      if (missing !== undefined) report.fail('code', `the job does not export a function ${missing}, which this stage needs`)
      else ({ outputs, recordsIn } = runStage(task, input))
    } catch (error) {
      report.failWith(error)
    }
    const log = report.end()
    pairs.clear()
    lines = []
    if (report.fault !== undefined) return { fault: report.fault, outputs: [], recordsIn, recordsOut: 0, log }
    let recordsOut = 0
    for (let i = 0; i < outputs.length; i++) recordsOut += (outputs[i] as OutputText).records
    return { outputs, recordsIn, recordsOut, log }
  }

  const fn = (value: unknown): Fn | undefined => typeof value === 'function' ? value as Fn : undefined
  return {
    bind (namespace) {
      clean = fn(namespace.clean)
      map = fn(namespace.map)
      combine = fn(namespace.combine)
      reduce = fn(namespace.reduce)
    },
    shape: () => ({ clean: clean !== undefined, map: map !== undefined, combine: combine !== undefined, reduce: reduce !== undefined }),
    run
  }
}

/** The kernel as a script whose value is a `Kernel`. */
export const KERNEL_SOURCE = `(${createKernel.toString()})({
  captureGlobals: ${captureGlobals.toString()},
  installDeterminism: ${installDeterminism.toString()},
  createReport: ${createReport.toString()},
  createPairs: ${createPairs.toString()},
  createMerge: ${createMerge.toString()}
})`
