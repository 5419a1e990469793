/**
 * Admission, renewal, revocation: judged here both before they are proposed and when they are committed (certificates carry their
 * own signatures, dates are held against the command's `atMs`, and such commands are rare).
 */
import { LEDGER_LIMITS } from '../../protocols/ledger/constants.ts'
import { Revocation } from '../../protocols/ledger/messages.js'
import { CLOCK_SKEW_MS, decodeCertificate } from '../../keys/certificate.ts'
import { verifyChain, type VerifiedChain } from '../../keys/chain.ts'
import { accept, ignore, reject, type Verdict } from '../../keys/verdict.ts'
import { judgeSigner } from './judge.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Grant, Ledger, Member, Signed } from './state.ts'

export interface Admission { readonly peerId: PeerIdStr, readonly member: Member, readonly grant: { readonly id: string, readonly after: Grant } | undefined }

/**
 * Whether a peer may become a member now.
 *
 * @param chain - root first, the peer's own certificate last
 * @param atMs - wall clock of the leader that proposes it
 * @param index - ledger index of the admission
 * @returns `accept` with what to write; `ignore` ALREADY_MEMBER for the same invitation again, which takes no second use; else a
 *   rejection: REVOKED, ISSUER_UNKNOWN, GRANT_EXPIRED, GRANT_USED_UP, MEMBERS_LIMIT, GRANTS_LIMIT, or a code of `verifyChain`
 */
export function judgeAdmission (ledger: Ledger, chain: readonly Uint8Array[], atMs: number, index: number): Verdict<Admission> {
  const verified = readChain(ledger, chain, atMs)
  if (verified.verdict !== 'accept') return verified
  const { holder: peerId, capabilities, notAfterMs, grant, issuers } = verified.value
  if (ledger.revoked.has(peerId)) return reject('REVOKED', `${peerId} was revoked; it needs a new identity`)
  const present = ledger.members.get(peerId)
  if (present !== undefined && present.grantId === grant?.id) return ignore('ALREADY_MEMBER', `${peerId} is a member already`)
  const stranger = issuers.find((issuer) => !ledger.members.has(issuer))
  if (stranger !== undefined) return reject('ISSUER_UNKNOWN', `the invitation rests upon ${stranger}, which is no member`)
  if (present === undefined && ledger.members.size >= LEDGER_LIMITS.maxMembers) return reject('MEMBERS_LIMIT', `a network has at most ${LEDGER_LIMITS.maxMembers} members`)
  const member: Member = { capabilities, notAfterMs, ...(grant === undefined ? {} : { grantId: grant.id }), chain: chain.map((bytes) => bytes.slice()), admittedAt: index }
  if (grant === undefined) return accept({ peerId, member, grant: undefined })
  if (atMs > grant.notAfterMs + CLOCK_SKEW_MS) return reject('GRANT_EXPIRED', 'the invitation has expired')
  const used = ledger.grants.get(grant.id)?.used ?? 0
  if (used >= grant.uses) return reject('GRANT_USED_UP', `the invitation was for ${grant.uses} and has been used ${used} times`)
  if (used === 0 && ledger.grants.size >= LEDGER_LIMITS.maxGrants && oldestExpired(ledger, atMs) === undefined) return reject('GRANTS_LIMIT', `at most ${LEDGER_LIMITS.maxGrants} open invitations are counted`)
  return accept({ peerId, member, grant: { id: grant.id, after: { used: used + 1, uses: grant.uses, notAfterMs: grant.notAfterMs } } })
}

/** An invitation that cannot be used any more, so that nothing is lost by forgetting it; a day is left for wrong clocks. */
export function oldestExpired (ledger: Ledger, atMs: number): string | undefined {
  for (const [id, grant] of ledger.grants) {
    if (grant.notAfterMs + 86_400_000 < atMs) return id
  }
  return undefined
}

/**
 * Whether a member's certificate may be replaced by one that lasts longer.
 *
 * @returns `accept` with the member to write; `ignore` ALREADY_RENEWED; `reject` NOT_A_MEMBER, WIDENED, or a code of `verifyChain`
 */
export function judgeRenewal (ledger: Ledger, chain: readonly Uint8Array[], atMs: number): Verdict<{ peerId: PeerIdStr, member: Member }> {
  const verified = readChain(ledger, chain, atMs)
  if (verified.verdict !== 'accept') return verified
  const { holder: peerId, capabilities, notAfterMs } = verified.value
  const present = ledger.members.get(peerId)
  if (present === undefined) return reject('NOT_A_MEMBER', `${peerId} is not a member`)
  if (notAfterMs <= present.notAfterMs) return ignore('ALREADY_RENEWED', `${peerId} has a certificate that lasts as long`)
  if (capabilities.some((capability) => !present.capabilities.includes(capability))) return reject('WIDENED', 'a renewal cannot add capabilities')
  return accept({ peerId, member: { ...present, capabilities, notAfterMs, chain: chain.map((bytes) => bytes.slice()) } })
}

/**
 * Whether this revocation counts: by the root, or by a member that may invite; never of the root. Signatures are not checked here.
 *
 * @returns `accept` with the peer; `ignore` ALREADY_REVOKED; a rejection
 */
export function judgeRevocation (ledger: Ledger, signed: Signed | undefined): Verdict<{ peerId: PeerIdStr, atMs: number }> {
  if (signed?.signer !== (ledger.network as string)) {
    const signer = judgeSigner(ledger, signed, 'invite')
    if (signer.verdict !== 'accept') return signer
  }
  let revocation: Revocation
  try {
    revocation = Revocation.decode(signed?.payload ?? new Uint8Array())
  } catch (error) {
    return reject('REVOCATION_UNDECODABLE', error instanceof Error ? error.message : 'unknown')
  }
  const peerId = revocation.peer as PeerIdStr
  if (revocation.network !== ledger.network) return reject('WRONG_NETWORK', 'a revocation for another network')
  if (ledger.revoked.has(peerId)) return ignore('ALREADY_REVOKED', `${peerId} is revoked already`)
  if (!ledger.members.has(peerId)) return reject('NOT_A_MEMBER', `${peerId} is not a member`)
  if (ledger.revoked.size >= LEDGER_LIMITS.maxRevoked) return reject('REVOKED_LIMIT', `at most ${LEDGER_LIMITS.maxRevoked} revocations are kept: make a new network`)
  return accept({ peerId, atMs: revocation.atMs })
}

/** The chain, held against this ledger's network and those who may extend certificates in it. */
export function readChain (ledger: Ledger, chain: readonly Uint8Array[], atMs: number): Verdict<VerifiedChain> {
  const last = chain.at(-1)
  if (last === undefined) return reject('CERT_CHAIN_LENGTH', 'a chain without certificates')
  const own = decodeCertificate(last)
  if (own.verdict !== 'accept') return own
  return verifyChain(chain, {
    network: ledger.network,
    holder: own.value.subject,
    nowMs: atMs,
    mayExtend: (peer) => ledger.members.get(peer)?.capabilities.includes('vote') === true
  })
}
