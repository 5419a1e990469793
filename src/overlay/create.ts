/**
 * The overlay put together: libp2p, peers, channels, handlers, gossip, redial and liveness, started and stopped in order.
 */
import path from 'node:path'
import { ConclaveError } from '../errors.ts'
import { TOPIC_NAMES, wireTopic } from '../../protocols/gossip/constants.ts'
import { PING_PROTOCOL } from '../../protocols/rpc/constants.ts'
import { Channels } from './channels.ts'
import { dial, parseAddr, rememberAddrs } from './dial.ts'
import { healGossip } from './gossip-heal.ts'
import { Gossip } from './gossip.ts'
import { Handlers } from './handlers.ts'
import { KeepConnected } from './keep-connected.ts'
import { assemble } from './libp2p.ts'
import { Lifecycle, nodeStopped } from './lifecycle.ts'
import { defaultLimits } from './limits.ts'
import { Peers } from './peers.ts'
import { Pinger } from './pinger.ts'
import type { OverlayLimits } from './limits.ts'
import type { Overlay, OverlayInit } from './overlay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

const NOTHING = new Uint8Array(0)

/** Everything that an overlay is made of, before libp2p exists. */
interface Parts {
  init: OverlayInit
  limits: OverlayLimits
  node: Lifecycle
  channels: Channels
  peers: Peers
  handlers: Handlers
  gossip: Gossip
  pinger: Pinger
  kept: KeepConnected
}

/** @returns an overlay that is not started; see `Overlay` for what it promises */
export function createOverlay (init: OverlayInit): Overlay {
  const parts = makeParts(init)
  const { node, channels, peers, handlers, gossip, pinger, kept } = parts
  return {
    peerId: init.identity.peerId,
    start: async () => { await node.start(async () => { await start(parts) }) },
    stop: async () => { await node.stop() },
    addrs: () => node.assembled?.libp2p.getMultiaddrs().map(addr => addr.toString()) ?? [],
    peers: () => peers.connected().flatMap(peerId => {
      const connection = peers.connection(peerId)
      if (connection === undefined) return []
      return [{ peerId, addr: connection.remoteAddr.toString(), direction: connection.direction, rttMs: pinger.rttMs(peerId) }]
    }),
    isConnected: peer => peers.isConnected(peer),
    connect: async (addr, signal) => await dial(node.running(), peers, parseAddr(addr), signal),
    disconnect: async peer => { peers.abort(peer, connectionGone(peer)) },
    keepConnected: wanted => { kept.keep(wanted) },
    onPeer: listener => peers.onPeer(listener),
    handle: async (protocol, kind, handler) => { await handlers.handle(protocol, kind, handler) },
    request: async (peer, protocol, request, options) => {
      node.running()
      return await channels.request(peer, protocol, request, options)
    },
    handleFrames: async (protocol, kind, onFrame) => { await handlers.handleFrames(protocol, kind, onFrame) },
    sendFrame: (peer, protocol, frame) => channels.sendFrame(peer, protocol, frame),
    handleStream: async (protocol, kind, handler) => { await handlers.handleStream(protocol, kind, handler) },
    openStream: async (peer, protocol, signal) => {
      node.running()
      return await channels.openStream(peer, protocol, signal)
    },
    subscribe: async (topic, onMessage, validate) => { gossip.subscribe(topic, onMessage, validate) },
    publish: async (topic, payload, term) => await gossip.publish(topic, payload, term)
  }
}

function makeParts (init: OverlayInit): Parts {
  const limits: OverlayLimits = { ...defaultLimits, ...init.limits }
  const { identity, log } = init
  const nowMs = (): number => performance.now()
  const node = new Lifecycle()
  const channels: Channels = new Channels({ limits, nowMs, connection: peer => peers.connection(peer) })
  const ping = async (peer: PeerIdStr): Promise<void> => { await channels.request(peer, PING_PROTOCOL, NOTHING, { timeoutMs: limits.pingTimeoutMs }) }
  const peers = new Peers({ log, greet: ping, onGone: peer => { channels.dropPeer(peer, connectionGone(peer)) } })
  const handlers = new Handlers({ limits, isMember: init.isMember, can: init.can, log })
  const gossip = new Gossip({
    identity, network: init.networkId, limits, log, can: init.can,
    marksFile: init.datastoreDir === undefined ? undefined : path.join(init.datastoreDir, 'gossip-marks.json')
  })
  const pinger = new Pinger({
    limits, nowMs, peers, ping,
    onDead: peer => {
      log({ level: 'warn', event: 'peer:silent', peer, timeoutMs: limits.pingTimeoutMs })
      peers.abortSilent(peer, new ConclaveError('PEER_SILENT', `the peer said nothing for ${limits.pingTimeoutMs} ms`))
    }
  })
  const kept = new KeepConnected({
    self: identity.peerId, limits, peers, nowMs, log, random: Math.random,
    dial: async (peer, addrs, signal) => {
      if (addrs.length > 0) await rememberAddrs(node.running(), peer, addrs, signal)
      await dial(node.running(), peers, peer, signal)
    }
  })
  return { init, limits, node, channels, peers, handlers, gossip, pinger, kept }
}

/** Handlers and validators stand before the first connection can come; gossip is joined when there is somebody to tell. */
async function start (parts: Parts): Promise<void> {
  const { init, limits, node, channels, peers, handlers, gossip, pinger, kept } = parts
  await gossip.open(Date.now())
  const assembled = await assemble(init, limits)
  const { libp2p, pubsub, registrar } = assembled
  node.onStop(async () => { await assembled.closeStore() })
  gossip.attach(pubsub)
  libp2p.addEventListener('connection:open', event => { peers.opened(event.detail) })
  libp2p.addEventListener('connection:close', event => { peers.closed(event.detail) })
  await handlers.attach(libp2p)
  node.onStop(async () => { await libp2p.stop() })
  try {
    await libp2p.start()
  } catch (error) {
    throw new ConclaveError('LISTEN_FAILED', `cannot listen on ${init.listen.join(', ')}: ${error instanceof Error ? error.message : String(error)}`, {
      next: 'free the port or choose another with --listen', cause: error, details: { listen: init.listen }
    })
  }
  node.started(assembled)
  gossip.join()
  const stopHealing = healGossip({
    pubsub, registrar, peers, log: init.log, intervalMs: limits.gossipWatchdogMs,
    topics: TOPIC_NAMES.map(name => wireTopic(init.networkId, name)),
    redial: peer => { redial(parts, peer) }
  })
  pinger.start()
  kept.start()
  node.onStop(async () => {
    const stopped = nodeStopped()
    stopHealing()
    pinger.stop()
    kept.stop(stopped)
    await gossip.close()
    channels.stop(stopped)
    handlers.stop(stopped)
  })
}

/** Whoever dialled dials again; the redial schedule does so too, where the peer is in it. */
function redial ({ init, limits, node, peers }: Parts, peer: PeerIdStr): void {
  const connection = peers.connection(peer)
  peers.abort(peer, new ConclaveError('GOSSIP_BROKEN', 'no gossip stream to the peer could be opened'))
  if (connection?.direction !== 'outbound') return
  dial(node.running(), peers, connection.remoteAddr, AbortSignal.timeout(limits.dialTimeoutMs)).catch((error: unknown) => {
    init.log({ level: 'warn', event: 'gossip:redial-failed', peer, error: String(error) })
  })
}

function connectionGone (peer: PeerIdStr): ConclaveError {
  return new ConclaveError('STREAM_CLOSED', 'the connection to the peer is gone', { next: 'try again; `conclave peers` shows who is connected', details: { peer } })
}
