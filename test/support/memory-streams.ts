/**
 * Bulk streams between peers in one process, without libp2p: the part of the overlay that the block exchange uses, with backpressure,
 * half-close and reset as the real one has them.
 */
import { ConclaveError } from '../../src/errors.ts'
import type { BoundedStream, Overlay, RequestContext } from '../../src/overlay/overlay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

const MARK_BYTES = 256 * 1024

interface Pipe { source: AsyncIterable<Uint8Array>, write: (bytes: Uint8Array, signal?: AbortSignal) => Promise<void>, end: () => void, reset: (error: Error) => void }

function createPipe (onBytes: (bytes: number) => void): Pipe {
  const queue: Uint8Array[] = []
  let queued = 0
  let isEnded = false
  let failure: Error | undefined
  let waiters: Array<() => void> = []
  const wake = (): void => { const woken = waiters; waiters = []; for (const go of woken) go() }
  const change = async (signal?: AbortSignal): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      waiters.push(resolve)
      signal?.addEventListener('abort', () => { reject(signal.reason as Error) }, { once: true })
    })
  }
  return {
    source: (async function * () {
      for (;;) {
        if (failure !== undefined) throw failure
        const next = queue.shift()
        if (next !== undefined) {
          queued -= next.length
          wake()
          yield next
        } else if (isEnded) {
          return
        } else {
          await change()
        }
      }
    })(),
    async write (bytes, signal) {
      signal?.throwIfAborted()
      if (failure !== undefined || isEnded) throw failure ?? new ConclaveError('STREAM_CLOSED', 'closed')
      // A copy, as a network makes one.
      queue.push(Uint8Array.from(bytes))
      queued += bytes.length
      onBytes(bytes.length)
      wake()
      while (queued > MARK_BYTES) {
        if (failure !== undefined) throw failure
        await change(signal)
      }
    },
    end () { isEnded = true; wake() },
    reset (error) { failure ??= error; queue.length = 0; queued = 0; wake() }
  }
}

/** @returns the two ends of a stream */
export function createStreamPair (onBytes: (bytes: number) => void = () => {}): [BoundedStream, BoundedStream] {
  const there = createPipe(onBytes)
  const back = createPipe(onBytes)
  const end = (out: Pipe, into: Pipe): BoundedStream => ({
    source: into.source,
    write: out.write,
    close: async () => { out.end() },
    abort: error => { into.reset(error); out.reset(new ConclaveError('STREAM_RESET', 'the other side reset the stream')) }
  })
  return [end(there, back), end(back, there)]
}

export type StreamHandler = (stream: BoundedStream, ctx: RequestContext) => Promise<void>

export interface MemoryNet {
  overlay (peer: PeerIdStr): Pick<Overlay, 'peerId' | 'openStream' | 'handleStream'>
  /** bytes that travelled, all streams together */
  readonly bytes: number
  /** streams opened, by the peer that answers */
  readonly opened: ReadonlyMap<PeerIdStr, number>
}

export function createMemoryNet (): MemoryNet {
  const handlers = new Map<PeerIdStr, StreamHandler>()
  const opened = new Map<PeerIdStr, number>()
  let bytes = 0
  return {
    get bytes () { return bytes },
    opened,
    overlay: self => ({
      peerId: self,
      async handleStream (_protocol, _kind, handler) { handlers.set(self, handler) },
      async openStream (peer, _protocol, signal) {
        signal.throwIfAborted()
        const handler = handlers.get(peer)
        if (handler === undefined) throw new ConclaveError('NOT_CONNECTED', `${peer} is not connected`)
        opened.set(peer, (opened.get(peer) ?? 0) + 1)
        const [here, there] = createStreamPair(length => { bytes += length })
        const gone = new AbortController()
        handler(there, { from: self, signal: gone.signal }).then(async () => { await there.close() }, (error: unknown) => { there.abort(error as Error) })
        return here
      }
    })
  }
}
