/**
 * The asking side of request/response: many requests in flight on one long-lived stream to one peer for one protocol.
 * Spec: protocols/rpc/README.md.
 */
import { pipe } from 'it-pipe'
import { decodeReply, encodeCancel, encodeRequest } from '../../protocols/rpc/codec.ts'
import { rpcLimits } from '../../protocols/rpc/constants.ts'
import { ConclaveError } from '../errors.ts'
import { BoundedReader, FrameBatcher, frames, streamClosed } from './streams.ts'
import type { RpcLimits } from '../../protocols/rpc/constants.ts'
import type { Stream } from '@libp2p/interface'

interface OpenRequest {
  readonly id: number
  readonly frame: Uint8Array
  /** Ends it once; later calls do nothing. */
  settle: (outcome: { body: Uint8Array } | { error: unknown }) => void
}

export interface RpcChannelInit {
  protocol: string
  maxQueued: number
  /** opens the stream that the channel then lives and dies with */
  open: () => Promise<Stream>
  /** called once, when it takes no more requests */
  onClosed: () => void
}

/**
 * Invariants: at most `maxInFlight` requests are on the wire and at most `maxQueued` wait for their turn; every request is settled exactly
 * once, at the latest when its time is over or the channel closes.
 */
export class RpcChannel {
  readonly #init: RpcChannelInit
  readonly #limits: RpcLimits
  readonly #batcher: FrameBatcher
  readonly #waiting = new Map<number, OpenRequest>()
  readonly #inFlight = new Map<number, OpenRequest>()
  #stream: Stream | undefined
  #failure: Error | undefined
  #lastId = 0

  constructor (init: RpcChannelInit) {
    this.#init = init
    this.#limits = rpcLimits(init.protocol)
    // room for one request beyond a full one, so that a large request never waits for an empty queue
    this.#batcher = new FrameBatcher(2 * this.#limits.maxFrameBytes + 64 * 1024)
    void this.#run()
  }

  /**
   * @param options - `timeoutMs` counts from now, waiting included
   * @throws as `Overlay.request`
   */
  async request (body: Uint8Array, options: { signal?: AbortSignal | undefined, timeoutMs: number }): Promise<Uint8Array> {
    const { signal, timeoutMs } = options
    signal?.throwIfAborted()
    if (this.#failure !== undefined) throw this.#failure
    const id = this.#nextId()
    const frame = encodeRequest(id, body, timeoutMs)
    if (frame.byteLength > this.#limits.maxFrameBytes) {
      throw new ConclaveError('REQUEST_TOO_LARGE', `a request of ${frame.byteLength} bytes for ${this.#init.protocol}, which takes ${this.#limits.maxFrameBytes}`, {
        next: 'send less at once', details: { bytes: frame.byteLength, maxBytes: this.#limits.maxFrameBytes }
      })
    }
    if (this.#waiting.size >= this.#init.maxQueued) {
      throw new ConclaveError('BUSY', `${this.#waiting.size} requests already wait for this peer`, { next: 'wait for answers before asking more' })
    }
    return await new Promise<Uint8Array>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#giveUp(id, new ConclaveError('REQUEST_TIMEOUT', `the peer did not answer within ${timeoutMs} ms`, {
          next: 'try again; `conclave peers` shows who is connected', details: { protocol: this.#init.protocol, timeoutMs }
        }))
      }, timeoutMs)
      const onAbort = (): void => { this.#giveUp(id, signal?.reason) }
      signal?.addEventListener('abort', onAbort, { once: true })
      const settle: OpenRequest['settle'] = outcome => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        this.#waiting.delete(id)
        this.#inFlight.delete(id)
        if ('body' in outcome) resolve(outcome.body)
        else reject(outcome.error)
      }
      this.#waiting.set(id, { id, frame, settle })
      this.#send()
    })
  }

  /** Fail every open request and reset the stream. Idempotent. */
  close (error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#init.onClosed()
    this.#batcher.close()
    this.#stream?.abort(error)
    for (const open of [...this.#inFlight.values(), ...this.#waiting.values()]) open.settle({ error })
  }

  async #run (): Promise<void> {
    try {
      const stream = await this.#init.open()
      if (this.#failure !== undefined) {
        stream.abort(this.#failure)
        return
      }
      const reader = new BoundedReader(stream, this.#limits.maxFrameBytes)
      this.#stream = stream
      this.#batcher.attach(stream)
      this.#send()
      await pipe(reader, source => frames(source, this.#limits.maxFrameBytes), async replies => {
        for await (const reply of replies) this.#onReply(reply)
      })
      this.close(streamClosed())
    } catch (error) {
      this.close(error instanceof Error ? error : streamClosed(error))
    }
  }

  #onReply (frame: Uint8Array): void {
    const reply = decodeReply(frame)
    if (reply.verdict !== 'accept') throw streamClosed(new Error(reply.reason))
    // an unknown id is the answer to a request that was given up
    this.#inFlight.get(reply.value.id)?.settle(reply.value)
    this.#send()
  }

  #send (): void {
    if (this.#stream === undefined) return
    for (const open of this.#waiting.values()) {
      if (this.#inFlight.size >= this.#limits.maxInFlight) return
      if (!this.#batcher.push(open.frame)) {
        void this.#batcher.room(0).then(() => { if (this.#failure === undefined) this.#send() })
        return
      }
      this.#waiting.delete(open.id)
      this.#inFlight.set(open.id, open)
    }
  }

  #giveUp (id: number, error: unknown): void {
    const sent = this.#inFlight.get(id)
    if (sent !== undefined) this.#batcher.push(encodeCancel(id)) // a lost cancel costs the peer work, us nothing
    const open = sent ?? this.#waiting.get(id)
    open?.settle({ error })
    this.#send()
  }

  #nextId (): number {
    do {
      this.#lastId = this.#lastId % 0xffffffff + 1
    } while (this.#inFlight.has(this.#lastId) || this.#waiting.has(this.#lastId))
    return this.#lastId
  }
}
