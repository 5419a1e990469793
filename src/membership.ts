/**
 * This node's place in its network, on disk: which network, which fence, whose word. The rules are in keys/; who is a member is in the ledger.
 */
import path from 'node:path'
import { CERTIFICATE_LIFETIME_MS } from '../keys/certificate.ts'
import type { Identity } from '../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../keys/ids.ts'
import { readSecretFile, writeSecretFile } from '../keys/key-file.ts'
import { createNetwork, rootChain } from '../keys/network.ts'
import type { Credentials } from '../keys/roster.ts'
import { decodeTicket, redeemTicket } from '../keys/ticket.ts'
import { ConclaveError } from './errors.ts'

const NETWORK_FILE = 'network.json'
const ROOT_KEY_FILE = 'root.key'
const SCHEMA_VERSION = 1

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
  /** The ledger has admitted this node once: by its own word for a founder, by a leader's attestation for everybody else. */
  isAdmitted (): boolean
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

/**
 * The membership of this data directory: the one that it has, else the ticket's, else that of a network founded now.
 *
 * A ticket for the network that this node is in already replaces its certificate only while it was never admitted: a second ticket after a
 * first that was used up.
 *
 * @throws TICKET_*; OTHER_NETWORK where the directory belongs to another network than the ticket; as `loadMembership`
 */
export async function acquireMembership (dataDir: string, identity: Identity, ticket: string | undefined, nowMs: number): Promise<Membership> {
  const stored = await loadMembership(dataDir)
  if (ticket === undefined) return stored ?? await foundNetwork(dataDir, identity, nowMs)
  if (stored === undefined) return await redeem(dataDir, identity, ticket, nowMs)
  if (decodeTicket(ticket).network !== stored.network) {
    throw new ConclaveError('OTHER_NETWORK', `${dataDir} belongs to another network than this ticket`, { next: 'give the node a directory of its own: conclave up --data-dir DIR -' })
  }
  return stored.isAdmitted() ? stored : await redeem(dataDir, identity, ticket, nowMs)
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
  return await storeMembership(dataDir, { network: ticket.network, fence: ticket.fence, chain, bootstrap: [...ticket.addrs], founder: false })
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
    isAdmitted: () => stored.founder || credentials.attestation !== undefined,
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

/** Whether half of a certificate's life is over: time to ask for a renewal. */
export function isRenewalDue (notAfterMs: number, nowMs: number): boolean {
  return notAfterMs - nowMs < CERTIFICATE_LIFETIME_MS / 2
}
