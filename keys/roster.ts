/**
 * Who is a member, and what that makes of a peer that shows its credentials. Pure.
 */
import { verifyAttestation } from './attestation.ts'
import { CLOCK_SKEW_MS } from './certificate.ts'
import { verifyChain } from './chain.ts'
import { accept, ignore, reject } from './verdict.ts'
import type { Capability } from './certificate.ts'
import type { VerifiedChain } from './chain.ts'
import type { NetworkId, PeerIdStr } from './ids.ts'
import type { Verdict } from './verdict.ts'

export interface RosterMember {
  readonly capabilities: readonly Capability[]
  /** Until when it may act; renewed in the ledger. Wall clock. */
  readonly notAfterMs: number
  /** Absent: certified by the root. */
  readonly grantId?: string
}

/** What a replica of the ledger says about membership. */
export interface Roster {
  readonly network: NetworkId
  /** Ledger index that this is the state at; 0: nothing is known yet, and the maps are empty. */
  readonly index: number
  readonly members: ReadonlyMap<PeerIdStr, RosterMember>
  /** A revoked peer stays here for ever, and is no member. */
  readonly revoked: ReadonlySet<PeerIdStr>
}

/** What a peer shows of itself in the handshake. */
export interface Credentials {
  /** Certificates, the root's first, its own last. */
  readonly chain: readonly Uint8Array[]
  /** The leader's word that the ledger has admitted it (`attestation.ts`); absent before that. */
  readonly attestation?: Uint8Array
}

/** What a judged peer may do here. */
export interface Standing {
  /** `renewal`: its certificate expired; it may ask for a new one and do nothing else. */
  readonly mode: 'member' | 'renewal'
  readonly capabilities: readonly Capability[]
  readonly notAfterMs: number
}

/**
 * Decide whether a peer belongs to the network.
 *
 * The ledger comes first: whom it lists is judged by what it says, whatever the peer shows. Whom it does not list must show a chain, and
 * either rest upon the root alone, or bring an attestation of an admission that lies ahead of our replica.
 *
 * @param roster - our replica's state
 * @param remote - proven by Noise
 * @param credentials - as received
 * @param nowMs - wall clock
 * @param trusted - peers that our own ticket names: while our replica is empty, their chains need no attestation
 * @returns `ignore` NEEDS_ADMISSION: a good chain that no ledger entry known here admits; pass it on to the leader. `reject` REVOKED,
 * ISSUER_REVOKED, NOT_ADMITTED, or a code of `verifyChain`
 */
export function judgePeer (roster: Roster, remote: PeerIdStr, credentials: Credentials, nowMs: number,
  trusted: ReadonlySet<PeerIdStr> = new Set()): Verdict<Standing> {
  if (roster.revoked.has(remote)) return reject('REVOKED', 'this peer was revoked')

  const member = roster.members.get(remote)
  if (member !== undefined) return accept(standingOf(member, nowMs))

  const isNamedByTicket = roster.index === 0 && trusted.has(remote)
  const chain = verifyChain(credentials.chain, {
    network: roster.network,
    holder: remote,
    nowMs,
    mayExtend: peer => isNamedByTicket || isVoter(roster, peer)
  })
  if (chain.verdict !== 'accept') {
    // an extension by a voter that our replica has not heard of: the ledger knows better
    return chain.code === 'CERT_EXTENDER' ? ignore('NEEDS_ADMISSION', 'a renewed certificate that the ledger here does not hold yet') : chain
  }
  if (chain.value.issuers.some(issuer => roster.revoked.has(issuer))) return reject('ISSUER_REVOKED', 'whoever invited this peer was revoked')

  const standing: Standing = { mode: 'member', capabilities: chain.value.capabilities, notAfterMs: chain.value.notAfterMs }
  if (chain.value.grant === undefined || isNamedByTicket) return accept(standing)

  const admitted = judgeAdmission(roster, chain.value, chain.value.grant.id, credentials.attestation)

  return admitted.verdict === 'accept' ? accept(standing) : admitted
}

/** Is the attested admission one that our replica cannot know yet? */
function judgeAdmission (roster: Roster, chain: VerifiedChain, grant: string, attestation: Uint8Array | undefined): Verdict<unknown> {
  if (attestation === undefined) return ignore('NEEDS_ADMISSION', 'the ledger has not admitted this peer yet')

  const attested = verifyAttestation(attestation, {
    network: roster.network,
    peer: chain.holder,
    grant,
    isVoter: peer => roster.revoked.has(peer) ? false : roster.members.get(peer)?.capabilities.includes('vote')
  })
  if (attested.verdict !== 'accept') return ignore('NEEDS_ADMISSION', `the ledger has not admitted this peer yet (${attested.reason})`)
  if (attested.value.index <= roster.index) {
    return reject('NOT_ADMITTED', `the ledger does not hold the admission that is attested for entry ${attested.value.index}`)
  }

  return attested
}

function isVoter (roster: Roster, peer: PeerIdStr): boolean {
  return roster.members.get(peer)?.capabilities.includes('vote') === true
}

function standingOf (member: RosterMember, nowMs: number): Standing {
  return {
    mode: nowMs > member.notAfterMs + CLOCK_SKEW_MS ? 'renewal' : 'member',
    capabilities: member.capabilities,
    notAfterMs: member.notAfterMs
  }
}
