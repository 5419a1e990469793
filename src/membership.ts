/**
 * This node's place in its network: its credentials on disk, its judgement of others, and the upkeep of both (admission, renewal,
 * invitations). The rules themselves are in keys/; who is a member is in the ledger.
 */
import path from 'node:path'
import { CERTIFICATE_LIFETIME_MS } from '../keys/certificate.ts'
import type { Capability } from '../keys/certificate.ts'
import type { Identity } from '../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../keys/ids.ts'
import { readSecretFile, writeSecretFile } from '../keys/key-file.ts'
import { createNetwork, rootChain } from '../keys/network.ts'
import { judgePeer } from '../keys/roster.ts'
import type { Credentials, Roster, Standing } from '../keys/roster.ts'
import { decodeTicket, redeemTicket } from '../keys/ticket.ts'
import type { Verdict } from '../keys/verdict.ts'
import { MemberReply, MemberRequest } from '../protocols/member/messages.js'
import { maySpeak } from '../protocols/policy.ts'
import type { MessageKind } from '../protocols/policy.ts'
import { ConclaveError } from './errors.ts'

const NETWORK_FILE = 'network.json'
const ROOT_KEY_FILE = 'root.key'
const SCHEMA_VERSION = 1
/** Peers whose admission we were shown but whose ledger entry our replica has not reached. */
const MAX_AHEAD = 64

/** What `network.json` (0600) holds: all that a node needs to be itself again after a restart. */
interface NetworkFile {
  schemaVersion: number
  network: NetworkId
  /** base64, as all bytes here */
  fence: string
  chain: string[]
  attestation?: string
  /** multiaddrs to dial first */
  bootstrap: string[]
  /** made by this node: it starts the ledger */
  founder: boolean
}

export interface Membership {
  readonly network: NetworkId
  readonly fence: Uint8Array
  readonly founder: boolean
  readonly bootstrap: readonly string[]
  /** peers that our ticket names; believed while our replica is empty */
  readonly trusted: ReadonlySet<PeerIdStr>
  credentials (): Credentials
  /** Keep a newer chain or attestation, on disk first. */
  update (credentials: Credentials): Promise<void>
}

/** @returns the membership kept in `dataDir`, or undefined where there is none. @throws NETWORK_FILE_CORRUPT, KEY_FILE_OPEN */
export async function loadMembership (dataDir: string): Promise<Membership | undefined> {
  const file = path.join(dataDir, NETWORK_FILE)
  const bytes = await readSecretFile(file)
  if (bytes === undefined) return undefined
  try {
    const stored = JSON.parse(new TextDecoder().decode(bytes)) as NetworkFile
    if (stored.schemaVersion !== SCHEMA_VERSION || !Array.isArray(stored.chain) || typeof stored.fence !== 'string' || !Array.isArray(stored.bootstrap)) throw new Error('fields are missing')
    return createMembership(file, stored)
  } catch (cause) {
    throw new ConclaveError('NETWORK_FILE_CORRUPT', `${file} cannot be read: ${(cause as Error).message}`, { cause, next: `move ${dataDir} away and join again with a new ticket` })
  }
}

/** Found a network of one: this node is its first member, with every capability. The root key is kept beside it. */
export async function foundNetwork (dataDir: string, identity: Identity, nowMs: number): Promise<Membership> {
  const { network, fence, root } = createNetwork()
  await writeSecretFile(path.join(dataDir, ROOT_KEY_FILE), root.privateKey.raw.slice(0, 32))
  const chain = rootChain(root, { subject: identity.peerId, nowMs })
  return await storeMembership(dataDir, { network, fence, chain, bootstrap: [], founder: true })
}

/**
 * Redeem a ticket: the certificate that it lets us sign, not yet admitted by anybody.
 *
 * @throws TICKET_* where the ticket is damaged or expired
 */
export async function redeem (dataDir: string, identity: Identity, ticketText: string, nowMs: number): Promise<Membership> {
  const ticket = decodeTicket(ticketText)
  const chain = redeemTicket(ticket, identity, nowMs)
  return await storeMembership(dataDir, { network: ticket.network, fence: ticket.fence, chain, bootstrap: ticket.addrs, founder: false })
}

async function storeMembership (dataDir: string, facts: { network: NetworkId, fence: Uint8Array, chain: readonly Uint8Array[], bootstrap: string[], founder: boolean }): Promise<Membership> {
  const file = path.join(dataDir, NETWORK_FILE)
  const stored: NetworkFile = {
    schemaVersion: SCHEMA_VERSION,
    network: facts.network,
    fence: toBase64(facts.fence),
    chain: facts.chain.map(toBase64),
    bootstrap: facts.bootstrap,
    founder: facts.founder
  }
  await write(file, stored)
  return createMembership(file, stored)
}

function createMembership (file: string, stored: NetworkFile): Membership {
  let credentials: Credentials = {
    chain: stored.chain.map(fromBase64),
    ...(stored.attestation === undefined ? {} : { attestation: fromBase64(stored.attestation) })
  }
  const trusted = new Set(stored.bootstrap.map(peerOf).filter((peer) => peer !== undefined))
  return {
    network: stored.network,
    fence: fromBase64(stored.fence),
    founder: stored.founder,
    bootstrap: stored.bootstrap,
    trusted,
    credentials: () => credentials,
    async update (next) {
      const { attestation: _, ...rest } = stored
      await write(file, { ...rest, chain: next.chain.map(toBase64), ...(next.attestation === undefined ? {} : { attestation: toBase64(next.attestation) }) })
      credentials = next
    }
  }
}

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'))
const write = async (file: string, stored: NetworkFile): Promise<void> => { await writeSecretFile(file, new TextEncoder().encode(`${JSON.stringify(stored, null, 2)}\n`)) }

/** The peer id at the end of a multiaddr, if it names one. */
export function peerOf (addr: string): PeerIdStr | undefined {
  return /\/p2p\/([1-9A-HJ-NP-Za-km-z]+)$/.exec(addr)?.[1] as PeerIdStr | undefined
}

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
      return its.renewalOnly ? kind === 'member' : maySpeak(kind, its.capabilities)
    },

    settle () {
      const { members, revoked } = init.roster()
      for (const peer of [...ahead.keys()]) if (members.has(peer) || revoked.has(peer)) ahead.delete(peer)
    }
  }
}

/** Whether half of a certificate's life is over: time to ask for a renewal. */
export function isRenewalDue (notAfterMs: number, nowMs: number): boolean {
  return notAfterMs - nowMs < CERTIFICATE_LIFETIME_MS / 2
}
