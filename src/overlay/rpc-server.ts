/**
 * The answering side of request/response: one inbound stream of one peer. Spec: protocols/rpc/README.md.
 */
import { pipe } from 'it-pipe'
import { decodeRequest, encodeErrorReply, encodeReply } from '../../protocols/rpc/codec.ts'
import { MAX_RPC_TIMEOUT_MS, rpcLimits } from '../../protocols/rpc/constants.ts'
import { ConclaveError } from '../errors.ts'
import { BoundedReader, FrameBatcher, frames, streamClosed } from './streams.ts'
import type { LogEvent, RequestContext } from './overlay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Stream } from '@libp2p/interface'

export type RequestHandler = (request: Uint8Array, ctx: RequestContext) => Promise<Uint8Array>

export interface RpcServerInit {
  from: PeerIdStr
  protocol: string
  /** asked before each request, since a member may be revoked at any time; a refusal is what the requester gets */
  refusal: () => ConclaveError | undefined
  handler: RequestHandler
  log: (event: LogEvent) => void
}

/**
 * Answer until the stream ends; then every handler's signal has been aborted and the stream is closed or reset. Never rejects.
 *
 * Invariant: at most `maxInFlight` handlers run; beyond it, and while answers pile up, nothing is read, which pauses the peer.
 */
export async function serveRpc (stream: Stream, init: RpcServerInit): Promise<void> {
  const limits = rpcLimits(init.protocol)
  const reader = new BoundedReader(stream, limits.maxFrameBytes)
  const replies = new FrameBatcher((limits.maxInFlight + 2) * (limits.maxFrameBytes + RPC_SLACK_BYTES))
  replies.attach(stream)
  const running = new Map<number, AbortController>()
  let wakeReader: (() => void) | undefined

  async function answer (id: number, body: Uint8Array, timeoutMs: number): Promise<void> {
    const controller = new AbortController()
    running.set(id, controller)
    const timer = setTimeout(() => { controller.abort(new ConclaveError('REQUEST_TIMEOUT', 'the requester waits no longer')) }, timeoutMs > 0 ? timeoutMs : MAX_RPC_TIMEOUT_MS)
    let reply: Uint8Array
    try {
      const refusal = init.refusal()
      if (refusal !== undefined) throw refusal
      reply = encodeReply(id, await init.handler(body, { from: init.from, signal: controller.signal }))
      if (reply.byteLength > limits.maxFrameBytes) throw new ConclaveError('REPLY_TOO_LARGE', `the answer has ${reply.byteLength} bytes, ${limits.maxFrameBytes} may be sent`, { next: 'ask for less at once' })
    } catch (error) {
      if (!(error instanceof ConclaveError) && !controller.signal.aborted) {
        init.log({ level: 'error', event: 'rpc:handler-failed', protocol: init.protocol, peer: init.from, error: String(error) })
      }
      reply = encodeErrorReply(id, error)
    } finally {
      clearTimeout(timer)
    }
    running.delete(id)
    if (!controller.signal.aborted) replies.push(reply)
    wakeReader?.()
  }

  async function take (frame: Uint8Array): Promise<void> {
    const request = decodeRequest(frame)
    if (request.verdict !== 'accept') throw new ConclaveError(request.code, request.reason)
    const { value } = request
    if (value.type === 'cancel') {
      running.get(value.id)?.abort(new ConclaveError('REQUEST_CANCELLED', 'the requester gave up'))
      return
    }
    if (running.has(value.id)) throw new ConclaveError('RPC_MALFORMED', `request ${value.id} is open already`)
    while (running.size >= limits.maxInFlight && !reader.ended) await new Promise<void>(resolve => { wakeReader = resolve })
    await replies.room(limits.maxFrameBytes)
    void answer(value.id, value.body, value.timeoutMs)
  }

  stream.addEventListener('close', () => { wakeReader?.() })
  try {
    await pipe(reader, source => frames(source, limits.maxFrameBytes), async requests => {
      for await (const frame of requests) await take(frame)
    })
    // the requester asks no more, but waits for what is open
    while (running.size > 0 && stream.writeStatus === 'writable') await new Promise<void>(resolve => { wakeReader = resolve })
    await replies.room(0)
    await stream.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
  } catch (error) {
    if (error instanceof ConclaveError && error.code !== 'STREAM_CLOSED') {
      init.log({ level: 'warn', event: 'rpc:peer-refused', protocol: init.protocol, peer: init.from, code: error.code, message: error.message })
    }
    stream.abort(error instanceof Error ? error : streamClosed(error))
  } finally {
    for (const controller of running.values()) controller.abort(streamClosed())
    replies.close()
  }
}

/** An error reply may be larger than what a protocol's own replies may be. */
const RPC_SLACK_BYTES = 16 * 1024
const CLOSE_TIMEOUT_MS = 5_000
