/**
 * Bulk streams: a bounded duplex of bytes. Before any byte of the protocol the opener sends an empty frame, and the side that serves
 * answers yes, or no and why, in one framed Reply of protocols/rpc with id 0; so whoever opens one knows that the handler has it.
 *
 * The opener speaks first because a stream that is answered and closed before its opener has finished negotiating fails there, whatever
 * the answer was.
 */
import { decodeReply, encodeErrorReply, encodeReply } from '../../protocols/rpc/codec.ts'
import { ConclaveError } from '../errors.ts'
import { encodeFrames, FRAME_HEADER_BYTES } from './framer.ts'
import { BoundedReader, streamClosed, writeBytes } from './streams.ts'
import type { BoundedStream, LogEvent, RequestContext } from './overlay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Stream } from '@libp2p/interface'

const MAX_GREETING_BYTES = 32 * 1024
const GREETING_TIMEOUT_MS = 5_000
const CLOSE_TIMEOUT_MS = 5_000

const NOTHING = new Uint8Array(0)

export type StreamHandler = (stream: BoundedStream, ctx: RequestContext) => Promise<void>

/** @param rest - what was read beyond the greeting, before `chunks` */
function bounded (stream: Stream, rest: Uint8Array, chunks: AsyncGenerator<Uint8Array, void, undefined>): BoundedStream {
  let lastWrite: Promise<void> = Promise.resolve()
  return {
    source: (async function * () {
      if (rest.byteLength > 0) yield rest
      yield * chunks
    })(),
    async write (bytes, signal) {
      const write = lastWrite.then(async () => { await writeBytes(stream, bytes, signal) })
      lastWrite = write.catch(() => undefined) // its caller hears of it; the next write meets the stream as it then is
      await write
    },
    async close () {
      await lastWrite
      if (stream.writeStatus !== 'writable') return
      try {
        await stream.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
      } catch (error) {
        stream.abort(error instanceof Error ? error : streamClosed(error))
      }
    },
    abort (error) {
      stream.abort(error)
    }
  }
}

/**
 * The opening side, once a stream exists.
 *
 * @throws what the serving side says; STREAM_CLOSED; the signal's reason. The stream is then gone.
 */
export async function openBulk (stream: Stream, markBytes: number, signal: AbortSignal): Promise<BoundedStream> {
  const chunks = new BoundedReader(stream, markBytes)[Symbol.asyncIterator]()
  const onAbort = (): void => { stream.abort(signal.reason instanceof Error ? signal.reason : streamClosed(signal.reason)) }
  signal.addEventListener('abort', onAbort)
  try {
    await writeBytes(stream, encodeFrames([NOTHING]), signal)
    const { greeting, rest } = await readGreeting(chunks)
    const reply = decodeReply(greeting)
    if (reply.verdict !== 'accept') throw streamClosed(new Error(reply.reason))
    if ('error' in reply.value) throw reply.value.error
    return bounded(stream, rest, chunks)
  } catch (error) {
    signal.throwIfAborted()
    stream.abort(error instanceof Error ? error : streamClosed(error))
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Not the frame decoder: what follows the first frame is not framed. */
async function readGreeting (chunks: AsyncIterator<Uint8Array>): Promise<{ greeting: Uint8Array, rest: Uint8Array }> {
  let bytes = new Uint8Array(0)
  while (true) {
    if (bytes.byteLength >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + new DataView(bytes.buffer).getUint32(0)
      if (end > MAX_GREETING_BYTES) throw streamClosed(new Error('the peer does not speak this protocol'))
      if (bytes.byteLength >= end) return { greeting: bytes.subarray(FRAME_HEADER_BYTES, end), rest: bytes.subarray(end) }
    }
    const next = await chunks.next()
    if (next.done === true) throw streamClosed(new Error('the peer gave no answer'))
    const joined = new Uint8Array(bytes.byteLength + next.value.byteLength)
    joined.set(bytes)
    joined.set(next.value, bytes.byteLength)
    bytes = joined
  }
}

export interface BulkServerInit {
  from: PeerIdStr
  protocol: string
  markBytes: number
  /** asked once, when the stream opens */
  refusal: () => ConclaveError | undefined
  handler: StreamHandler
  log: (event: LogEvent) => void
}

/** The serving side. Resolves when the stream is closed or reset; never rejects. */
export async function serveBulk (stream: Stream, init: BulkServerInit): Promise<void> {
  const reader = new BoundedReader(stream, init.markBytes)
  const chunks = reader[Symbol.asyncIterator]()
  const controller = new AbortController()
  stream.addEventListener('close', event => { controller.abort(streamClosed(event.error)) })
  const timer = setTimeout(() => { stream.abort(streamClosed(new Error('the peer opened it and said nothing'))) }, GREETING_TIMEOUT_MS)
  try {
    const { rest } = await readGreeting(chunks)
    clearTimeout(timer)
    const duplex = bounded(stream, rest, chunks)
    const refusal = init.refusal()
    if (refusal !== undefined) {
      init.log({ level: 'warn', event: 'stream:refused', protocol: init.protocol, peer: init.from, code: refusal.code })
      await duplex.write(encodeFrames([encodeErrorReply(0, refusal)]))
    } else {
      await duplex.write(encodeFrames([encodeReply(0, NOTHING)]))
      await init.handler(duplex, { from: init.from, signal: controller.signal })
    }
    await duplex.close()
    await finished(stream, reader)
  } catch (error) {
    if (!(error instanceof ConclaveError) && !controller.signal.aborted) {
      init.log({ level: 'error', event: 'stream:handler-failed', protocol: init.protocol, peer: init.from, error: String(error) })
    }
    stream.abort(error instanceof Error ? error : streamClosed(error))
  } finally {
    clearTimeout(timer)
  }
}

/** Drops what the peer still sends, and resets the stream where it does not finish in time. */
async function finished (stream: Stream, reader: BoundedReader): Promise<void> {
  reader.discard()
  if (stream.status !== 'open' && stream.status !== 'closing') return
  await new Promise<void>(resolve => {
    const timer = setTimeout(() => { stream.abort(streamClosed(new Error('the peer did not close its side'))) }, CLOSE_TIMEOUT_MS)
    stream.addEventListener('close', () => { clearTimeout(timer); resolve() }, { once: true })
  })
}
