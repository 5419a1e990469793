/**
 * Signed statements: bytes, who signed them, and for which purpose.
 * The purpose (domain) is part of what is signed, so that a signature given for one purpose is worth nothing for another.
 */
import { verify } from './ed25519.ts'
import { publicKeyFromPeerId } from './identity.ts'
import type { Identity } from './identity.ts'

/** The shape of `SignedStatement` in every `.proto` of ours. */
export interface SignedStatement {
  /** The exact bytes that were signed, after the domain prefix. Verified as they are, never re-encoded. */
  payload: Uint8Array
  /** Peer id text. Not trusted before `verifyStatement`. */
  signer: string
  /** Ed25519, 64 bytes. */
  signature: Uint8Array
}

/**
 * @param domain - lower case letters, digits and dashes
 * @returns the bytes that an Ed25519 signature covers: `conclave/<domain>/1\n`, then the payload
 * @throws RangeError where our own code names another kind of domain: it could run into the payload
 */
export function bytesToSign (domain: string, payload: Uint8Array): Uint8Array {
  if (!/^[a-z0-9-]+$/.test(domain)) throw new RangeError(`"${domain}" is no domain`)

  const prefix = new TextEncoder().encode(`conclave/${domain}/1\n`)
  const bytes = new Uint8Array(prefix.byteLength + payload.byteLength)
  bytes.set(prefix)
  bytes.set(payload, prefix.byteLength)

  return bytes
}

/**
 * @param domain - what the statement is for, e.g. `receipts`
 * @param payload - kept by reference, not copied
 */
export function signStatement (identity: Identity, domain: string, payload: Uint8Array): SignedStatement {
  return { payload, signer: identity.peerId, signature: identity.sign(bytesToSign(domain, payload)) }
}

/**
 * @returns whether the statement's signer signed exactly this payload for this domain; never throws. Whether the signer may say such a
 * thing is for the caller to ask.
 */
export function verifyStatement (statement: SignedStatement, domain: string): boolean {
  const publicKey = publicKeyFromPeerId(statement.signer)

  return publicKey !== undefined && verify(publicKey, bytesToSign(domain, statement.payload), statement.signature)
}
