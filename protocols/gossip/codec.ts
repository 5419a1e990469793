/**
 * Signed envelopes as bytes. Pure; spec: README.md beside this file.
 */
import { signStatement, verifyStatement } from '../../keys/statement.ts'
import { accept, reject } from '../../keys/verdict.ts'
import { ENVELOPE_DOMAIN, ENVELOPE_OVERHEAD_BYTES, MAX_PAYLOAD_BYTES } from './constants.ts'
import { Envelope, SignedEnvelope } from './messages.js'
import type { Identity } from '../../keys/identity.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Verdict } from '../../keys/verdict.ts'

export interface EnvelopeFields {
  network: string
  topic: string
  author: PeerIdStr
  /** of the author's start; integer from 1 */
  incarnation: number
  /** integer from 1, within the incarnation */
  sequence: number
  term: number
  payload: Uint8Array
}

/** An envelope whose fields are known but whose signature nobody has checked. */
export interface UnverifiedEnvelope extends EnvelopeFields {
  /** Costs about 0.1 ms. @returns whether `author` signed exactly these fields */
  verify: () => boolean
}

/** @returns the bytes to publish; the author is the identity */
export function signEnvelope (identity: Identity, fields: Omit<EnvelopeFields, 'author'>): Uint8Array {
  const envelope = Envelope.encode({ ...fields, author: identity.peerId, payload: fields.payload as Uint8Array<ArrayBuffer> })
  const { signature } = signStatement(identity, ENVELOPE_DOMAIN, envelope)
  return SignedEnvelope.encode({ envelope, signature: signature as Uint8Array<ArrayBuffer> })
}

/** @returns reject ENVELOPE_TOO_LARGE, ENVELOPE_MALFORMED. The payload shares the memory of `bytes`. */
export function decodeEnvelope (bytes: Uint8Array): Verdict<UnverifiedEnvelope> {
  if (bytes.byteLength > MAX_PAYLOAD_BYTES + ENVELOPE_OVERHEAD_BYTES) {
    return reject('ENVELOPE_TOO_LARGE', `an envelope of ${bytes.byteLength} bytes, at most ${MAX_PAYLOAD_BYTES + ENVELOPE_OVERHEAD_BYTES} are taken`)
  }
  try {
    const { envelope, signature } = SignedEnvelope.decode(bytes)
    // one content, one encoding: else anybody could make new message ids of an old envelope
    if (!sameBytes(SignedEnvelope.encode({ envelope, signature }), bytes)) return reject('ENVELOPE_MALFORMED', 'not in its canonical encoding')
    const fields = Envelope.decode(envelope)
    const { author, incarnation, sequence, payload } = fields
    if (incarnation < 1 || sequence < 1) return reject('ENVELOPE_MALFORMED', 'incarnation and sequence start from 1')
    if (payload.byteLength > MAX_PAYLOAD_BYTES) return reject('ENVELOPE_TOO_LARGE', `a payload of ${payload.byteLength} bytes`)
    return accept({
      ...fields,
      author: author as PeerIdStr,
      verify: () => verifyStatement({ payload: envelope, signer: author, signature }, ENVELOPE_DOMAIN)
    })
  } catch (error) {
    return reject('ENVELOPE_MALFORMED', `an envelope does not decode: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function sameBytes (a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false
  for (let index = 0; index < a.byteLength; index++) if (a[index] !== b[index]) return false
  return true
}
