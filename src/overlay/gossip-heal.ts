/**
 * Carries out the gossip watch. Opening a stream anew is asked of gossipsub by the same call that tells it of a new connection, so
 * requests, consensus and data on that connection go on undisturbed; only where that does not help is the connection given up.
 */
import { GossipWatch } from './gossip-watch.ts'
import type { LogEvent } from './overlay.ts'
import type { Peers } from './peers.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { GossipSub } from '@libp2p/gossipsub'
import type { Registrar } from '@libp2p/interface-internal'

/** What gossipsub 17.1 has and does not declare. */
interface Internals {
  streamsOutbound: ReadonlyMap<string, unknown>
  topics: ReadonlyMap<string, ReadonlySet<string>>
}

export interface GossipHealInit {
  pubsub: GossipSub
  registrar: Registrar
  /** wire names */
  topics: readonly string[]
  peers: Peers
  intervalMs: number
  /** drop the connections of a peer and dial it again */
  redial: (peer: PeerIdStr) => void
  log: (event: LogEvent) => void
}

/** @returns stops it */
export function healGossip (init: GossipHealInit): () => void {
  const { pubsub, registrar, topics, peers, log } = init
  const internals = pubsub as unknown as Internals
  if (!(internals.streamsOutbound instanceof Map) || !(internals.topics instanceof Map)) {
    throw new TypeError('this gossipsub keeps its streams elsewhere: the watchdog must be adapted to it')
  }
  const watch = new GossipWatch()

  function reopen (peer: PeerIdStr): void {
    const connection = peers.connection(peer)
    if (connection === undefined) return
    log({ level: 'warn', event: 'gossip:reopen', peer })
    for (const topology of registrar.getTopologies(pubsub.protocols[0] ?? '')) topology.onConnect?.(connection.remotePeer, connection)
  }

  const timer = setInterval(() => {
    const neighbours = peers.connected().map(peerId => ({
      peerId,
      hasStream: internals.streamsOutbound.has(peerId),
      isSubscribed: topics.some(topic => internals.topics.get(topic)?.has(peerId) === true)
    }))
    const { reopen: broken, redial } = watch.look(neighbours)
    for (const peer of broken) reopen(peer)
    for (const peer of redial) {
      log({ level: 'warn', event: 'gossip:redial', peer })
      init.redial(peer)
    }
  }, init.intervalMs)
  return () => { clearInterval(timer) }
}
