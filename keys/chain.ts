/**
 * Chains of certificates: root → issuer → invite key → member. Pure: the clock and the roster are arguments.
 */
import { CLOCK_SKEW_MS, decodeCertificate, issueCertificate, CERTIFICATE_LIFETIME_MS } from './certificate.ts'
import { ConclaveError } from './conclave-error.ts'
import { accept, reject } from './verdict.ts'
import type { Capability, Certificate } from './certificate.ts'
import type { Identity } from './identity.ts'
import type { NetworkId, PeerIdStr } from './ids.ts'
import type { Verdict } from './verdict.ts'

/** Most certificates of a chain: an issuer, two generations of invitation, one extension. */
export const MAX_CHAIN_CERTIFICATES = 6

export interface VerifiedChain {
  /** Whose chain it is. */
  readonly holder: PeerIdStr
  readonly capabilities: readonly Capability[]
  /** Of the last certificate. */
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /**
   * The grant that the holder was invited with; absent where the root certified the holder itself. Whether it still has uses, and was open
   * when the holder was admitted, only the ledger can say: `id` (peer id text of the invite key) is what uses are counted by.
   */
  readonly grant?: { readonly id: string, readonly uses: number, readonly notAfterMs: number }
  /** The members that this chain rests upon, nearest the root first, without the holder. Each must be admitted and unrevoked for an admission. */
  readonly issuers: readonly PeerIdStr[]
}

export interface ChainRules {
  readonly network: NetworkId
  /**
   * Whether this peer's word extends a certificate: the roster says that it is a member with `vote`. Absent: nobody's does, and a chain
   * with an extension is rejected.
   */
  readonly mayExtend?: (peer: PeerIdStr) => boolean
}

/**
 * Judge a member's chain.
 *
 * @param chain - certificates as received, root's first, the holder's own last
 * @param rules - `holder`: the peer that shows the chain, proven by other means; `nowMs`: wall clock. Only the last certificate's dates are
 * held against `nowMs`: those before it had to be valid when they signed
 * @returns CERT_CHAIN_LENGTH, CERT_CHAIN_ORDER, CERT_WRONG_NETWORK, CERT_WRONG_SIGNER, CERT_WIDENED, CERT_NOT_ISSUER, CERT_OUTSIDE_ISSUER,
 * CERT_EXTENDER, CERT_WRONG_HOLDER, CERT_NOT_YET_VALID, CERT_EXPIRED, those of `decodeCertificate`, or what the chain says
 */
export function verifyChain (chain: readonly Uint8Array[], rules: ChainRules & { holder: PeerIdStr, nowMs: number }): Verdict<VerifiedChain> {
  const walked = walkMemberChain(chain, rules)
  if (walked.verdict !== 'accept') return walked
  if (rules.nowMs < walked.value.notBeforeMs - CLOCK_SKEW_MS) {
    return reject('CERT_NOT_YET_VALID', `the certificate is not valid before ${isoDate(walked.value.notBeforeMs)}; is a clock wrong?`)
  }
  if (rules.nowMs > walked.value.notAfterMs + CLOCK_SKEW_MS) {
    return reject('CERT_EXPIRED', `the certificate expired at ${isoDate(walked.value.notAfterMs)}`)
  }

  return walked
}

/**
 * `verifyChain` without the clock: for signatures that were given in the past.
 *
 * @returns as `verifyChain`, without CERT_NOT_YET_VALID and CERT_EXPIRED
 */
export function walkMemberChain (chain: readonly Uint8Array[], rules: ChainRules & { holder: PeerIdStr }): Verdict<VerifiedChain> {
  const walked = walkChain(chain, rules)
  if (walked.verdict !== 'accept') return walked

  const { last, grant, issuers } = walked.value
  if (last.kind === 'grant') return reject('CERT_CHAIN_ORDER', 'the chain ends with an invite key, not with a member')
  if (last.subject !== rules.holder) return reject('CERT_WRONG_HOLDER', 'the certificate belongs to another peer than the one that shows it')

  return accept({
    holder: last.subject,
    capabilities: last.capabilities,
    notBeforeMs: last.notBeforeMs,
    notAfterMs: last.notAfterMs,
    ...(grant === undefined ? {} : { grant: { id: grant.subject, uses: grant.uses, notAfterMs: grant.notAfterMs } }),
    issuers: issuers.slice(0, -1)
  })
}

/** What a walk down a chain has found so far. */
export interface WalkedChain {
  readonly last: Certificate
  /** The last grant passed. */
  readonly grant?: Certificate
  /** Member subjects passed, in order. */
  readonly issuers: readonly PeerIdStr[]
}

/**
 * Check every link of a chain against the one before it; the last may be a grant (as in a ticket).
 *
 * @returns as `walkMemberChain`, without CERT_WRONG_HOLDER
 */
export function walkChain (chain: readonly Uint8Array[], rules: ChainRules): Verdict<WalkedChain> {
  if (chain.length < 1 || chain.length > MAX_CHAIN_CERTIFICATES) {
    return reject('CERT_CHAIN_LENGTH', `a chain of ${chain.length} certificates, it must have 1 to ${MAX_CHAIN_CERTIFICATES}`)
  }

  let walked: WalkedChain | undefined
  for (const bytes of chain) {
    const decoded = decodeCertificate(bytes)
    if (decoded.verdict !== 'accept') return decoded

    const link = decoded.value
    if (link.network !== rules.network) return reject('CERT_WRONG_NETWORK', 'the certificate is of another network')

    const fault = walked === undefined ? checkFirst(link) : checkLink(walked, link, rules)
    if (fault !== undefined) return fault

    const issuers: readonly PeerIdStr[] = walked?.issuers ?? []
    const grant = link.kind === 'grant' ? link : walked?.grant
    walked = {
      last: link,
      ...(grant === undefined ? {} : { grant }),
      issuers: link.kind === 'member' ? [...issuers, link.subject] : issuers
    }
  }

  // the length was checked: there was a first link
  return accept(walked as WalkedChain)
}

type Fault = Verdict<never> | undefined

function checkFirst (link: Certificate): Fault {
  if (link.kind !== 'member') return reject('CERT_CHAIN_ORDER', `a chain cannot begin with a certificate of kind ${link.kind}`)
  if (link.issuer as string !== link.network) return reject('CERT_WRONG_SIGNER', "the first certificate is not signed by the network's root")
}

function checkLink (above: WalkedChain, link: Certificate, rules: ChainRules): Fault {
  const { last } = above
  if (link.capabilities.some(capability => !last.capabilities.includes(capability))) {
    return reject('CERT_WIDENED', 'the certificate grants more than the one that it rests upon')
  }

  switch (link.kind) {
    case 'grant': return checkGrantLink(last, link)
    case 'member': return checkMemberLink(last, link)
    case 'extension': return checkExtensionLink(last, link, rules)
  }
}

function checkGrantLink (last: Certificate, link: Certificate): Fault {
  if (last.kind === 'grant') return reject('CERT_CHAIN_ORDER', 'an invite key cannot sign an invitation')
  if (link.issuer !== last.subject) return reject('CERT_WRONG_SIGNER', 'the invitation is not signed by the member before it')
  if (!last.capabilities.includes('invite')) return reject('CERT_NOT_ISSUER', 'the invitation is signed by a member that may not invite')
  // a grant ends with its issuer's certificate, so that nobody invites after its own time is over by writing an earlier date
  if (link.notBeforeMs < last.notBeforeMs - CLOCK_SKEW_MS || link.notAfterMs > last.notAfterMs) {
    return reject('CERT_OUTSIDE_ISSUER', "the invitation's dates are outside of its issuer's")
  }
}

function checkMemberLink (last: Certificate, link: Certificate): Fault {
  if (last.kind !== 'grant') return reject('CERT_CHAIN_ORDER', 'a member is certified by the root or by an invite key')
  if (link.issuer !== last.subject) return reject('CERT_WRONG_SIGNER', 'the certificate is not signed by the invite key before it')
  // it outlives the grant: a ticket of one hour makes a member for 7 days
  if (link.notBeforeMs < last.notBeforeMs - CLOCK_SKEW_MS || link.notBeforeMs > last.notAfterMs + CLOCK_SKEW_MS) {
    return reject('CERT_OUTSIDE_ISSUER', 'the certificate was not made while its invitation was open')
  }
}

function checkExtensionLink (last: Certificate, link: Certificate, rules: ChainRules): Fault {
  if (last.kind !== 'member') return reject('CERT_CHAIN_ORDER', "an extension follows a member's certificate, and only one does")
  if (link.subject !== last.subject) return reject('CERT_WRONG_HOLDER', 'the extension is for another key than the certificate before it')
  if (link.notBeforeMs < last.notBeforeMs - CLOCK_SKEW_MS) return reject('CERT_OUTSIDE_ISSUER', 'the extension is older than what it extends')
  if (rules.mayExtend?.(link.issuer) !== true) {
    return reject('CERT_EXTENDER', 'the extension is signed by a peer that is not known here as a member with `vote`')
  }
}

/**
 * Give a member later dates. It counts once the ledger holds it.
 *
 * @param extender - the leader: a member with `vote`
 * @param options - `chain`: the member's, valid but for its dates; `capabilities`: those to keep, all of them where absent; `nowMs`: wall clock
 * @returns the member's new chain: an earlier extension gives way to the new one, valid for 7 days from `nowMs`
 * @throws ConclaveError the code of `walkChain` where the chain is not one
 */
export function renewCertificate (extender: Identity, options: {
  chain: readonly Uint8Array[]
  network: NetworkId
  nowMs: number
  capabilities?: readonly Capability[]
}): Uint8Array[] {
  const walked = walkChain(options.chain, { network: options.network, mayExtend: () => true })
  if (walked.verdict !== 'accept') throw new ConclaveError(walked.code, `Cannot renew: ${walked.reason}`)

  const { last } = walked.value
  if (last.kind === 'grant') throw new ConclaveError('CERT_CHAIN_ORDER', 'Cannot renew an invitation: make a new one')

  const extension = issueCertificate(extender, {
    kind: 'extension',
    network: options.network,
    subject: last.subject,
    capabilities: options.capabilities ?? last.capabilities,
    notBeforeMs: options.nowMs,
    notAfterMs: options.nowMs + CERTIFICATE_LIFETIME_MS,
    uses: 0
  })

  return [...(last.kind === 'extension' ? options.chain.slice(0, -1) : options.chain), extension]
}

function isoDate (ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : 'an impossible date'
}
