/**
 * Our outgoing streams: one channel per peer and protocol for requests and for frames, made when first used, gone with its connection.
 */
import { ConclaveError } from '../errors.ts'
import { openBulk } from './bulk.ts'
import { FrameSender } from './frames.ts'
import { RpcChannel } from './rpc.ts'
import type { BoundedStream } from './overlay.ts'
import type { OverlayLimits } from './limits.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Connection, Stream } from '@libp2p/interface'

/** A frame stream that died while its connection lives is not opened again sooner, or a peer that refuses it would be asked on each frame. */
const REOPEN_PAUSE_MS = 250

export interface ChannelsInit {
  limits: OverlayLimits
  connection: (peer: PeerIdStr) => Connection | undefined
  /** monotonic */
  nowMs: () => number
}

/** Invariant: everything opened here is in one of its tables until it is closed. */
export class Channels {
  readonly #init: ChannelsInit
  readonly #rpc = new Map<PeerIdStr, Map<string, RpcChannel>>()
  readonly #senders = new Map<PeerIdStr, Map<string, FrameSender>>()
  readonly #pausedUntilMs = new Map<PeerIdStr, Map<string, number>>()
  readonly #bulk = new Map<PeerIdStr, Map<string, Set<Stream>>>()
  #stopped: ConclaveError | undefined

  constructor (init: ChannelsInit) {
    this.#init = init
  }

  async request (peer: PeerIdStr, protocol: string, body: Uint8Array, options: { signal?: AbortSignal | undefined, timeoutMs: number }): Promise<Uint8Array> {
    this.#requireConnection(peer)
    const channels = entry(this.#rpc, peer, () => new Map<string, RpcChannel>())
    let channel = channels.get(protocol)
    if (channel === undefined) {
      const made: RpcChannel = new RpcChannel({
        protocol,
        maxQueued: this.#init.limits.maxRpcQueued,
        open: async () => await this.#open(peer, protocol),
        onClosed: () => { if (channels.get(protocol) === made) channels.delete(protocol) }
      })
      channels.set(protocol, made)
      channel = made
    }
    return await channel.request(body, options)
  }

  sendFrame (peer: PeerIdStr, protocol: string, frame: Uint8Array): boolean {
    if (this.#stopped !== undefined || this.#init.connection(peer) === undefined) return false
    const senders = entry(this.#senders, peer, () => new Map<string, FrameSender>())
    let sender = senders.get(protocol)
    if (sender === undefined) {
      const pauses = entry(this.#pausedUntilMs, peer, () => new Map<string, number>())
      if (this.#init.nowMs() < (pauses.get(protocol) ?? 0)) return false
      const made: FrameSender = new FrameSender(this.#init.limits, async () => await this.#open(peer, protocol), () => {
        if (senders.get(protocol) === made) senders.delete(protocol)
        pauses.set(protocol, this.#init.nowMs() + REOPEN_PAUSE_MS)
      })
      senders.set(protocol, made)
      sender = made
    }
    return sender.send(frame)
  }

  async openStream (peer: PeerIdStr, protocol: string, signal: AbortSignal): Promise<BoundedStream> {
    this.#requireConnection(peer)
    signal.throwIfAborted()
    const open = entry(entry(this.#bulk, peer, () => new Map<string, Set<Stream>>()), protocol, () => new Set<Stream>())
    if (open.size >= this.#init.limits.maxBulkStreams) {
      throw new ConclaveError('BUSY', `${open.size} streams to this peer are open already`, { next: 'close one before opening another' })
    }
    const stream = await this.#open(peer, protocol, signal)
    open.add(stream)
    stream.addEventListener('close', () => { open.delete(stream) })
    return await openBulk(stream, this.#init.limits.bulkReadMarkBytes, signal)
  }

  /** Its last connection is gone. */
  dropPeer (peer: PeerIdStr, error: ConclaveError): void {
    for (const channel of [...(this.#rpc.get(peer)?.values() ?? [])]) channel.close(error)
    for (const sender of [...(this.#senders.get(peer)?.values() ?? [])]) sender.close(error)
    for (const streams of this.#bulk.get(peer)?.values() ?? []) for (const stream of [...streams]) stream.abort(error)
    this.#rpc.delete(peer)
    this.#senders.delete(peer)
    this.#pausedUntilMs.delete(peer)
    this.#bulk.delete(peer)
  }

  stop (error: ConclaveError): void {
    this.#stopped = error
    for (const peer of new Set([...this.#rpc.keys(), ...this.#senders.keys(), ...this.#bulk.keys()])) this.dropPeer(peer, error)
  }

  #requireConnection (peer: PeerIdStr): Connection {
    if (this.#stopped !== undefined) throw this.#stopped
    const connection = this.#init.connection(peer)
    if (connection === undefined) throw new ConclaveError('PEER_UNREACHABLE', 'the peer is not connected', { next: 'conclave peers', details: { peer } })
    return connection
  }

  async #open (peer: PeerIdStr, protocol: string, signal?: AbortSignal): Promise<Stream> {
    const connection = this.#requireConnection(peer)
    const timeout = AbortSignal.timeout(this.#init.limits.streamOpenTimeoutMs)
    try {
      return await connection.newStream(protocol, { signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]) })
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof Error && error.name === 'UnsupportedProtocolError') {
        throw new ConclaveError('PROTOCOL_UNSUPPORTED', `the peer does not answer ${protocol}`, { next: 'run the same version on both sides', cause: error, details: { peer, protocol } })
      }
      throw new ConclaveError('STREAM_CLOSED', `no stream to the peer could be opened: ${error instanceof Error ? error.message : String(error)}`, {
        next: 'try again; `conclave peers` shows who is connected', cause: error, details: { peer, protocol }
      })
    }
  }
}

function entry<K, V> (map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
