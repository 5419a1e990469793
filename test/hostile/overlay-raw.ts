/**
 * A bad peer: plain libp2p that speaks our protocols without our manners.
 */
import { createHash } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { gossipsub, StrictNoSign } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { generateIdentity } from '../../keys/identity.ts'
import { wireTopic } from '../../protocols/gossip/constants.ts'
import { addrOf, peerEvent } from '../integration/overlay-fixture.ts'
import type { Identity } from '../../keys/identity.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Overlay } from '../../src/overlay/overlay.ts'
import type { GossipSub } from '@libp2p/gossipsub'
import type { Connection, Libp2p, Stream } from '@libp2p/interface'

export interface RawPeer {
  identity: Identity
  peerId: PeerIdStr
  libp2p: Libp2p
  pubsub: GossipSub
  /** everything that it heard, as it came */
  heard: Uint8Array[]
  connect: (overlay: Overlay) => Promise<Connection>
  stream: (overlay: Overlay, protocol: string) => Promise<Stream>
}

/** It answers pings, so that it counts as connected, and joins both topics. */
export async function rawPeer (network: string): Promise<RawPeer> {
  const identity = generateIdentity()
  const libp2p = await createLibp2p({
    privateKey: identity.privateKey,
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      pubsub: gossipsub({ globalSignaturePolicy: StrictNoSign, allowPublishToZeroTopicPeers: true, msgIdFn: message => createHash('sha256').update(message.data).digest() })
    }
  })
  // one byte-wise echo answers a ping: its reply has the id of the request, and no other field
  await libp2p.handle('/conclave/ping/1', stream => {
    stream.addEventListener('message', ({ data }) => {
      const [id] = data.subarray().subarray(5, 6)
      stream.send(Uint8Array.of(0, 0, 0, 2, 8, id ?? 0))
    })
  })
  const { pubsub } = libp2p.services
  const heard: Uint8Array[] = []
  pubsub.addEventListener('message', ({ detail }) => { heard.push(Uint8Array.from(detail.data)) })
  for (const topic of ['tasks', 'results'] as const) pubsub.subscribe(wireTopic(network, topic))
  const raw: RawPeer = {
    identity, peerId: identity.peerId, libp2p: libp2p as unknown as Libp2p, pubsub, heard,
    async connect (overlay) {
      const connection = await libp2p.dial(multiaddr(addrOf(overlay)))
      await peerEvent(overlay, 'peer:connect', identity.peerId)
      return connection
    },
    async stream (overlay, protocol) {
      const [connection] = libp2p.getConnections(peerIdFromString(overlay.peerId))
      if (connection === undefined) throw new Error('not connected')
      return await connection.newStream(protocol)
    }
  }
  return raw
}
