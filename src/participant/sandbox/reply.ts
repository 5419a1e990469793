/**
 * What a participant makes of an executor's answers. They are hostile: every field is checked before it is believed. Pure.
 */
import { FRAME, type Frame } from './frames.ts'
import { FAULT_CODES, MAX_FAULT_CHARS, type FaultCode, type JobShape, type SandboxTask, type TaskFault, type TaskOutcome, type TaskOutput } from './types.ts'
import type { Reply } from './executor.ts'

type Fields = Record<string, unknown>

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && value as number >= 0
const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A fault as an executor told it, with the JOB_* code that `inspect` throws for it. */
export interface ToldFault { fault: TaskFault, job: string | undefined, log: string }

/** @returns undefined where the frame is not a well-formed fault */
export function readFault ({ kind, header, blobs }: Frame, maxLogBytes: number): ToldFault | undefined {
  if (kind !== FRAME.fault || !isFields(header) || blobs.length !== 1) return undefined
  const { code, message, record, job } = header
  const log = readLog(blobs[0], maxLogBytes)
  if (!FAULT_CODES.includes(code as FaultCode) || typeof message !== 'string' || message.length > MAX_FAULT_CHARS || !isCount(record) || log === undefined) return undefined
  if (job !== undefined && (typeof job !== 'string' || !/^JOB_[A-Z_]{1,32}$/.test(job))) return undefined
  return { fault: { code: code as FaultCode, message, record }, job, log }
}

function readLog (bytes: Uint8Array | undefined, maxBytes: number): string | undefined {
  return bytes === undefined || bytes.length > maxBytes ? undefined : new TextDecoder().decode(bytes)
}

function readOutputs (told: unknown, blobs: readonly Uint8Array[], { stage, limits }: SandboxTask): TaskOutput[] | undefined {
  if (!Array.isArray(told) || told.length !== blobs.length || told.length > Math.max(1, stage.partitions)) return undefined
  const outputs: TaskOutput[] = []
  let previous = -1
  let bytesOut = 0
  for (const [i, bytes] of blobs.entries()) {
    const { partition, records } = isFields(told[i]) ? told[i] : {} as Fields
    bytesOut += bytes.length
    if (!isCount(partition) || partition <= previous || partition >= Math.max(1, stage.partitions) || bytesOut > limits.outputBytes) return undefined
    // a record is a line: JSON text holds no newline of its own, so there cannot be more records than bytes
    if (!isCount(records) || records === 0 || records > bytes.length) return undefined
    previous = partition
    outputs.push({ partition, bytes, records })
  }
  return outputs
}

/** @returns undefined where the frame is not a well-formed answer to the task */
function readDone ({ kind, header, blobs }: Frame, task: SandboxTask, wallMs: number): TaskOutcome | undefined {
  if (kind !== FRAME.done || !isFields(header)) return undefined
  const log = readLog(blobs[0], task.limits.logBytes)
  const outputs = readOutputs(header.outputs, blobs.slice(1), task)
  const { recordsIn, recordsOut, cpuMs } = header
  if (log === undefined || outputs === undefined || !isCount(recordsIn) || !isCount(recordsOut) || !isCount(cpuMs)) return undefined
  const bytesIn = sumOfBytes(task.input)
  if (recordsIn > bytesIn || recordsOut !== outputs.reduce((sum, { records }) => sum + records, 0)) return undefined
  const bytesOut = outputs.reduce((sum, { bytes }) => sum + bytes.length, 0)
  return { ok: true, outputs, log, counters: { recordsIn, recordsOut, bytesIn, bytesOut, wallMs: Math.round(wallMs), cpuMs } }
}

export function sumOfBytes (pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0)
}

export function faultOutcome (code: FaultCode, message: string): TaskOutcome & { ok: false } {
  return { ok: false, fault: { code, message, record: 0 }, log: '' }
}

/**
 * @param reply - not `aborted`
 * @param wallMs - between request and reply
 */
export function outcomeOf (reply: Reply, task: SandboxTask, wallMs: number): TaskOutcome {
  if (reply.type === 'frame') {
    const told = readFault(reply.frame, task.limits.logBytes)
    if (told !== undefined) return { ok: false, fault: told.fault, log: told.log }
    return readDone(reply.frame, task, wallMs) ?? faultOutcome('crash', 'the executor gave a malformed answer')
  }
  if (reply.type === 'timeout') return faultOutcome('timeout', `the task ran longer than its ${task.limits.timeoutMs} ms and was killed`)
  // V8 and malloc abort, or worse, when memory runs out for good
  if (reply.type === 'exit' && reply.isHeavy) return faultOutcome('memory', `the task wanted more than its ${Math.round(task.limits.memoryBytes / 1048576)} MiB of memory, and its executor ended (${reply.detail})`)
  return faultOutcome('crash', `the executor ended: ${'detail' in reply ? reply.detail : reply.type}`)
}

/** @returns undefined where the frame is not a well-formed shape */
export function readShape ({ kind, header }: Frame): JobShape | undefined {
  if (kind !== FRAME.shape || !isFields(header)) return undefined
  const { clean, map, combine, reduce } = header
  if (typeof clean !== 'boolean' || typeof map !== 'boolean' || typeof combine !== 'boolean' || typeof reduce !== 'boolean') return undefined
  return { clean, map, combine, reduce }
}
