/**
 * Our incoming streams: every protocol that somebody handles, each checked against the policy table before its handler sees a byte.
 */
import { ConclaveError } from '../errors.ts'
import { PING_PROTOCOL } from '../../protocols/rpc/constants.ts'
import { requiredFor } from '../../protocols/policy.ts'
import { serveBulk } from './bulk.ts'
import { serveFrames } from './frames.ts'
import { serveRpc } from './rpc-server.ts'
import type { StreamHandler } from './bulk.ts'
import type { OverlayLimits } from './limits.ts'
import type { LogEvent } from './overlay.ts'
import type { RequestHandler } from './rpc-server.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { MessageKind } from '../../protocols/policy.ts'
import type { Connection, Libp2p, Stream } from '@libp2p/interface'

/** Streams of one peer for one request or frame protocol: one is in use, the others are being replaced. */
const MAX_CHANNEL_STREAMS = 4

export interface HandlersInit {
  limits: OverlayLimits
  isMember: (peer: PeerIdStr) => boolean
  can: (peer: PeerIdStr, kind: MessageKind) => boolean
  log: (event: LogEvent) => void
}

interface Protocol {
  maxStreams: number
  serve: (stream: Stream, from: PeerIdStr) => Promise<void>
}

export class Handlers {
  readonly #init: HandlersInit
  readonly #protocols = new Map<string, Protocol>()
  readonly #open = new Set<Stream>()
  #libp2p: Libp2p | undefined

  constructor (init: HandlersInit) {
    this.#init = init
    // liveness belongs to the connection, which the gate has judged; it must work before the first roster is known
    this.#protocols.set(PING_PROTOCOL, {
      maxStreams: MAX_CHANNEL_STREAMS,
      serve: async (stream, from) => {
        await serveRpc(stream, {
          from, protocol: PING_PROTOCOL, log: init.log, handler: async () => new Uint8Array(0),
          refusal: () => init.isMember(from) ? undefined : notAllowed('member')
        })
      }
    })
  }

  async handle (protocol: string, kind: MessageKind, handler: RequestHandler): Promise<void> {
    await this.#add(protocol, {
      maxStreams: MAX_CHANNEL_STREAMS,
      serve: async (stream, from) => {
        await serveRpc(stream, { from, protocol, handler, log: this.#init.log, refusal: () => this.#refusal(from, kind) })
      }
    })
  }

  async handleFrames (protocol: string, kind: MessageKind, onFrame: (from: PeerIdStr, frame: Uint8Array) => void): Promise<void> {
    await this.#add(protocol, {
      maxStreams: MAX_CHANNEL_STREAMS,
      serve: async (stream, from) => {
        await serveFrames(stream, {
          from, protocol, onFrame, maxFrameBytes: this.#init.limits.maxFrameBytes, log: this.#init.log, refusal: () => this.#refusal(from, kind)
        })
      }
    })
  }

  async handleStream (protocol: string, kind: MessageKind, handler: StreamHandler): Promise<void> {
    const { limits, log } = this.#init
    const openOf = new Map<PeerIdStr, number>()
    await this.#add(protocol, {
      // beyond `maxBulkStreams` we still answer, with the reason; beyond this libp2p resets
      maxStreams: 2 * limits.maxBulkStreams,
      serve: async (stream, from) => {
        const open = openOf.get(from) ?? 0
        openOf.set(from, open + 1)
        try {
          await serveBulk(stream, {
            from, protocol, handler, log, markBytes: limits.bulkReadMarkBytes,
            refusal: () => this.#refusal(from, kind) ?? (open < limits.maxBulkStreams ? undefined : tooMany(open))
          })
        } finally {
          const left = (openOf.get(from) ?? 1) - 1
          if (left === 0) openOf.delete(from)
          else openOf.set(from, left)
        }
      }
    })
  }

  /** Before libp2p starts: what was registered so far is served from the first connection on. */
  async attach (libp2p: Libp2p): Promise<void> {
    this.#libp2p = libp2p
    for (const [protocol, spec] of this.#protocols) await this.#register(libp2p, protocol, spec)
  }

  /** Reset every stream that is being served, so that no peer takes our end for the end of its data. */
  stop (error: Error): void {
    for (const stream of [...this.#open]) stream.abort(error)
  }

  async #add (protocol: string, spec: Protocol): Promise<void> {
    if (this.#protocols.has(protocol)) throw new ConclaveError('ALREADY_HANDLED', `${protocol} has a handler`)
    this.#protocols.set(protocol, spec)
    if (this.#libp2p !== undefined) await this.#register(this.#libp2p, protocol, spec)
  }

  async #register (libp2p: Libp2p, protocol: string, { maxStreams, serve }: Protocol): Promise<void> {
    // not async: the reader attaches in the same turn, before more data can arrive
    const onStream = (stream: Stream, connection: Connection): void => {
      this.#open.add(stream)
      stream.addEventListener('close', () => { this.#open.delete(stream) })
      void serve(stream, connection.remotePeer.toString() as PeerIdStr)
    }
    await libp2p.handle(protocol, onStream, { maxInboundStreams: maxStreams, maxOutboundStreams: maxStreams })
  }

  #refusal (from: PeerIdStr, kind: MessageKind): ConclaveError | undefined {
    return this.#init.can(from, kind) ? undefined : notAllowed(kind)
  }
}

function notAllowed (kind: MessageKind): ConclaveError {
  return new ConclaveError('NOT_ALLOWED', `this peer may not send \`${kind}\` messages: that takes ${requiredFor(kind)}`, {
    next: 'ask a member that may invite for a ticket that grants it', details: { kind }
  })
}

function tooMany (open: number): ConclaveError {
  return new ConclaveError('BUSY', `${open} streams of this peer are open already`, { next: 'close one before opening another' })
}
