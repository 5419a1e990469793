/**
 * Tickets: one string that lets somebody join. It carries a secret (the seed of an invite key): it is never logged, and no error here
 * repeats more of it than one wrong character.
 */
import { CAPABILITIES, CERTIFICATE_LIFETIME_MS, CLOCK_SKEW_MS, issueCertificate, MAX_GRANT_USES } from './certificate.ts'
import { MAX_CHAIN_CERTIFICATES, verifyChain, walkChain } from './chain.ts'
import { ConclaveError } from './conclave-error.ts'
import { KEY_BYTES } from './ed25519.ts'
import { identityFromSeed, peerIdFromPublicKey, publicKeyFromPeerId } from './identity.ts'
import { Ticket as TicketMessage } from './messages.js'
import { FENCE_BYTES } from './network.ts'
import { decodeChecked, encodeChecked } from './ticket-text.ts'
import type { Capability } from './certificate.ts'
import type { Identity } from './identity.ts'
import type { NetworkId } from './ids.ts'
import type { TextFault } from './ticket-text.ts'

/** Begins every ticket. Not part of the checked text. */
export const TICKET_PREFIX = 'conclave1'
/** Longest ticket that is read, in characters without whitespace. A usual one has about 800. */
export const MAX_TICKET_CHARACTERS = 6000
export const MAX_TICKET_ADDRS = 4
/** Longest address in a ticket, in characters. */
export const MAX_ADDR_CHARACTERS = 256

/** What `conclave invite` grants unless told otherwise. With `vote`, so that the network outlives the machine that founded it. */
export const DEFAULT_TICKET_CAPABILITIES: readonly Capability[] = ['vote', 'work', 'submit', 'observe']
export const DEFAULT_TICKET_USES = 1
export const DEFAULT_TICKET_TTL_MS = 60 * 60_000

export interface Ticket {
  readonly network: NetworkId
  /** 16 bytes. */
  readonly fence: Uint8Array
  /** 1 to 4 multiaddrs to dial, in any order. */
  readonly addrs: readonly string[]
  /** 32 secret bytes. */
  readonly inviteSeed: Uint8Array
  /** Certificates, the root's first, the grant for the invite key last. Not verified before `redeemTicket`. */
  readonly grantChain: readonly Uint8Array[]
}

/** @returns the ticket's text: `conclave1…`, lower case, one line. What `decodeTicket` reads again */
export function encodeTicket (ticket: Ticket): string {
  const network = publicKeyFromPeerId(ticket.network)
  const bytes = TicketMessage.encode({
    network, fence: ticket.fence, addrs: [...ticket.addrs], inviteSeed: ticket.inviteSeed, grantChain: [...ticket.grantChain]
  })

  return TICKET_PREFIX + encodeChecked(bytes)
}

/**
 * @param text - as pasted: upper or lower case, whitespace and line breaks anywhere
 * @returns its content, of the right shape; whether it still opens a door is for `redeemTicket` and the ledger
 * @throws ConclaveError TICKET_UNKNOWN (no ticket at all), TICKET_DAMAGED with the place in words, counted from 1 without whitespace
 */
export function decodeTicket (text: string): Ticket {
  // whitespace doubles the length at most where a person or a terminal wrapped it
  const compact = text.length > 2 * MAX_TICKET_CHARACTERS ? text.slice(0, 2 * MAX_TICKET_CHARACTERS) : text
  const characters = compact.replace(/\s+/g, '').toLowerCase()
  if (!characters.startsWith(TICKET_PREFIX)) {
    throw new ConclaveError('TICKET_UNKNOWN', `This is not a ticket: a ticket begins with "${TICKET_PREFIX}"`, {
      next: 'Paste the whole line that `conclave invite` printed.'
    })
  }
  if (characters.length > MAX_TICKET_CHARACTERS) throw damaged(`it has more than ${MAX_TICKET_CHARACTERS} characters`)

  const decoded = decodeChecked(characters.slice(TICKET_PREFIX.length))
  if ('fault' in decoded) throw damaged(describeFault(decoded.fault), placeOf(decoded.fault))

  return readTicket(decoded.bytes)
}

/**
 * Turn a ticket into one's own chain: the joiner certifies its own key with the invite key. The secret stays here.
 *
 * @param nowMs - wall clock
 * @returns the joiner's certificates, the root's first, its own (valid for 7 days) last. They count once the ledger has admitted them
 * @throws ConclaveError TICKET_EXPIRED, TICKET_INVALID (its grant does not verify, or this clock is wrong)
 */
export function redeemTicket (ticket: Ticket, identity: Identity, nowMs: number): Uint8Array[] {
  const inviteKey = identityFromSeed(ticket.inviteSeed)
  // nobody who joins can judge the word of an extender: the members do
  const walked = walkChain(ticket.grantChain, { network: ticket.network, mayExtend: () => true })
  if (walked.verdict !== 'accept') throw invalid(walked.reason)

  const { last: grant } = walked.value
  if (grant.kind !== 'grant' || grant.subject !== inviteKey.peerId) throw invalid('its invitation is for another key')
  if (nowMs > grant.notAfterMs + CLOCK_SKEW_MS) {
    throw new ConclaveError('TICKET_EXPIRED', `The ticket expired at ${new Date(grant.notAfterMs).toISOString()}`, {
      next: 'Ask for a new one: a member runs `conclave invite`.',
      details: { notAfterMs: grant.notAfterMs }
    })
  }

  const chain = [...ticket.grantChain, issueCertificate(inviteKey, {
    kind: 'member',
    network: ticket.network,
    subject: identity.peerId,
    capabilities: grant.capabilities,
    notBeforeMs: nowMs,
    notAfterMs: nowMs + CERTIFICATE_LIFETIME_MS,
    uses: 0
  })]
  const verified = verifyChain(chain, { network: ticket.network, holder: identity.peerId, nowMs, mayExtend: () => true })
  if (verified.verdict !== 'accept') throw invalid(`${verified.reason} (is this machine's clock right?)`)

  return chain
}

export interface InviteOptions {
  /** Of the member that invites: it has `invite`. */
  readonly identity: Identity
  readonly chain: readonly Uint8Array[]
  readonly network: NetworkId
  readonly fence: Uint8Array
  /** Where the network can be reached: 1 to 4 multiaddrs with `/p2p/`. */
  readonly addrs: readonly string[]
  readonly capabilities: readonly Capability[]
  /** 1 to 1000. */
  readonly uses: number
  /** How long the ticket opens the door, at most 7 days; it never outlasts the inviter's own certificate. */
  readonly ttlMs: number
  /** Wall clock. */
  readonly nowMs: number
  /** 32 fresh random bytes, used for nothing else. */
  readonly seed: Uint8Array
}

/**
 * @returns the ticket's text
 * @throws ConclaveError INVITE_DENIED (no right to invite, or a certificate that expired), INVITE_WIDENED (asks for a capability that the
 * inviter has not), INVITE_LIMITS (uses, lifetime, addresses or capabilities out of range)
 */
export function createInvite (options: InviteOptions): string {
  const { identity, network, nowMs } = options
  const verified = verifyChain(options.chain, { network, holder: identity.peerId, nowMs, mayExtend: () => true })
  if (verified.verdict !== 'accept') throw new ConclaveError('INVITE_DENIED', `This node cannot invite: ${verified.reason}`)
  if (!verified.value.capabilities.includes('invite')) {
    throw new ConclaveError('INVITE_DENIED', 'This node may not invite: its certificate lacks `invite`', {
      next: 'Run `conclave invite` on the machine that founded the network.'
    })
  }
  checkInvite(options, verified.value.capabilities)

  const grant = issueCertificate(identity, {
    kind: 'grant',
    network,
    subject: identityFromSeed(options.seed).peerId,
    capabilities: options.capabilities,
    notBeforeMs: nowMs,
    notAfterMs: Math.min(nowMs + options.ttlMs, verified.value.notAfterMs),
    uses: options.uses
  })

  return encodeTicket({ network, fence: options.fence, addrs: options.addrs, inviteSeed: options.seed, grantChain: [...options.chain, grant] })
}

function checkInvite ({ addrs, capabilities, uses, ttlMs, chain }: InviteOptions, own: readonly Capability[]): void {
  const lacking = capabilities.find(capability => !own.includes(capability))
  if (lacking !== undefined) throw new ConclaveError('INVITE_WIDENED', `This node cannot grant \`${lacking}\`: it has it not itself`)

  const fault = capabilities.length === 0 || capabilities.some(capability => !CAPABILITIES.includes(capability)) ? `capabilities must be some of ${CAPABILITIES.join(', ')}`
    : !Number.isSafeInteger(uses) || uses < 1 || uses > MAX_GRANT_USES ? `uses must be a whole number from 1 to ${MAX_GRANT_USES}`
      : !Number.isSafeInteger(ttlMs) || ttlMs < 1 || ttlMs > CERTIFICATE_LIFETIME_MS ? 'it can be valid for at most 7 days'
        : !areAddrs(addrs) ? `1 to ${MAX_TICKET_ADDRS} addresses of at most ${MAX_ADDR_CHARACTERS} characters are needed`
          : chain.length + 2 > MAX_CHAIN_CERTIFICATES ? 'the chain of invitations is too long: invite from a node nearer the founder'
            : undefined
  if (fault !== undefined) throw new ConclaveError('INVITE_LIMITS', `Cannot invite: ${fault}`)
}

function readTicket (bytes: Uint8Array): Ticket {
  let message: TicketMessage
  try {
    message = TicketMessage.decode(bytes, { limits: { addrs: MAX_TICKET_ADDRS, grantChain: MAX_CHAIN_CERTIFICATES } })
  } catch (cause) {
    throw damaged('its content cannot be read', {}, cause)
  }

  const isWhole = message.network.byteLength === KEY_BYTES && message.fence.byteLength === FENCE_BYTES &&
    message.inviteSeed.byteLength === KEY_BYTES && message.grantChain.length > 0 && areAddrs(message.addrs)
  if (!isWhole) throw damaged('its content is not that of a ticket')

  return { ...message, network: peerIdFromPublicKey(message.network) as string as NetworkId }
}

function areAddrs (addrs: readonly string[]): boolean {
  return addrs.length >= 1 && addrs.length <= MAX_TICKET_ADDRS && addrs.every(addr => addr.startsWith('/') && addr.length <= MAX_ADDR_CHARACTERS)
}

function describeFault (fault: TextFault): string {
  const at = (position: number): number => position + TICKET_PREFIX.length
  switch (fault.kind) {
    case 'character': return `character ${at(fault.position)} ("${fault.character}") never occurs in a ticket`
    case 'substituted': return `${fault.positions.length === 1 ? 'character' : 'characters'} ${fault.positions.map(at).join(' and ')} ` +
      `${fault.positions.length === 1 ? 'is' : 'are'} mistyped`
    case 'missing': return `a character is missing before or at character ${at(fault.position)}`
    case 'extra': return `character ${at(fault.position)} is one too many`
    case 'group': return `characters ${at(fault.from)}–${at(fault.to)} do not match their check characters${fault.isLast ? ', or the end is missing' : ''}`
    case 'cut': return 'its end is missing'
  }
}

/** Positions alone, nothing of the ticket. */
function placeOf (fault: TextFault): Record<string, unknown> {
  const at = (position: number): number => position + TICKET_PREFIX.length
  switch (fault.kind) {
    case 'substituted': return { positions: fault.positions.map(at) }
    case 'group': return { from: at(fault.from), to: at(fault.to) }
    case 'cut': return {}
    default: return { positions: [at(fault.position)] }
  }
}

function damaged (what: string, details: Record<string, unknown> = {}, cause?: unknown): ConclaveError {
  return new ConclaveError('TICKET_DAMAGED', `The ticket is damaged: ${what}`, {
    next: 'Copy the whole line that `conclave invite` printed once more.', details, cause
  })
}

function invalid (reason: string): ConclaveError {
  return new ConclaveError('TICKET_INVALID', `The ticket cannot be used: ${reason}`, { next: 'Ask for a new one: a member runs `conclave invite`.' })
}
