/**
 * Dialling: from an address or a peer to a peer that has answered, with the reason where it does not come to that.
 */
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { ConclaveError } from '../errors.ts'
import { refusalIn } from './sealed-errors.ts'
import type { Assembled } from './libp2p.ts'
import type { Peers } from './peers.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

/** @throws ADDRESS_INVALID */
export function parseAddr (addr: string): Multiaddr {
  try {
    return multiaddr(addr)
  } catch (error) {
    throw new ConclaveError('ADDRESS_INVALID', `${addr} is no multiaddr`, { next: 'write it like /ip4/192.0.2.1/tcp/4001', cause: error, details: { addr } })
  }
}

/**
 * @param target - one address, or a peer whose addresses the peer store knows
 * @returns the peer, once it has answered over the connection; an existing connection will do
 * @throws the handshake's own code where it was refused; PEER_REFUSED; DIAL_FAILED; the signal's reason
 */
export async function dial (assembled: Assembled, peers: Peers, target: Multiaddr | PeerIdStr, signal: AbortSignal): Promise<PeerIdStr> {
  signal.throwIfAborted()
  let peer: PeerIdStr
  try {
    const connection = await assembled.libp2p.dial(typeof target === 'string' ? peerIdFromString(target) : target, { signal })
    peer = connection.remotePeer.toString() as PeerIdStr
  } catch (error) {
    signal.throwIfAborted()
    throw refusalIn(error) ?? new ConclaveError('DIAL_FAILED', `no connection to ${target.toString()}: ${error instanceof Error ? error.message : String(error)}`, {
      next: 'check that the node there runs and that its port can be reached', cause: error, details: { target: target.toString() }
    })
  }
  await peers.usable(peer, signal)
  return peer
}

/** Keep addresses for later dials, those of other peers left out. @throws ADDRESS_INVALID */
export async function rememberAddrs (assembled: Assembled, peer: PeerIdStr, addrs: readonly string[], signal: AbortSignal): Promise<void> {
  const peerId: PeerId = peerIdFromString(peer)
  await assembled.libp2p.peerStore.merge(peerId, { multiaddrs: addrs.map(parseAddr) }, { signal })
}
