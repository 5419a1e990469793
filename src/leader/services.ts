/**
 * What only a leader answers: submissions, cancellations, admissions, renewals, revocations, receipts. Each is checked, proposed, and
 * answered once it is committed and applied here; asking again is always safe.
 */
import { attest } from '../../keys/attestation.ts'
import { decodeCertificate } from '../../keys/certificate.ts'
import { renewCertificate, walkMemberChain } from '../../keys/chain.ts'
import type { Identity } from '../../keys/identity.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Credentials } from '../../keys/roster.ts'
import type { Verdict } from '../../keys/verdict.ts'
import { JobReply, JobRequest } from '../../protocols/job/messages.js'
import { SignedStatement } from '../../protocols/ledger/messages.js'
import { MemberReply, MemberRequest } from '../../protocols/member/messages.js'
import { WorkReply, WorkRequest } from '../../protocols/work/messages.js'
import type { Advertise } from '../../protocols/work/messages.js'
import { PROTOCOL } from '../config.ts'
import type { Consensus } from '../consensus/consensus.ts'
import { ConclaveError } from '../errors.ts'
import { checkAdmit, checkCancel, checkReceipts, checkRenew, checkRevoke, checkSubmit } from '../ledger/check.ts'
import { admitCommand, cancelCommand, receiptsCommand, renewCommand, revokeCommand, submitCommand } from '../ledger/command.ts'
import { jobIdOf } from '../ledger/job-id.ts'
import { findJob } from '../ledger/state.ts'
import type { Replica } from '../observer/replica.ts'
import type { LeaderService } from './route.ts'

/** A leader's own replica is at most this far behind its followers'; past it the participant asks again. */
const NOT_YET_MS = 2000

export interface ServicesInit {
  identity: Identity
  credentials: () => Credentials
  consensus: Consensus
  replica: Replica
  /** a participant said that it is alive */
  onAdvertise: (from: PeerIdStr, advertised: Advertise) => void
  /** "where are the others?", answered by any member */
  onHello: (from: PeerIdStr, addrs: string[]) => MemberReply['peers']
  nowMs: () => number
}

export interface LeaderServices { readonly job: LeaderService, readonly member: LeaderService, readonly work: LeaderService }

export function createServices (init: ServicesInit): LeaderServices {
  const { consensus, replica, identity } = init
  const propose = async (command: Uint8Array, signal: AbortSignal): Promise<{ index: number, term: number }> => await consensus.propose(command, signal)

  async function submit (bytes: Uint8Array, signal: AbortSignal): Promise<JobReply> {
    const signed = read(SignedStatement.decode, bytes)
    const job = jobIdOf(signed.payload)
    const verdict = checkSubmit(replica.ledger, signed, init.nowMs())
    if (verdict.verdict !== 'ignore') { // a job that is known is acknowledged like the first time
      orRefuse(verdict)
      await propose(submitCommand(signed), signal)
    }
    const applied = findJob(replica.ledger, job)
    if (applied === undefined) throw new ConclaveError('JOB_REFUSED', 'the job was refused when it was committed: a limit was reached meanwhile', { next: 'conclave jobs' })
    return { job, index: applied.submittedAt }
  }

  async function cancel (bytes: Uint8Array, signal: AbortSignal): Promise<JobReply> {
    const signed = read(SignedStatement.decode, bytes)
    const verdict = checkCancel(replica.ledger, signed, init.nowMs())
    if (verdict.verdict === 'ignore' && verdict.code === 'JOB_ENDED') return { job: '', index: replica.ledger.index }
    const { id } = orRefuse(verdict)
    const { index } = await propose(cancelCommand(id, signed), signal)
    return { job: id, index }
  }

  async function admit (chain: Uint8Array[], signal: AbortSignal): Promise<MemberReply> {
    const atMs = init.nowMs()
    const verdict = checkAdmit(replica.ledger, chain, atMs)
    const last = decodeCertificate(chain.at(-1) ?? new Uint8Array())
    const { subject } = orRefuse(last)
    if (verdict.verdict !== 'ignore') {
      orRefuse(verdict)
      await propose(admitCommand(chain, atMs), signal)
    }
    const member = replica.ledger.members.get(subject)
    if (member === undefined) throw new ConclaveError('GRANT_USED_UP', 'this ticket has been used as often as it allows', { next: 'ask for a new ticket: conclave invite' })
    const { network, term } = replica.ledger
    const attestation = attest(identity, init.credentials(), { network, peer: subject, grant: member.grantId ?? '', index: member.admittedAt, term })
    return { peers: [], chain: [], attestation: new Uint8Array(attestation), index: member.admittedAt }
  }

  async function renew (chain: Uint8Array[], from: PeerIdStr, signal: AbortSignal): Promise<MemberReply> {
    const { network, members } = replica.ledger
    const holder = orRefuse(walkMemberChain(chain, { network, holder: from, mayExtend: (peer) => members.get(peer)?.capabilities.includes('vote') === true })).holder
    const member = members.get(holder)
    if (member === undefined) throw new ConclaveError('NOT_A_MEMBER', 'only a member\'s certificate can be renewed')
    const extended = renewCertificate(identity, { chain: member.chain, network, nowMs: init.nowMs(), capabilities: member.capabilities })
    orRefuse(checkRenew(replica.ledger, extended, init.nowMs()))
    const { index } = await propose(renewCommand(extended, init.nowMs()), signal)
    return { peers: [], attestation: new Uint8Array(), chain: extended.map((link) => new Uint8Array(link)), index }
  }

  async function revoke (bytes: Uint8Array, issuerChain: Uint8Array[], signal: AbortSignal): Promise<MemberReply> {
    const signed = read(SignedStatement.decode, bytes)
    orRefuse(checkRevoke(replica.ledger, signed, issuerChain, init.nowMs()))
    const { index } = await propose(revokeCommand(signed, issuerChain), signal)
    return { peers: [], attestation: new Uint8Array(), chain: [], index }
  }

  async function receipts (bytes: Uint8Array, signal: AbortSignal): Promise<WorkReply> {
    const signed = read(SignedStatement.decode, bytes)
    let verdict = checkReceipts(replica.ledger, signed, init.nowMs())
    const patience = AbortSignal.any([signal, AbortSignal.timeout(NOT_YET_MS)])
    while (verdict.verdict === 'ignore' && verdict.code === 'NOT_YET') {
      await replica.changed(patience).catch(() => { throw new ConclaveError('BUSY', 'the assignment of this attempt is not applied here yet') })
      verdict = checkReceipts(replica.ledger, signed, init.nowMs())
    }
    const { index, term } = replica.ledger
    if (verdict.verdict === 'ignore' && verdict.code === 'NOTHING_NEW') return { index, term } // late, or counted already
    orRefuse(verdict)
    return await propose(receiptsCommand(signed), signal)
  }

  return {
    job: {
      protocol: PROTOCOL.job,
      kind: 'job',
      async handle (bytes, { signal }) {
        const request = read(JobRequest.decode, bytes)
        if (request.submit !== undefined) return JobReply.encode(await submit(request.submit, signal))
        if (request.cancel !== undefined) return JobReply.encode(await cancel(request.cancel, signal))
        throw badRequest()
      },
      forward: (bytes) => oneHop(JobRequest, bytes)
    },
    member: {
      protocol: PROTOCOL.member,
      kind: 'member',
      answer (bytes, { from }) {
        const { hello } = read(MemberRequest.decode, bytes)
        if (hello === undefined) return undefined
        return Promise.resolve(MemberReply.encode({ peers: init.onHello(from, hello.addrs), attestation: new Uint8Array(), chain: [], index: 0 }))
      },
      async handle (bytes, { from, signal }) {
        const request = read(MemberRequest.decode, bytes)
        if (request.admit !== undefined) return MemberReply.encode(await admit(request.admit.chain, signal))
        if (request.renew !== undefined) return MemberReply.encode(await renew(request.renew.chain, from, signal))
        if (request.revoke !== undefined) return MemberReply.encode(await revoke(request.revoke.signed, request.revoke.issuerChain, signal))
        throw badRequest()
      },
      forward: (bytes) => read(MemberRequest.decode, bytes).renew === undefined ? oneHop(MemberRequest, bytes) : undefined
    },
    work: {
      protocol: PROTOCOL.work,
      kind: 'work',
      async handle (bytes, { from, signal }) {
        const request = read(WorkRequest.decode, bytes)
        if (request.receipts !== undefined) return WorkReply.encode(await receipts(request.receipts, signal))
        if (request.advertise === undefined) throw badRequest()
        init.onAdvertise(from, request.advertise)
        return WorkReply.encode({ term: replica.ledger.term, index: replica.ledger.index })
      },
      forward: (bytes) => read(WorkRequest.decode, bytes).advertise === undefined ? oneHop(WorkRequest, bytes) : undefined
    }
  }
}

const badRequest = (cause?: unknown): ConclaveError => new ConclaveError('BAD_REQUEST', 'the request does not decode, or asks for nothing known here', { cause })

function read<T> (decode: (bytes: Uint8Array) => T, bytes: Uint8Array): T {
  try {
    return decode(bytes)
  } catch (cause) {
    throw badRequest(cause)
  }
}

function oneHop<T extends { hops: number }> (codec: { decode (bytes: Uint8Array): T, encode (value: Partial<T>): Uint8Array }, bytes: Uint8Array): Uint8Array | undefined {
  const request = read(codec.decode, bytes)
  return request.hops > 0 ? undefined : codec.encode({ ...request, hops: request.hops + 1 })
}

function orRefuse<T> (verdict: Verdict<T>): T {
  if (verdict.verdict !== 'accept') throw new ConclaveError(verdict.code, verdict.reason)
  return verdict.value
}
