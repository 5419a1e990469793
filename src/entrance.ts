/**
 * How a node comes in and stays in: the founder writes itself into the ledger, a joiner is admitted through any member of its ticket, a
 * member asks for a later certificate at half of its life.
 */
import type { Identity } from '../keys/identity.ts'
import { MemberReply, MemberRequest } from '../protocols/member/messages.js'
import type { LogEvent } from './api.ts'
import type { NodeConfig } from './config.ts'
import type { Consensus } from './consensus/consensus.ts'
import { ConclaveError } from './errors.ts'
import { pause } from './leader/route.ts'
import type { LeaderService, Route } from './leader/route.ts'
import { admitCommand } from './ledger/command.ts'
import { isRenewalDue } from './membership.ts'
import type { Membership } from './membership.ts'
import type { Replica } from './observer/replica.ts'
import type { Overlay } from './overlay/overlay.ts'

/** Refusals after which the same ticket may still work in a moment. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'NO_QUORUM', 'NO_LEADER', 'NOT_LEADER', 'ADMISSION_TIMEOUT', 'ADMISSION_FAILED', 'NEEDS_ADMISSION', 'DIAL_FAILED', 'HANDSHAKE_TIMEOUT',
  'REQUEST_TIMEOUT', 'LEADERSHIP_LOST', 'PROPOSAL_DROPPED', 'BUSY', 'STOPPED', 'PEER_UNREACHABLE', 'STREAM_CLOSED', 'PROTOCOL_UNSUPPORTED', 'NODE_STOPPED', 'PEER_REFUSED'
])
const RETRY_MS = 250
const RENEW_CHECK_MS = 60_000

export interface EntranceInit {
  identity: Identity
  membership: Membership
  overlay: Overlay
  replica: Replica
  consensus: Consensus
  config: NodeConfig
  bootstrap: readonly string[]
  member: LeaderService
  route: Route
  wallMs: () => number
  log: (event: LogEvent) => void
}

export interface Entrance {
  /**
   * Resolves when this node is a member: at once for one that was before.
   *
   * @throws the refusal of the members that were reached, JOIN_TIMEOUT, the signal's reason
   */
  enter (signal?: AbortSignal): Promise<void>
  stop (): void
}

export function createEntrance (init: EntranceInit): Entrance {
  const { membership, overlay, replica, consensus, config, identity } = init
  const stopping = new AbortController()
  let renewing = false

  async function found (signal: AbortSignal): Promise<void> {
    while (!replica.ledger.members.has(identity.peerId)) {
      try {
        await consensus.propose(admitCommand(membership.credentials().chain, init.wallMs()), signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof ConclaveError && TRANSIENT.has(error.code))) throw error
        await pause(20, signal) // the only voter is being elected
      }
    }
  }

  /** Dial the ticket's addresses in turn until one of them lets us in. */
  async function knock (signal: AbortSignal): Promise<void> {
    let last: unknown
    for (let attempt = 0; !signal.aborted; attempt++) {
      const addr = init.bootstrap[attempt % init.bootstrap.length]
      if (addr === undefined) throw new ConclaveError('NO_ADDRESS', 'there is no address to dial', { next: 'ask for a ticket: conclave invite' })
      try {
        await overlay.connect(addr, signal)
        return
      } catch (error) {
        if (signal.aborted) break
        if (error instanceof ConclaveError && !TRANSIENT.has(error.code)) throw error
        last = error
        init.log({ level: 'info', event: 'join:retry', addr, reason: String(error) })
      }
      await pause(RETRY_MS, signal)
    }
    throw joinTimeout(config.join.deadlineMs, last)
  }

  async function join (signal: AbortSignal): Promise<void> {
    await knock(signal)
    const { chain } = membership.credentials()
    const request = MemberRequest.encode({ hops: 0, admit: { chain: chain.map((link) => new Uint8Array(link)) } })
    const { attestation } = MemberReply.decode(await init.route.call(init.member, request, { signal, deadlineMs: config.join.deadlineMs }))
    await membership.update({ chain, attestation })
    while (!replica.ledger.members.has(identity.peerId)) await replica.changed(signal)
  }

  async function renewIfDue (): Promise<void> {
    const member = replica.ledger.members.get(identity.peerId)
    if (member === undefined || renewing) return
    renewing = true
    try {
      if (isRenewalDue(member.notAfterMs, init.wallMs())) {
        const request = MemberRequest.encode({ hops: 0, renew: { chain: member.chain.map((link) => new Uint8Array(link)) } })
        const { chain } = MemberReply.decode(await init.route.call(init.member, request, { signal: stopping.signal }))
        const { attestation } = membership.credentials()
        await membership.update({ chain, ...(attestation === undefined ? {} : { attestation }) })
        init.log({ level: 'info', event: 'certificate:renew' })
      }
    } catch (error) {
      if (!stopping.signal.aborted) init.log({ level: 'warn', event: 'certificate:unrenewed', reason: String(error) })
    } finally {
      renewing = false
    }
  }

  const timer = setInterval(() => { void renewIfDue() }, RENEW_CHECK_MS)
  // a replica that was just filled may say that our certificate is old
  const offReplica = replica.onChange((events) => { if (events.length === 0 || events.some(({ type }) => type === 'member:admit')) void renewIfDue() })
  return {
    async enter (signal) {
      const deadline = AbortSignal.timeout(config.join.deadlineMs)
      const bounded = AbortSignal.any([deadline, stopping.signal, ...(signal === undefined ? [] : [signal])])
      try {
        if (membership.founder && replica.ledger.members.size === 0 && consensus.status().conf.voters.join() === identity.peerId) await found(bounded)
        else if (!membership.isAdmitted()) await join(bounded)
        void renewIfDue()
      } catch (error) {
        signal?.throwIfAborted()
        throw deadline.aborted ? joinTimeout(config.join.deadlineMs, error) : error
      }
    },
    stop () {
      stopping.abort(new ConclaveError('NODE_STOPPED', 'the node is stopping'))
      clearInterval(timer)
      offReplica()
    }
  }
}

function joinTimeout (deadlineMs: number, cause: unknown): ConclaveError {
  if (cause instanceof ConclaveError && cause.code === 'JOIN_TIMEOUT') return cause
  const why = cause instanceof Error ? cause.message : 'nobody answered'
  return new ConclaveError('JOIN_TIMEOUT', `could not join within ${deadlineMs / 1000} s: ${why}`, { cause, next: 'check that the member that invited you is up and reachable, then run conclave up again' })
}
