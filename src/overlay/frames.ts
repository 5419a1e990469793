/**
 * Ordered one-way frames: one stream per peer and protocol, opened by the sender, dropped and opened anew on failure.
 */
import { pipe } from 'it-pipe'
import { BoundedReader, FrameBatcher, frames, streamClosed } from './streams.ts'
import type { ConclaveError } from '../errors.ts'
import type { LogEvent } from './overlay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Stream } from '@libp2p/interface'

export interface FrameLimits { maxFrameBytes: number, maxFrameQueueBytes: number }

/** The sending side. Takes frames at once and opens its stream meanwhile; once closed it takes none, and another must be made. */
export class FrameSender {
  readonly #limits: FrameLimits
  readonly #batcher: FrameBatcher
  readonly #onClosed: () => void
  #stream: Stream | undefined
  #isClosed = false

  /** @param onClosed - called once, when it takes no more frames */
  constructor (limits: FrameLimits, open: () => Promise<Stream>, onClosed: () => void) {
    this.#limits = limits
    this.#batcher = new FrameBatcher(limits.maxFrameQueueBytes)
    this.#onClosed = onClosed
    void this.#run(open)
  }

  /** @returns false: too large, queue full, or closed; the frame will not be sent */
  send (frame: Uint8Array): boolean {
    return frame.byteLength <= this.#limits.maxFrameBytes && this.#batcher.push(frame)
  }

  /** Drop what waits and reset the stream. Idempotent. */
  close (error: Error): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#batcher.close()
    this.#stream?.abort(error)
    this.#onClosed()
  }

  async #run (open: () => Promise<Stream>): Promise<void> {
    try {
      const stream = await open()
      if (this.#isClosed) {
        stream.abort(streamClosed())
        return
      }
      this.#stream = stream
      stream.addEventListener('close', event => { this.close(streamClosed(event.error)) })
      this.#batcher.attach(stream)
    } catch (error) {
      this.close(error instanceof Error ? error : streamClosed(error))
    }
  }
}

export interface FrameServerInit {
  from: PeerIdStr
  protocol: string
  maxFrameBytes: number
  /** asked before each frame */
  refusal: () => ConclaveError | undefined
  onFrame: (from: PeerIdStr, frame: Uint8Array) => void
  log: (event: LogEvent) => void
}

/** The receiving side. Ends with the stream, which it resets where the peer breaks a limit or may not speak. Never rejects. */
export async function serveFrames (stream: Stream, init: FrameServerInit): Promise<void> {
  const reader = new BoundedReader(stream, init.maxFrameBytes)
  try {
    await pipe(reader, source => frames(source, init.maxFrameBytes), async source => {
      for await (const frame of source) {
        const refusal = init.refusal()
        if (refusal !== undefined) throw refusal
        init.onFrame(init.from, frame)
      }
    })
    await stream.close({ signal: AbortSignal.timeout(5_000) })
  } catch (error) {
    const cause = error instanceof Error ? error : streamClosed(error)
    if (cause.name !== 'STREAM_CLOSED') init.log({ level: 'warn', event: 'frames:peer-refused', protocol: init.protocol, peer: init.from, code: cause.name, message: cause.message })
    stream.abort(cause)
  }
}
