/**
 * Who a node is: an Ed25519 key, named by its libp2p peer id.
 * Source: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md (an Ed25519 id is the identity multihash of the protobuf key).
 */
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { base58btc } from 'multiformats/bases/base58'
import { KEY_BYTES, keyPairFromSeed, randomBytes } from './ed25519.ts'
import type { PeerIdStr } from './ids.ts'
import type { Ed25519PrivateKey } from '@libp2p/interface'

/** Identity multihash of 36 bytes: key type Ed25519, key of 32 bytes. */
const PEER_ID_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)
/** Characters of an Ed25519 peer id in base58btc. */
const PEER_ID_CHARACTERS = 52

export interface Identity {
  readonly peerId: PeerIdStr
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array
  /** The same key in libp2p's shape, for Noise. */
  readonly privateKey: Ed25519PrivateKey
  /** @returns an Ed25519 signature of 64 bytes over exactly these bytes; callers add a domain (see `statement.ts`) */
  sign (message: Uint8Array): Uint8Array
}

/** @returns a new identity from the operating system's randomness */
export function generateIdentity (): Identity {
  return identityFromSeed(randomBytes(KEY_BYTES))
}

/**
 * @param seed - 32 secret bytes; copied
 * @returns the identity that this seed always gives
 */
export function identityFromSeed (seed: Uint8Array): Identity {
  const { publicKey, sign } = keyPairFromSeed(seed)
  const raw = new Uint8Array(2 * KEY_BYTES)
  raw.set(seed)
  raw.set(publicKey, KEY_BYTES)

  const privateKey = privateKeyFromRaw(raw)
  if (privateKey.type !== 'Ed25519') throw new Error(`libp2p read an Ed25519 key as ${privateKey.type}`)

  return { peerId: peerIdFromPublicKey(publicKey), publicKey, privateKey, sign }
}

/**
 * @param identity - its seed leaves it only through here, for the key file
 * @returns the 32 secret bytes, a copy
 */
export function seedOf (identity: Identity): Uint8Array {
  return Uint8Array.from(identity.privateKey.raw.subarray(0, KEY_BYTES))
}

/**
 * @param publicKey - raw Ed25519, 32 bytes
 * @returns the peer id text, 52 characters
 */
export function peerIdFromPublicKey (publicKey: Uint8Array): PeerIdStr {
  if (publicKey.byteLength !== KEY_BYTES) throw new RangeError(`An Ed25519 public key has ${KEY_BYTES} bytes, this one ${publicKey.byteLength}`)

  const multihash = new Uint8Array(PEER_ID_PREFIX.byteLength + KEY_BYTES)
  multihash.set(PEER_ID_PREFIX)
  multihash.set(publicKey, PEER_ID_PREFIX.byteLength)

  return base58btc.baseEncode(multihash) as PeerIdStr
}

/**
 * @param peerId - text from anywhere
 * @returns the raw key of 32 bytes; undefined where the text is not an Ed25519 peer id in base58btc
 */
export function publicKeyFromPeerId (peerId: string): Uint8Array | undefined {
  if (peerId.length !== PEER_ID_CHARACTERS) return undefined

  let multihash: Uint8Array
  try {
    multihash = base58btc.baseDecode(peerId)
  } catch {
    return undefined // a character outside of the alphabet
  }

  if (multihash.byteLength !== PEER_ID_PREFIX.byteLength + KEY_BYTES) return undefined
  if (PEER_ID_PREFIX.some((byte, index) => multihash[index] !== byte)) return undefined

  return multihash.slice(PEER_ID_PREFIX.byteLength)
}
