/**
 * The gate behind the handshake: no connection goes on, whatever transport and encrypter it came by, whose proven peer is no member.
 */
import type { PeerIdStr } from '../../keys/ids.ts'
import type { ConnectionGater, PeerId } from '@libp2p/interface'

/**
 * Asked twice, before and after a muxer exists: a transport that brings its own encryption skips the first, and a member may be revoked
 * between them. A peer is not asked about before it has proven who it is, since a joiner knows nobody yet.
 */
export function createGate (isMember: (peer: PeerIdStr) => boolean): ConnectionGater {
  const denied = (peer: PeerId): boolean => !isMember(peer.toString() as PeerIdStr)
  return {
    denyInboundEncryptedConnection: denied,
    denyOutboundEncryptedConnection: denied,
    denyInboundUpgradedConnection: denied,
    denyOutboundUpgradedConnection: denied
  }
}
