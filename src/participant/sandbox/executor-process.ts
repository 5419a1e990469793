/**
 * Main of an executor process: reads frames from descriptor 3, runs them in isolates, answers on descriptor 3. Trusted by nobody.
 *
 * Job code runs on a thread of its isolate, so that this one stays awake: it ends the process when the participant is gone
 * (end of file on descriptor 3, even while a job spins) and when the process grows beyond its bound, which no V8 flag ensures.
 * Arguments: path of isolated-vm's addon, memory of the isolate in bytes, bound of the resident set beyond its start in bytes.
 */
import { isAscii, isUtf8 } from 'node:buffer'
import { Socket } from 'node:net'
import { setPriority } from 'node:os'
import { encodeFrame, FRAME, FrameReader, type Frame } from './frames.ts'
import { Isolates, JobFault } from './isolates.ts'
import { probe } from './probes.ts'
import type { KernelResult, KernelTask } from './kernel/kernel.ts'
import type { FaultCode, SandboxTask } from './types.ts'

/** What a task frame's header holds; the blobs are code, then inputs. Written by the participant, so it is trusted. */
export interface TaskHeader extends Pick<SandboxTask, 'stage' | 'encoding' | 'limits' | 'seed' | 'nowMs'> { key: string }

const CONTROL_FD = 3
const WATCH_MS = 20
const MAX_REQUEST_BYTES = 0xFFFF_FFFF

process.env.TZ = 'UTC'
const addon = String(process.argv[2])
const memoryBytes = Number(process.argv[3])
const startKib = process.resourceUsage().maxRSS
const heavyKib = startKib + memoryBytes / 1024
const maxResidentKib = startKib + Number(process.argv[4]) / 1024

/** Ends at once, with no word to whatever still runs. As first process of a namespace, SIGKILL to itself would be ignored. */
function die (): never {
  process.kill(process.pid, 'SIGKILL')
  return process.abort()
}

try {
  setPriority(0, 10)
} catch {
  // a machine that refuses niceness still runs tasks; the participant starts us through nice(1) where there is one
}

const socket = new Socket({ fd: CONTROL_FD, readable: true, writable: true })
socket.on('error', die)
socket.on('end', die)
socket.on('close', die)

function send (kind: number, header: unknown, blobs: readonly Uint8Array[] = []): void {
  socket.cork()
  for (const piece of encodeFrame(kind, header, blobs)) socket.write(piece)
  socket.uncork()
}

function sendFault (code: FaultCode, message: string, record = 0, log: Uint8Array = new Uint8Array(), job?: string): void {
  send(FRAME.fault, { code, message: message.slice(0, 2048), record, job }, [log])
}

let isEnding = false
/** The isolate's thread is beyond rescue, so say why, and end. */
function outOfMemory (): void {
  if (isEnding) return
  isEnding = true
  sendFault('memory', `the job wanted more than its ${Math.round(memoryBytes / 1048576)} MiB of memory`, 0, undefined, 'JOB_MEMORY')
  socket.end(die)
}

let isHeavy = false
function watchMemory (): void {
  const { maxRSS } = process.resourceUsage()
  if (!isHeavy && maxRSS > heavyKib) {
    isHeavy = true
    send(FRAME.heavy, {})
  }
  if (maxRSS > maxResidentKib) outOfMemory()
}

const isolates = new Isolates({ addon, memoryBytes, onOutOfMemory: outOfMemory })

/** @returns the text, or undefined where the bytes are not in the encoding */
function decode (bytes: Uint8Array, encoding: 'utf8' | 'latin1'): string | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (encoding === 'latin1' || isAscii(buffer)) return buffer.toString('latin1')
  return isUtf8(buffer) ? buffer.toString('utf8') : undefined
}

/** UTF-8, cut to `maxBytes` without breaking a character. */
function encodeLog (text: string, maxBytes: number): Uint8Array {
  const bytes = Buffer.alloc(Math.min(maxBytes, text.length * 3))
  return bytes.subarray(0, bytes.write(text))
}

async function runTask ({ key, stage, encoding, limits, seed, nowMs }: TaskHeader, [code, ...inputs]: Uint8Array[]): Promise<void> {
  const cpu = process.cpuUsage()
  const texts: string[] = []
  for (const [i, input] of inputs.entries()) {
    const text = decode(input, stage.kind === 'reduce' ? 'utf8' : encoding)
    if (text === undefined) return sendFault('denied', `input ${i + 1} is not valid UTF-8`)
    texts.push(text)
  }
  const job = await isolates.load(key, code as Uint8Array)
  const task: KernelTask = { ...stage, seed, nowMs, maxOutputChars: limits.outputBytes, maxLogChars: limits.logBytes }
  const result: KernelResult = await job.run(task, stage.kind === 'map' && texts.length === 1 ? texts[0] as string : texts)
  const log = encodeLog(result.log, limits.logBytes)
  if (result.fault !== undefined) return sendFault(result.fault.code as FaultCode, result.fault.message, result.fault.record, log)
  const outputs = result.outputs.map(({ text }) => Buffer.from(text))
  const bytesOut = outputs.reduce((sum, { length }) => sum + length, 0)
  if (bytesOut > limits.outputBytes) return sendFault('output', `the output of ${bytesOut} bytes is above the limit of ${limits.outputBytes}`, 0, log)
  const { user, system } = process.cpuUsage(cpu)
  send(FRAME.done, {
    outputs: result.outputs.map(({ partition, records }) => ({ partition, records })),
    recordsIn: result.recordsIn,
    recordsOut: result.recordsOut,
    cpuMs: Math.round((user + system) / 1000)
  }, [log, ...outputs])
}

async function answer ({ kind, header, blobs }: Frame): Promise<void> {
  if (kind === FRAME.task) await runTask(header as TaskHeader, blobs)
  else if (kind === FRAME.inspect) send(FRAME.shape, await (await isolates.load('', blobs[0] as Uint8Array)).shape())
  else if (kind === FRAME.probe) send(FRAME.probed, await probe(header as Parameters<typeof probe>[0]))
}

const reader = new FrameReader(MAX_REQUEST_BYTES)
// One request at a time: the participant sends the next after the answer.
socket.on('data', chunk => {
  for (const frame of reader.push(chunk)) {
    const watch = setInterval(watchMemory, WATCH_MS)
    answer(frame).catch((error: unknown) => {
      if (isEnding) return
      if (error instanceof JobFault) sendFault(error.fault, error.message, 0, undefined, error.job)
      else sendFault('crash', `the executor failed: ${String(error)}`)
    }).finally(() => { clearInterval(watch) })
  }
})
send(FRAME.ready, {})
