/**
 * Streams of libp2p made safe: the one module that reads and writes them. Everything else is composed of the four parts here and in
 * `framer.ts`: a reader that pauses the peer, a writer that waits for the drain event, a frame source, a batcher.
 *
 * libp2p 3 loses backpressure in three quiet ways, each met here: iterating a stream buffers without bound, its drain promise works once, and
 * data that arrives before a listener exists counts against a limit that resets the stream.
 */
import { ConclaveError } from '../errors.ts'
import { encodeFrames, FRAME_HEADER_BYTES, FrameDecoder } from './framer.ts'
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'

/** Largest piece given to the muxer at once, so that streams take turns and no write buffer grows past it. */
const MAX_SEND_BYTES = 256 * 1024

/** @returns the error of a stream that is gone, with its cause */
export function streamClosed (cause?: unknown): ConclaveError {
  const why = cause instanceof Error && cause.message !== '' ? `: ${cause.message}` : ''
  return new ConclaveError('STREAM_CLOSED', `the stream to the peer was closed${why}`, { next: 'try again; `conclave peers` shows who is connected', cause })
}

/**
 * Resolves when the stream takes more bytes. Waits for the event, each time anew.
 *
 * @throws STREAM_CLOSED; the signal's reason
 */
export async function drained (stream: Stream, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  while (stream.writableNeedsDrain) {
    if (stream.status !== 'open' && stream.status !== 'closing') throw streamClosed()
    await new Promise<void>((resolve, reject) => {
      const settle = (then: () => void): void => {
        stream.removeEventListener('drain', onDrain)
        stream.removeEventListener('close', onClose)
        signal?.removeEventListener('abort', onAbort)
        then()
      }
      const onDrain = (): void => { settle(resolve) }
      const onClose = (event: StreamCloseEvent): void => { settle(() => { reject(streamClosed(event.error)) }) }
      const onAbort = (): void => { settle(() => { reject(signal?.reason) }) }
      stream.addEventListener('drain', onDrain)
      stream.addEventListener('close', onClose)
      signal?.addEventListener('abort', onAbort)
    })
  }
}

/**
 * Write bytes in pieces, waiting for the drain event between them.
 *
 * @throws STREAM_CLOSED; the signal's reason, after which part of the bytes may have been sent
 */
export async function writeBytes (stream: Stream, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  for (let offset = 0; offset < bytes.byteLength; offset += MAX_SEND_BYTES) {
    await drained(stream, signal)
    send(stream, bytes.subarray(offset, offset + MAX_SEND_BYTES))
  }
  await drained(stream, signal)
}

function send (stream: Stream, bytes: Uint8Array): void {
  try {
    stream.send(bytes)
  } catch (error) {
    throw streamClosed(error)
  }
}

/**
 * The bytes of a stream, for one consumer. Attaches at once, so nothing that arrives while the consumer is still being set up is lost.
 *
 * Invariant: holds at most `markBytes` and one chunk; beyond the mark the stream is paused, and the peer stops once its window is used up.
 * Ends when the peer half-closed. Throws STREAM_CLOSED where the stream ended in any other way, after what had arrived was delivered.
 */
export class BoundedReader implements AsyncIterable<Uint8Array> {
  readonly #stream: Stream
  readonly #markBytes: number
  readonly #chunks: Uint8Array[] = []
  #queuedBytes = 0
  #remoteFinished: boolean
  #ended = false
  #failure: ConclaveError | undefined
  #wake: (() => void) | undefined
  #discarding = false
  #isResuming = false

  constructor (stream: Stream, markBytes: number) {
    this.#stream = stream
    this.#markBytes = markBytes
    this.#remoteFinished = stream.remoteWriteStatus === 'closed' && (stream.status === 'open' || stream.status === 'closing')
    stream.addEventListener('message', this.#onMessage)
    stream.addEventListener('remoteCloseWrite', this.#onRemoteCloseWrite)
    stream.addEventListener('end', this.#onEnd)
    stream.addEventListener('close', this.#onClose)
    if (stream.readableEnded) this.#onEnd()
    else if (stream.status !== 'open' && stream.status !== 'closing') this.#fail(undefined)
  }

  /** Bytes that wait for the consumer. */
  get queuedBytes (): number {
    return this.#queuedBytes
  }

  /** Whether the peer will send nothing more. */
  get ended (): boolean {
    return this.#ended || this.#failure !== undefined
  }

  /** Drop what waits and whatever still comes: the consumer has gone. */
  discard (): void {
    this.#discarding = true
    this.#chunks.length = 0
    this.#queuedBytes = 0
    this.#resume()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<Uint8Array, void, undefined> {
    while (true) {
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#queuedBytes -= chunk.byteLength
        if (this.#queuedBytes <= this.#markBytes / 2) this.#resume()
        yield chunk
      } else if (this.#failure !== undefined) {
        throw this.#failure
      } else if (this.#ended) {
        return
      } else {
        await new Promise<void>(resolve => { this.#wake = resolve })
      }
    }
  }

  readonly #onMessage = (event: StreamMessageEvent): void => {
    if (this.#discarding) return
    const data = event.data
    for (const chunk of data instanceof Uint8Array ? [data] : data) {
      this.#chunks.push(chunk)
      this.#queuedBytes += chunk.byteLength
    }
    if (!this.#isResuming) this.#pauseAboveMark()
    this.#wake?.()
  }

  readonly #onRemoteCloseWrite = (): void => {
    this.#remoteFinished = true
  }

  readonly #onEnd = (): void => {
    if (this.#remoteFinished) this.#ended = true
    else this.#failure ??= streamClosed()
    this.#wake?.()
  }

  readonly #onClose = (event: StreamCloseEvent): void => {
    if (event.error !== undefined) this.#fail(event.error, event.local === true)
    else if (!this.#remoteFinished) this.#fail(undefined)
    else if (this.#stream.readBufferLength === 0) this.#onEnd()
    // else: what is buffered below us comes once we resume, and `end` after it
  }

  #fail (cause: Error | undefined, dropUnread = false): void {
    if (dropUnread) this.discard()
    if (!this.#ended) this.#failure ??= streamClosed(cause)
    this.#wake?.()
  }

  #resume (): void {
    if (this.#stream.readStatus !== 'paused') return
    this.#isResuming = true
    this.#stream.resume()
    this.#isResuming = false
    this.#pauseAboveMark()
  }

  #pauseAboveMark (): void {
    if (this.#queuedBytes > this.#markBytes && this.#stream.readStatus === 'readable') this.#stream.pause()
  }
}

/**
 * Cut chunks into frames; made to stand in a pipe after a reader.
 *
 * @param maxFrameBytes - largest frame that is taken
 * @throws FRAME_TOO_LARGE; STREAM_CLOSED where the stream ended inside a frame
 */
export async function * frames (source: AsyncIterable<Uint8Array>, maxFrameBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  const decoder = new FrameDecoder(maxFrameBytes)
  for await (const chunk of source) {
    const verdict = decoder.push(chunk)
    if (verdict.verdict !== 'accept') throw new ConclaveError(verdict.code, verdict.reason)
    yield * verdict.value
  }
  if (decoder.pendingBytes > 0) throw streamClosed(new Error('it ended inside a frame'))
}

/**
 * Frames to one stream, sent together once per turn of the event loop: a send per frame costs six times as much.
 * Takes frames before its stream exists, and sends them when it is attached.
 *
 * Invariant: at most `maxQueuedBytes` wait here, headers included.
 */
export class FrameBatcher {
  readonly #maxQueuedBytes: number
  #stream: Stream | undefined
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #isScheduled = false
  #isClosed = false
  #onRoom: Array<() => void> = []

  constructor (maxQueuedBytes: number) {
    this.#maxQueuedBytes = maxQueuedBytes
  }

  /** Bytes that wait here; what the muxer holds comes on top. */
  get queuedBytes (): number {
    return this.#queuedBytes
  }

  /**
   * @param frame - kept until it is sent: not to be changed
   * @returns false where the queue is full or the stream gone; the frame is then dropped
   */
  push (frame: Uint8Array): boolean {
    const bytes = FRAME_HEADER_BYTES + frame.byteLength
    if (this.#isClosed || this.#queuedBytes + bytes > this.#maxQueuedBytes) return false
    this.#queue.push(frame)
    this.#queuedBytes += bytes
    this.#schedule()
    return true
  }

  /** Resolves when at most `bytes` wait, or when nothing will be sent any more. */
  async room (bytes: number): Promise<void> {
    while (!this.#isClosed && this.#queuedBytes > bytes) {
      await new Promise<void>(resolve => { this.#onRoom.push(resolve) })
    }
  }

  /** Give it its stream, once. */
  attach (stream: Stream): void {
    this.#stream = stream
    stream.addEventListener('close', () => { this.close() })
    this.#schedule()
  }

  /** Drop what waits and take nothing more. The stream is its owner's to close. */
  close (): void {
    this.#isClosed = true
    this.#queue = []
    this.#queuedBytes = 0
    this.#wakeWaiters()
  }

  #schedule (): void {
    if (this.#isScheduled || this.#isClosed || this.#stream === undefined || this.#queue.length === 0) return
    this.#isScheduled = true
    const stream = this.#stream
    setImmediate(() => {
      this.#flush(stream).catch((error: unknown) => {
        this.close()
        stream.abort(error instanceof Error ? error : new Error(String(error)))
      }).finally(() => {
        this.#isScheduled = false
        this.#schedule()
      })
    })
  }

  async #flush (stream: Stream): Promise<void> {
    while (this.#queue.length > 0) {
      let count = 0
      let bytes = 0
      while (count < this.#queue.length && (count === 0 || bytes < MAX_SEND_BYTES)) {
        bytes += FRAME_HEADER_BYTES + (this.#queue[count]?.byteLength ?? 0)
        count++
      }
      const batch = encodeFrames(this.#queue.splice(0, count))
      await writeBytes(stream, batch)
      if (this.#isClosed) return
      this.#queuedBytes -= bytes
      this.#wakeWaiters()
    }
  }

  #wakeWaiters (): void {
    const waiters = this.#onRoom
    this.#onRoom = []
    for (const wake of waiters) wake()
  }
}
