/**
 * The leader's word that the ledger has admitted a peer, for those whose replica does not say so yet.
 *
 * An attester was admitted itself: it shows its chain and, unless the root certified it, its own attestation, and so on up to the root.
 * Nobody can know offline when a signature was made, so the attesters' certificates are not held against the clock; whoever holds the
 * ledger up to the attested index goes by the ledger instead (`roster.ts`).
 */
import { readCanonical } from './canonical.ts'
import { MAX_CHAIN_CERTIFICATES, walkMemberChain } from './chain.ts'
import { ConclaveError } from './conclave-error.ts'
import { Attestation, AttestationBody } from './messages.js'
import { publicKeyFromPeerId } from './identity.ts'
import { signStatement, verifyStatement } from './statement.ts'
import { accept, reject } from './verdict.ts'
import type { Identity } from './identity.ts'
import type { NetworkId, PeerIdStr } from './ids.ts'
import type { Verdict } from './verdict.ts'

/** Largest attestation that is made or read. One step has about 900 bytes. */
export const MAX_ATTESTATION_BYTES = 8 * 1024
/** Most steps from an attestation up to the root. */
export const MAX_ATTESTATION_STEPS = 8

const DOMAIN = 'attestation'

/** What is attested. */
export interface Admission {
  /** Ledger index and term of the entry that admitted the peer. */
  readonly index: number
  readonly term: number
}

/**
 * Attest an admission that is committed.
 *
 * @param leader - signs
 * @param own - the leader's own credentials: its chain, and its attestation unless the root certified it
 * @returns bytes for the admitted peer to show
 * @throws ConclaveError ATTESTATION_TOO_LARGE: the way up to the root has grown too long; the peer can do without, by the ledger alone
 */
export function attest (leader: Identity, own: { readonly chain: readonly Uint8Array[], readonly attestation?: Uint8Array },
  admission: Admission & { network: NetworkId, peer: PeerIdStr, grant: string }): Uint8Array {
  const body = AttestationBody.encode({
    network: publicKeyFromPeerId(admission.network),
    peer: admission.peer,
    grant: admission.grant,
    index: admission.index,
    term: admission.term
  })
  const { signer, signature } = signStatement(leader, DOMAIN, body)
  const bytes = Attestation.encode({ body, signer, signature, signerChain: [...own.chain], sponsor: own.attestation ?? new Uint8Array() })
  if (bytes.byteLength > MAX_ATTESTATION_BYTES) {
    throw new ConclaveError('ATTESTATION_TOO_LARGE', `An attestation would have ${bytes.byteLength} bytes, at most ${MAX_ATTESTATION_BYTES} are allowed`)
  }

  return bytes
}

export interface AttestationRules {
  readonly network: NetworkId
  readonly peer: PeerIdStr
  readonly grant: string
  /** What our replica says of an attester: true ends the way up here, false refuses it, undefined (not listed) goes on upwards. */
  readonly isVoter?: (peer: PeerIdStr) => boolean | undefined
}

/**
 * @param bytes - as received
 * @returns ATTESTATION_TOO_LARGE, ATTESTATION_MALFORMED, ATTESTATION_MISMATCH, ATTESTATION_BAD_SIGNATURE, ATTESTATION_SIGNER, or what is
 * attested
 */
export function verifyAttestation (bytes: Uint8Array, rules: AttestationRules): Verdict<Admission> {
  return verifyStep(bytes, rules, MAX_ATTESTATION_STEPS)
}

function verifyStep (bytes: Uint8Array, rules: AttestationRules, stepsLeft: number): Verdict<Admission> {
  if (bytes.byteLength > MAX_ATTESTATION_BYTES || stepsLeft === 0) return reject('ATTESTATION_TOO_LARGE', 'an attestation that is too large')

  const read = decode(bytes)
  if (read === undefined) return reject('ATTESTATION_MALFORMED', 'a damaged attestation')

  const { message, body } = read
  const network = publicKeyFromPeerId(rules.network)
  const isOfNetwork = network !== undefined && body.network.byteLength === network.byteLength && network.every((byte, i) => byte === body.network[i])
  if (!isOfNetwork || body.peer !== rules.peer || body.grant !== rules.grant) {
    return reject('ATTESTATION_MISMATCH', 'an attestation for another peer, invitation or network')
  }
  if (!verifyStatement({ payload: message.body, signer: message.signer, signature: message.signature }, DOMAIN)) {
    return reject('ATTESTATION_BAD_SIGNATURE', 'an attestation that its signer did not sign')
  }

  // its signature verified, so the signer is a peer id
  const fault = checkSigner(message, message.signer as PeerIdStr, rules, stepsLeft)

  return fault ?? accept({ index: body.index, term: body.term })
}

function checkSigner (message: Attestation, signer: PeerIdStr, rules: AttestationRules, stepsLeft: number): Verdict<never> | undefined {
  const isVoter = rules.isVoter?.(signer)
  if (isVoter === true) return
  if (isVoter === false) return reject('ATTESTATION_SIGNER', 'an attestation by a peer that may not give it')

  const chain = walkMemberChain(message.signerChain, { network: rules.network, holder: signer })
  if (chain.verdict !== 'accept') return reject('ATTESTATION_SIGNER', `an attestation by a peer that proves nothing: ${chain.reason}`)
  if (!chain.value.capabilities.includes('vote')) return reject('ATTESTATION_SIGNER', 'an attestation by a peer without `vote`')
  if (chain.value.grant === undefined) return
  if (message.sponsor.byteLength === 0) return reject('ATTESTATION_SIGNER', 'an attestation by a peer that nobody attests')

  const above = verifyStep(message.sponsor, { ...rules, peer: signer, grant: chain.value.grant.id }, stepsLeft - 1)
  if (above.verdict !== 'accept') return above
}

function decode (bytes: Uint8Array): { message: Attestation, body: AttestationBody } | undefined {
  const message = readCanonical<Attestation>(Attestation, bytes, { signerChain: MAX_CHAIN_CERTIFICATES })
  const body = message === undefined ? undefined : readCanonical<AttestationBody>(AttestationBody, message.body)
  if (message === undefined || body === undefined) return undefined

  return Number.isSafeInteger(body.index) && Number.isSafeInteger(body.term) ? { message, body } : undefined
}
