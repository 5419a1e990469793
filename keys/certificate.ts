/**
 * One certificate: who may do what in which network, from when until when, by whose word.
 * Chains of them are judged in `chain.ts`. The format and the rules are in README.md beside this file.
 */
import { readCanonical } from './canonical.ts'
import { SIGNATURE_BYTES, KEY_BYTES, verify } from './ed25519.ts'
import { peerIdFromPublicKey, publicKeyFromPeerId } from './identity.ts'
import { Certificate as CertificateMessage, CertificateBody } from './messages.js'
import { bytesToSign } from './statement.ts'
import { accept, reject } from './verdict.ts'
import type { Identity } from './identity.ts'
import type { NetworkId, PeerIdStr } from './ids.ts'
import type { Verdict } from './verdict.ts'

export type Capability = 'vote' | 'work' | 'submit' | 'observe' | 'invite'
/** In the order of their bits on the wire, lowest first. */
export const CAPABILITIES: readonly Capability[] = ['vote', 'work', 'submit', 'observe', 'invite']

/**
 * - `member`: for the key of a node; signed by the root (an issuer) or by an invite key
 * - `grant`: for an invite key; signed by a member with `invite`
 * - `extension`: later dates for the node that the link before it is for; signed by a member with `vote`
 */
export type CertificateKind = 'member' | 'grant' | 'extension'
const KINDS: readonly string[] = ['member', 'grant', 'extension'] satisfies CertificateKind[]

/** Largest certificate that is read. A real one has about 200 bytes. */
export const MAX_CERTIFICATE_BYTES = 1024
/** Longest validity of any certificate: after that, somebody must have renewed it. */
export const CERTIFICATE_LIFETIME_MS = 7 * 24 * 60 * 60_000
/** How far two honest clocks may stand apart. */
export const CLOCK_SKEW_MS = 5 * 60_000
/** Most members that one grant may admit. */
export const MAX_GRANT_USES = 1000

const DOMAIN = 'certificate'

export interface Certificate {
  readonly kind: CertificateKind
  readonly network: NetworkId
  readonly subject: PeerIdStr
  readonly issuer: PeerIdStr
  /** In the order of `CAPABILITIES`, each at most once. */
  readonly capabilities: readonly Capability[]
  /** Wall clock, milliseconds since 1970; both ends belong to the validity. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Of a grant, 1 to `MAX_GRANT_USES`; 0 otherwise. */
  readonly uses: number
}

/**
 * @param issuer - signs, and becomes the certificate's issuer
 * @param fields - see `Certificate`; written as given: whether a chain with it is valid is for `verifyChain` to say
 * @returns the certificate's bytes, the same ones for the same input
 */
export function issueCertificate (issuer: Identity, fields: Omit<Certificate, 'issuer'>): Uint8Array {
  const body = CertificateBody.encode({
    kind: fields.kind,
    network: rawKey(fields.network),
    subject: rawKey(fields.subject),
    issuer: issuer.publicKey,
    capabilities: capabilityBits(fields.capabilities),
    notBeforeMs: fields.notBeforeMs,
    notAfterMs: fields.notAfterMs,
    uses: fields.uses
  })

  return CertificateMessage.encode({ body, signature: issuer.sign(bytesToSign(DOMAIN, body)) })
}

/**
 * Read one certificate and check what can be checked of it alone: size, form, dates in order, its issuer's signature.
 *
 * @param bytes - from anywhere
 * @returns CERT_TOO_LARGE, CERT_MALFORMED, CERT_TOO_LONG_LIVED, CERT_BAD_SIGNATURE, or the certificate. An accepted one proves only that
 * the issuer named in it said so.
 */
export function decodeCertificate (bytes: Uint8Array): Verdict<Certificate> {
  if (bytes.byteLength > MAX_CERTIFICATE_BYTES) {
    return reject('CERT_TOO_LARGE', `a certificate of ${bytes.byteLength} bytes, at most ${MAX_CERTIFICATE_BYTES} are read`)
  }

  const message = readCanonical<CertificateMessage>(CertificateMessage, bytes)
  const body = message === undefined ? undefined : readCanonical<CertificateBody>(CertificateBody, message.body)
  if (message === undefined || body === undefined) return malformed('not in the one form that certificates have')
  if (message.signature.byteLength !== SIGNATURE_BYTES) return malformed('a signature of the wrong length')
  if ([body.network, body.subject, body.issuer].some(key => key.byteLength !== KEY_BYTES)) return malformed('a key of the wrong length')
  if (!KINDS.includes(body.kind)) return malformed('of an unknown kind')
  if (body.capabilities === 0 || body.capabilities >= 2 ** CAPABILITIES.length) return malformed('capabilities that do not exist, or none')
  if (!Number.isSafeInteger(body.notBeforeMs) || !Number.isSafeInteger(body.notAfterMs)) return malformed('dates out of range')
  if (body.notAfterMs <= body.notBeforeMs) return malformed('it ends before it begins')
  if (body.kind === 'grant' ? body.uses < 1 || body.uses > MAX_GRANT_USES : body.uses !== 0) return malformed('a wrong number of uses')
  if (body.notAfterMs - body.notBeforeMs > CERTIFICATE_LIFETIME_MS) {
    return reject('CERT_TOO_LONG_LIVED', 'a certificate that is valid for longer than 7 days')
  }
  if (!verify(body.issuer, bytesToSign(DOMAIN, message.body), message.signature)) {
    return reject('CERT_BAD_SIGNATURE', 'a certificate that its issuer did not sign')
  }

  return accept({
    kind: body.kind as CertificateKind,
    network: peerIdFromPublicKey(body.network) as string as NetworkId,
    subject: peerIdFromPublicKey(body.subject),
    issuer: peerIdFromPublicKey(body.issuer),
    capabilities: CAPABILITIES.filter((_, bit) => (body.capabilities & (1 << bit)) !== 0),
    notBeforeMs: body.notBeforeMs,
    notAfterMs: body.notAfterMs,
    uses: body.uses
  })
}

function malformed (what: string): Verdict<never> {
  return reject('CERT_MALFORMED', `a damaged certificate: ${what}`)
}

function capabilityBits (capabilities: readonly Capability[]): number {
  return capabilities.reduce((bits, capability) => bits | (1 << CAPABILITIES.indexOf(capability)), 0)
}

/** @throws RangeError - our own caller passed text that is no peer id */
function rawKey (peerId: string): Uint8Array {
  const raw = publicKeyFromPeerId(peerId)
  if (raw === undefined) throw new RangeError('Not an Ed25519 peer id')

  return raw
}
