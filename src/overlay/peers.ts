/**
 * Who is connected. A peer counts as connected once it has answered us over its connection: whoever dials believes too early that it is, and
 * the other side may still turn it away. One entry and one event a peer, however many connections it has.
 */
import { ConclaveError } from '../errors.ts'
import type { LogEvent, PeerEvent } from './overlay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Connection } from '@libp2p/interface'

export interface PeersInit {
  /** resolves when the peer has answered; rejects where it will not */
  greet: (peer: PeerIdStr) => Promise<void>
  /** the last connection is gone, whether or not the peer had answered; called before the event */
  onGone: (peer: PeerIdStr) => void
  log: (event: LogEvent) => void
}

interface Entry {
  /** oldest first, open ones only; never empty */
  connections: Connection[]
  /** settled once: with the answer to the greeting, or when the last connection is gone */
  usable: PromiseWithResolvers<void>
  isUsable: boolean
}

/** Invariant: for every peer connects and disconnects alternate, beginning with a connect. */
export class Peers {
  readonly #init: PeersInit
  readonly #entries = new Map<PeerIdStr, Entry>()
  readonly #listeners = new Set<(event: PeerEvent) => void>()

  constructor (init: PeersInit) {
    this.#init = init
  }

  onPeer (listener: (event: PeerEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  isConnected (peer: PeerIdStr): boolean {
    return this.#entries.get(peer)?.isUsable === true
  }

  /** @returns the oldest open connection, whether or not the peer has answered yet */
  connection (peer: PeerIdStr): Connection | undefined {
    return this.#entries.get(peer)?.connections.find(connection => connection.status === 'open')
  }

  /** Peers that have answered, sorted by id. */
  connected (): PeerIdStr[] {
    return [...this.#entries].filter(([, entry]) => entry.isUsable).map(([peer]) => peer).sort()
  }

  /** @throws PEER_REFUSED where the connection goes before the peer has answered; the signal's reason */
  async usable (peer: PeerIdStr, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const entry = this.#entries.get(peer)
    if (entry === undefined) throw refused(peer)
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => { aborted.reject(signal.reason) }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([entry.usable.promise, aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  opened (connection: Connection): void {
    if (connection.status !== 'open') return
    const peer = connection.remotePeer.toString() as PeerIdStr
    const known = this.#entries.get(peer)
    if (known !== undefined) {
      known.connections.push(connection)
      return
    }
    const entry: Entry = { connections: [connection], usable: Promise.withResolvers(), isUsable: false }
    entry.usable.promise.catch(() => undefined) // nobody may be waiting; whoever is hears of it
    this.#entries.set(peer, entry)
    void this.#greet(peer, entry)
  }

  closed (connection: Connection): void {
    const peer = connection.remotePeer.toString() as PeerIdStr
    const entry = this.#entries.get(peer)
    if (entry?.connections.includes(connection) !== true) return
    entry.connections = entry.connections.filter(other => other !== connection)
    if (entry.connections.length > 0) return
    this.#entries.delete(peer)
    entry.usable.reject(refused(peer))
    this.#init.onGone(peer)
    if (entry.isUsable) this.#emit({ type: 'peer:disconnect', peerId: peer })
  }

  /** Reset every connection to a peer; `closed` follows for each. */
  abort (peer: PeerIdStr, why: Error): void {
    for (const connection of [...this.#entries.get(peer)?.connections ?? []]) connection.abort(why)
  }

  /**
   * Reset what a silent peer was pinged over: every connection but the newest, which may be that of the peer come back under our eyes; the
   * only one where there is one.
   */
  abortSilent (peer: PeerIdStr, why: Error): void {
    const connections = this.#entries.get(peer)?.connections ?? []
    for (const connection of connections.length > 1 ? connections.slice(0, -1) : [...connections]) connection.abort(why)
  }

  async #greet (peer: PeerIdStr, entry: Entry): Promise<void> {
    try {
      await this.#init.greet(peer)
    } catch (error) {
      if (this.#entries.get(peer) !== entry) return
      this.#init.log({ level: 'warn', event: 'peer:unusable', peer, error: String(error) })
      this.abort(peer, error instanceof Error ? error : refused(peer))
      return
    }
    if (this.#entries.get(peer) !== entry) return
    entry.isUsable = true
    this.#emit({ type: 'peer:connect', peerId: peer })
    entry.usable.resolve()
  }

  #emit (event: PeerEvent): void {
    this.#init.log({ level: 'info', event: event.type, peer: event.peerId })
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#init.log({ level: 'error', event: 'peer:listener-failed', error: String(error) })
      }
    }
  }
}

function refused (peer: PeerIdStr): ConclaveError {
  return new ConclaveError('PEER_REFUSED', 'the peer closed the connection right after the handshake', {
    next: 'ask a member to look at its log: it may not know this node as a member', details: { peer }
  })
}
