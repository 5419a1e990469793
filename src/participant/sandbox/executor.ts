/**
 * One executor process, seen from the participant: one request at a time, and whatever it sends is hostile.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { FRAME, FrameReader, type Frame } from './frames.ts'

/** A process that did not start by then never will. */
const START_TIMEOUT_MS = 20_000
/** A killed process that is not gone by then is given up, and its slot with it. */
const GONE_TIMEOUT_MS = 10_000
/** Between the end of its stream and the end of the process. */
const END_GRACE_MS = 500
const IDLE_FRAME_BYTES = 64
const MAX_STDERR_CHARS = 2000

export interface ExecutorInit {
  command: readonly [string, ...string[]]
  controlFd: number
  seccomp: Uint8Array | undefined
  keepStderr: boolean
}

/** How a request ended. Only `frame` leaves the process alive. */
export type Reply =
  | { type: 'frame', frame: Frame }
  | { type: 'timeout' }
  | { type: 'aborted' }
  | { type: 'malformed', detail: string }
  | { type: 'exit', detail: string, isHeavy: boolean }

export class Executor {
  readonly pid: number | undefined
  /** Resolves when the process and all that held its descriptor are gone; to false where that could not be confirmed. Never rejects. */
  readonly gone: Promise<boolean>
  /** Requests that were sent. */
  requests = 0
  /** Milliseconds spent in requests. */
  busyMs = 0
  /** First words on stderr, if they were asked for. */
  stderr = ''
  readonly #child: ChildProcess
  readonly #socket: Duplex
  readonly #reader = new FrameReader(IDLE_FRAME_BYTES)
  readonly #ready: Promise<Reply>
  #settle: ((reply: Reply) => void) | undefined
  #end: Reply | undefined
  #isHeavy = false
  #giveUp: ((isConfirmed: boolean) => void) | undefined

  constructor ({ command: [file, ...args], controlFd, seccomp, keepStderr }: ExecutorInit) {
    const stdio: ('ignore' | 'pipe')[] = ['ignore', 'ignore', keepStderr ? 'pipe' : 'ignore', 'pipe']
    if (seccomp !== undefined) stdio.push('pipe')
    // a session of its own: Ctrl+C in the daemon's terminal is the daemon's business
    this.#child = spawn(file, args, { stdio, env: {}, cwd: '/', detached: true })
    this.pid = this.#child.pid
    this.#socket = this.#child.stdio[controlFd] as Duplex
    this.gone = new Promise(resolve => {
      this.#giveUp = resolve
      // `close` comes after the process has ended and the last holder of its descriptors has let go
      this.#child.once('close', () => { resolve(true) })
    })
    this.#child.once('error', error => { this.#exit(error.message) })
    this.#child.once('exit', (code, signal) => { this.#exit(signal ?? `exit code ${code}`) })
    this.#socket.on('error', error => { this.#exit(error.message) })
    // mostly the first sign of its end, and `exit` says more; a process that lives on without its descriptor is of no use
    this.#socket.on('end', () => { setTimeout(() => { this.kill('it closed its descriptor') }, END_GRACE_MS) })
    this.#socket.on('data', (chunk: Uint8Array) => { this.#onData(chunk) })
    if (seccomp !== undefined) {
      const pipe = this.#child.stdio[4] as Duplex
      pipe.on('error', error => { this.#exit(error.message) })
      pipe.end(seccomp)
    }
    this.#child.stderr?.on('data', (chunk: Buffer) => { this.stderr = (this.stderr + chunk.toString()).slice(0, MAX_STDERR_CHARS) })
    this.#ready = this.#await(START_TIMEOUT_MS, IDLE_FRAME_BYTES, undefined)
  }

  /** True once the process can take no further request. */
  get isEnded (): boolean {
    return this.#end !== undefined
  }

  /** @returns undefined when the process has started, else why it has not; then it is being killed */
  async started (): Promise<string | undefined> {
    const reply = await this.#ready
    if (reply.type === 'frame' && reply.frame.kind === FRAME.ready) return undefined
    this.kill()
    return reply.type === 'frame' ? 'it spoke nonsense' : 'detail' in reply ? reply.detail : reply.type
  }

  /**
   * Send a request and wait for its answer, after `started`. Unless that is a frame, the process has been killed; see `gone`.
   *
   * @param pieces - an encoded frame, see `encodeFrame`
   * @param timeoutMs - wall time
   */
  async request (pieces: readonly Uint8Array[], { timeoutMs, maxReplyBytes, signal }: { timeoutMs: number, maxReplyBytes: number, signal?: AbortSignal }): Promise<Reply> {
    if (this.#end !== undefined) return this.#end
    const startMs = performance.now()
    this.requests++
    const reply = this.#await(timeoutMs, maxReplyBytes, signal)
    this.#socket.cork()
    for (const piece of pieces) this.#socket.write(piece)
    this.#socket.uncork()
    const settled = await reply
    this.busyMs += performance.now() - startMs
    if (settled.type !== 'frame') this.kill()
    return settled
  }

  /** SIGKILL, to its whole group. */
  kill (why = 'killed'): void {
    this.#exit(why)
    if (this.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) {
      this.#socket.destroy()
      if (this.pid === undefined) this.#giveUp?.(true)
      return
    }
    this.#ref(true)
    try {
      process.kill(-this.pid, 'SIGKILL')
    } catch {
      // the group is not there yet, or not any more
      this.#child.kill('SIGKILL')
    }
    setTimeout(() => { this.#giveUp?.(false) }, GONE_TIMEOUT_MS).unref()
  }

  /** An idle process does not keep the participant's own process alive. */
  #ref (isBusy: boolean): void {
    const socket = this.#socket as Duplex & Partial<Record<'ref' | 'unref', () => void>>
    if (isBusy) {
      this.#child.ref()
      socket.ref?.()
    } else {
      this.#child.unref()
      socket.unref?.()
    }
  }

  #await (timeoutMs: number, maxReplyBytes: number, signal: AbortSignal | undefined): Promise<Reply> {
    this.#reader.maxFrameBytes = maxReplyBytes
    this.#ref(true)
    return new Promise(resolve => {
      const timer = setTimeout(() => { settle({ type: 'timeout' }) }, timeoutMs)
      const onAbort = (): void => { settle({ type: 'aborted' }) }
      const settle = (reply: Reply): void => {
        if (this.#settle !== settle) return
        this.#settle = undefined
        this.#reader.maxFrameBytes = IDLE_FRAME_BYTES
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        if (reply.type === 'frame') this.#ref(false)
        resolve(reply)
      }
      this.#settle = settle
      signal?.addEventListener('abort', onAbort)
      if (signal?.aborted === true) onAbort()
    })
  }

  #onData (chunk: Uint8Array): void {
    if (this.#end !== undefined) return
    try {
      for (const frame of this.#reader.push(chunk)) {
        if (frame.kind === FRAME.heavy && !this.#isHeavy) {
          this.#isHeavy = true
          continue
        }
        if (this.#settle === undefined) throw new Error('it spoke without being asked')
        this.#settle({ type: 'frame', frame })
      }
    } catch (error) {
      this.#finish({ type: 'malformed', detail: error instanceof Error ? error.message : String(error) })
      this.kill()
    }
  }

  #exit (detail: string): void {
    this.#finish({ type: 'exit', detail, isHeavy: this.#isHeavy })
  }

  #finish (reply: Reply): void {
    this.#end ??= reply
    this.#settle?.(this.#end)
  }
}

