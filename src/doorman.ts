/**
 * Who comes in, and what they may say: the sealed handshake asks `judge`, the overlay asks `isMember` and `can` for everything after it.
 * The rules are in keys/roster.ts and protocols/policy.ts; here they meet this node's replica, and the leader where the replica lags.
 */
import type { Capability } from '../keys/certificate.ts'
import type { PeerIdStr } from '../keys/ids.ts'
import { judgePeer } from '../keys/roster.ts'
import type { Credentials, Roster, Standing } from '../keys/roster.ts'
import type { Verdict } from '../keys/verdict.ts'
import { MemberReply, MemberRequest } from '../protocols/member/messages.js'
import { maySpeak } from '../protocols/policy.ts'
import type { MessageKind } from '../protocols/policy.ts'
import { ConclaveError } from './errors.ts'
import type { Membership } from './membership.ts'

/** Peers whose admission we were shown but whose ledger entry our replica has not reached. */
const MAX_AHEAD = 64
/**
 * What a member whose certificate has expired may still say: ask for a new one, and vote. Where every voter slept past its date, somebody
 * has to lead for anybody to be renewed; an expired certificate is no revocation.
 */
const RENEWAL_KINDS: ReadonlySet<MessageKind> = new Set(['member', 'raft', 'snapshot', 'ledger', 'results', 'tasks'])

export interface DoormanInit {
  membership: Membership
  roster: () => Roster
  /** brings an encoded MemberRequest to whoever leads; bounded in time by the signal */
  toLeader: (request: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>
  admitMs: number
  nowMs: () => number
}

/** Decides who comes in: the sealed handshake asks `judge`, the overlay asks `isMember` and `can` for everything after it. */
export interface Doorman {
  /** Vouches for a joiner where the ledger does not know it yet: asks the leader to admit it, within the handshake. */
  judge (remote: PeerIdStr, theirs: Credentials, signal: AbortSignal): Promise<Verdict<Standing>>
  isMember (peer: PeerIdStr): boolean
  can (peer: PeerIdStr, kind: MessageKind): boolean
  /** Peers whom our replica lists by now are judged by it alone. Call when the ledger changed. */
  settle (): void
}

export function createDoorman (init: DoormanInit): Doorman {
  const { membership } = init
  // let in on the leader's word, until our replica reaches their admission
  const ahead = new Map<PeerIdStr, Standing>()

  const remember = (remote: PeerIdStr, standing: Standing): void => {
    if (init.roster().members.has(remote)) return
    if (ahead.size >= MAX_AHEAD) ahead.delete(ahead.keys().next().value as PeerIdStr)
    ahead.set(remote, standing)
  }

  const standing = (peer: PeerIdStr): { capabilities: readonly Capability[], renewalOnly: boolean } | undefined => {
    const roster = init.roster()
    if (roster.revoked.has(peer)) return undefined
    const member = roster.members.get(peer)
    if (member !== undefined) {
      const verdict = judgePeer(roster, peer, { chain: [] }, init.nowMs())
      return verdict.verdict === 'accept' ? { capabilities: verdict.value.capabilities, renewalOnly: verdict.value.mode === 'renewal' } : undefined
    }
    const early = ahead.get(peer)
    return early === undefined ? undefined : { capabilities: early.capabilities, renewalOnly: early.mode === 'renewal' }
  }

  return {
    async judge (remote, theirs, signal) {
      const first = judgePeer(init.roster(), remote, theirs, init.nowMs(), membership.trusted)
      if (first.verdict === 'accept') remember(remote, first.value)
      if (first.verdict !== 'ignore') return first
      const bounded = AbortSignal.any([signal, AbortSignal.timeout(init.admitMs)])
      try {
        const request = MemberRequest.encode({ hops: 0, admit: { chain: theirs.chain.map((link) => new Uint8Array(link)) } })
        const reply = MemberReply.decode(await init.toLeader(request, bounded))
        const second = judgePeer(init.roster(), remote, { chain: theirs.chain, attestation: reply.attestation }, init.nowMs(), membership.trusted)
        if (second.verdict === 'accept') remember(remote, second.value)
        return second
      } catch (error) {
        const known = error instanceof ConclaveError
        return { verdict: 'ignore', code: known ? error.code : 'ADMISSION_FAILED', reason: known ? error.message : 'the admission could not be decided in time' }
      }
    },

    isMember: (peer) => standing(peer) !== undefined,

    can (peer, kind) {
      const its = standing(peer)
      if (its === undefined) return false
      return maySpeak(kind, its.capabilities) && (!its.renewalOnly || RENEWAL_KINDS.has(kind))
    },

    settle () {
      const { members, revoked } = init.roster()
      for (const peer of [...ahead.keys()]) if (members.has(peer) || revoked.has(peer)) ahead.delete(peer)
    }
  }
}
