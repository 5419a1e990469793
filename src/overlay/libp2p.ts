/**
 * libp2p put together, with every limit set: what is left at a default here is bounded there. Figures and reasons stand in `limits.ts`.
 */
import path from 'node:path'
import { gossipsub } from '@libp2p/gossipsub'
import { identify, identifyPush } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { LevelDatastore } from 'datastore-level'
import { createLibp2p } from 'libp2p'
import { ConclaveError } from '../errors.ts'
import { createGate } from './gate.ts'
import { gossipOptions } from './gossip-options.ts'
import type { OverlayLimits } from './limits.ts'
import type { OverlayInit } from './overlay.ts'
import type { GossipSub } from '@libp2p/gossipsub'
import type { Libp2p } from '@libp2p/interface'
import type { Registrar } from '@libp2p/interface-internal'

const DAY_MS = 86_400_000

export interface Assembled {
  libp2p: Libp2p
  pubsub: GossipSub
  registrar: Registrar
  /** After libp2p has stopped. */
  closeStore: () => Promise<void>
}

/** @throws PEER_STORE_FAILED where the peer store cannot be opened */
export async function assemble (init: OverlayInit, limits: OverlayLimits): Promise<Assembled> {
  const datastore = init.datastoreDir === undefined ? undefined : await openStore(path.join(init.datastoreDir, 'peers'))
  const libp2p = await createLibp2p({
    start: false,
    privateKey: init.identity.privateKey,
    ...(datastore === undefined ? {} : { datastore }),
    addresses: { listen: init.listen },
    transports: [tcp({
      maxConnections: limits.maxConnections + limits.maxPendingInbound,
      backlog: 511,
      // our own pings keep every honest connection from ever being this quiet
      inboundSocketInactivityTimeout: 60_000,
      outboundSocketInactivityTimeout: 60_000
    })],
    connectionEncrypters: [init.encrypter],
    streamMuxers: [yamux({
      maxInboundStreams: limits.maxStreamsPerConnection,
      maxOutboundStreams: limits.maxStreamsPerConnection,
      maxEarlyStreams: 16,
      streamOptions: {
        maxStreamWindowSize: limits.maxStreamWindowBytes,
        maxReadBufferLength: limits.maxStreamReadBufferBytes,
        maxWriteBufferLength: limits.maxStreamWriteBufferBytes
      }
    })],
    connectionGater: createGate(init.isMember),
    connectionManager: {
      maxConnections: limits.maxConnections,
      inboundConnectionThreshold: limits.maxInboundPerHostPerSecond,
      maxIncomingPendingConnections: limits.maxPendingInbound,
      inboundUpgradeTimeout: limits.inboundUpgradeTimeoutMs,
      addressDialTimeout: limits.dialAddressTimeoutMs,
      dialTimeout: limits.dialTimeoutMs,
      maxParallelDials: limits.maxParallelDials,
      maxDialQueueLength: 512,
      maxPeerAddrsToDial: 8,
      connectionCloseTimeout: 1_000,
      outboundStreamProtocolNegotiationTimeout: limits.streamOpenTimeoutMs,
      inboundStreamProtocolNegotiationTimeout: limits.streamOpenTimeoutMs,
      // we redial for ever ourselves; this one gives up after five tries
      reconnectRetries: 0
    },
    // it drops a busy peer after 5 s of silence, by a stream per ping; `liveness.ts` does not
    connectionMonitor: { enabled: false },
    peerStore: { maxAddressAge: 30 * DAY_MS, maxPeerAge: 90 * DAY_MS },
    services: {
      identify: identify({ maxMessageSize: 8 * 1024, maxInboundStreams: 2, maxOutboundStreams: 2, maxObservedAddresses: 4, timeout: limits.streamOpenTimeoutMs }),
      identifyPush: identifyPush({ debounce: 200, maxMessageSize: 8 * 1024, maxInboundStreams: 2, maxOutboundStreams: 2, timeout: limits.streamOpenTimeoutMs }),
      pubsub: gossipsub(gossipOptions(init.networkId, limits, init.isMember)),
      internals: ({ registrar }: { registrar: Registrar }) => ({ registrar })
    }
  })
  return {
    libp2p: libp2p as unknown as Libp2p,
    pubsub: libp2p.services.pubsub,
    registrar: libp2p.services.internals.registrar,
    closeStore: async () => { await datastore?.close() }
  }
}

async function openStore (dir: string): Promise<LevelDatastore> {
  const datastore = new LevelDatastore(dir)
  try {
    await datastore.open()
  } catch (error) {
    throw new ConclaveError('PEER_STORE_FAILED', `the peer store ${dir} cannot be opened`, {
      next: 'stop the node that uses it; if none does, delete this folder: only known addresses are lost', cause: error, details: { dir }
    })
  }
  return datastore
}
