/**
 * Branded ids: strings that cannot be mistaken for one another.
 * Source: libp2p peer ids (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md).
 */
export type Brand<T, B extends string> = T & { readonly __brand: B }

/** An Ed25519 libp2p peer id in base58btc text, `12D3Koo…` (52 characters). */
export type PeerIdStr = Brand<string, 'PeerIdStr'>

/** The peer id text of the network's root public key: the network's name everywhere. */
export type NetworkId = Brand<string, 'NetworkId'>
