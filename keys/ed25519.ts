/**
 * Ed25519 and randomness from OpenSSL, with the parsed keys kept: on Node 24 parsing a raw key costs more than the signature it is for.
 * Source: RFC 8032 (signatures), RFC 8410 (key encodings).
 */
import { createPrivateKey, createPublicKey, randomBytes as nodeRandomBytes, sign as nodeSign, verify as nodeVerify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/** Bytes of a seed and of a public key. */
export const KEY_BYTES = 32
/** Bytes of a signature. */
export const SIGNATURE_BYTES = 64

/** How many parsed public keys are kept: those of a large network's members; the oldest goes first. */
const MAX_CACHED_KEYS = 2048

const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

const cachedKeys = new Map<string, KeyObject>()

/**
 * @param length - in bytes
 * @returns fresh bytes from the operating system's generator
 */
export function randomBytes (length: number): Uint8Array {
  return new Uint8Array(nodeRandomBytes(length))
}

/**
 * @param seed - 32 bytes; copied
 * @returns the raw public key of 32 bytes, and a signer that holds the parsed private key
 */
export function keyPairFromSeed (seed: Uint8Array): { publicKey: Uint8Array, sign: (message: Uint8Array) => Uint8Array } {
  if (seed.byteLength !== KEY_BYTES) throw new RangeError(`An Ed25519 seed has ${KEY_BYTES} bytes, this one ${seed.byteLength}`)

  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), type: 'pkcs8', format: 'der' })
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })

  return {
    publicKey: Uint8Array.from(spki.subarray(SPKI_PREFIX.byteLength)),
    sign: message => new Uint8Array(nodeSign(null, message, privateKey))
  }
}

/**
 * @param publicKey - raw, 32 bytes; any other length or a point that is not on the curve verifies nothing
 * @param message - the exact bytes that were signed
 * @param signature - 64 bytes; any other length is false
 * @returns whether the holder of the key signed the message; never throws
 */
export function verify (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.byteLength !== KEY_BYTES || signature.byteLength !== SIGNATURE_BYTES) return false

  try {
    return nodeVerify(null, message, parsedKey(publicKey), signature)
  } catch {
    // OpenSSL refuses some malformed points by throwing: such a key has signed nothing
    return false
  }
}

function parsedKey (publicKey: Uint8Array): KeyObject {
  const id = Buffer.from(publicKey).toString('latin1')
  const cached = cachedKeys.get(id)
  if (cached !== undefined) return cached

  const parsed = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), type: 'spki', format: 'der' })
  if (cachedKeys.size >= MAX_CACHED_KEYS) {
    const oldest = cachedKeys.keys().next().value
    if (oldest !== undefined) cachedKeys.delete(oldest)
  }
  cachedKeys.set(id, parsed)

  return parsed
}
