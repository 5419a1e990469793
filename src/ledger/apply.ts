/**
 * The state machine: one committed entry at a time, the same effects on every node.
 *
 * - No clock, no dice, no I/O: dates come in commands.
 * - No committed bytes make it throw: what does not decode, or what lost a race between check and commit, has no effect but an
 *   event `command:invalid` and a count.
 * - A command committed twice has its effect once: jobs are named by hash, admissions by grant, receipts by attempt.
 * - Signatures of job specs, receipts, cancellations and revocations are verified before they are proposed (`check.ts`) and not
 *   again here: voters may crash but do not lie, and apply must keep pace with the log. Who doubts verifies the signed statements,
 *   which the ledger keeps. Certificates are verified here too, since admissions are rare and decide who is trusted at all.
 */
import { COMMAND_LIMITS as LIMITS, LEDGER_LIMITS, RELEASE_REASONS, type ReleaseReason } from '../../protocols/ledger/constants.ts'
import { Command, type Assign, type EndJob, type Release } from '../../protocols/ledger/messages.js'
import { accept, reject, type Verdict } from '../../keys/verdict.ts'
import { assert } from './assert.ts'
import { endJob, judgeCancel, judgeSubmission, startJob } from './jobs.ts'
import { judgeReceiptBatch } from './judge.ts'
import { judgeAdmission, judgeRenewal, judgeRevocation, oldestExpired } from './members.ts'
import { abandon, applyReceipts } from './receipts.ts'
import { assignTask, putBackTask, remember } from './task.ts'
import { isReady, type JobId, type Ledger, type RunningJob, type Signed } from './state.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { LedgerEvent } from './event.ts'

/** A committed entry; empty `data` (a new leader's no-op, a voter change) only moves the index. */
export interface LedgerEntry { readonly index: number, readonly term: number, readonly data: Uint8Array }

const DECODE_LIMITS = {
  admit: { chain: LIMITS.maxChainLength },
  renew: { chain: LIMITS.maxChainLength },
  revoke: { issuerChain: LIMITS.maxChainLength },
  assign: { assignments: LIMITS.maxAssignments },
  release: { released: LIMITS.maxReleases }
}

/**
 * Apply the next committed entry.
 *
 * @param ledger - changed in place; its owner is the only one that holds it
 * @param entry - the one after `ledger.index`; an older one has no effect
 * @returns what happened, in order
 * @throws AssertionError where an entry is missing between: the caller must repair the gap first
 */
export function apply (ledger: Ledger, entry: LedgerEntry): LedgerEvent[] {
  if (entry.index <= ledger.index) return []
  assert(entry.index === ledger.index + 1, `entry ${entry.index} follows ${ledger.index}`)
  ledger.index = entry.index
  ledger.term = Math.max(ledger.term, entry.term)
  if (entry.data.length === 0) return []
  const command = decode(entry.data)
  const events = command.verdict === 'accept' ? applyCommand(ledger, command.value, entry) : invalid(command, entry.index)
  if (events[0]?.type === 'command:invalid') ledger.stats.invalidCommands++
  return events
}

function decode (data: Uint8Array): Verdict<Command> {
  if (data.length > LIMITS.maxCommandBytes) return reject('COMMAND_TOO_LARGE', `a command of ${data.length} bytes`)
  try {
    return accept(Command.decode(data, { limits: DECODE_LIMITS }))
  } catch (error) {
    return reject('COMMAND_UNDECODABLE', error instanceof Error ? error.message : 'unknown')
  }
}

/** A command that has no effect because an equal one came first (`ignore`) is no event; one that should not exist is. */
function invalid (verdict: Verdict<unknown>, index: number): LedgerEvent[] {
  return verdict.verdict !== 'reject' ? [] : [{ type: 'command:invalid', index, code: verdict.code, reason: verdict.reason }]
}

function applyCommand (ledger: Ledger, command: Command, entry: LedgerEntry): LedgerEvent[] {
  const { index, term } = entry
  if (command.assign !== undefined) return applyAssign(ledger, command.assign, index, term)
  if (command.receipts !== undefined) {
    const batch = judgeReceiptBatch(ledger, command.receipts.signed)
    return batch.verdict === 'accept' ? applyReceipts(ledger, batch.value, command.receipts.signed as Signed, index) : invalid(batch, index)
  }
  if (command.release !== undefined) return applyRelease(ledger, command.release, index, term)
  if (command.submit !== undefined) {
    const submission = judgeSubmission(ledger, command.submit.signed)
    return submission.verdict === 'accept' ? startJob(ledger, submission.value, index) : invalid(submission, index)
  }
  if (command.end !== undefined) return applyEnd(ledger, command.end, index)
  if (command.admit !== undefined) return applyAdmit(ledger, command.admit.chain, command.admit.atMs, index)
  if (command.renew !== undefined) return applyRenew(ledger, command.renew.chain, command.renew.atMs, index)
  if (command.revoke !== undefined) return applyRevoke(ledger, command.revoke.signed, index)
  return invalid(reject('COMMAND_UNKNOWN', 'no command that this version knows'), index)
}

/** Each assignment for itself: one whose task is not pending with the attempt before lost a race. */
function applyAssign (ledger: Ledger, { term, assignments }: Assign, index: number, entryTerm: number): LedgerEvent[] {
  if (term !== entryTerm) return invalid(reject('STALE_TERM', `planned in term ${term}, committed in term ${entryTerm}`), index)
  const events: LedgerEvent[] = []
  for (const { job: id, stage: n, task: number, attempt, participant: peer, leaseMs } of assignments) {
    const job = ledger.running.get(id as JobId)
    const stage = job?.stages[n]
    const task = stage?.tasks[number]
    const participant = peer as PeerIdStr
    const isFree = task?.state === 'pending' && task.attempt + 1 === attempt
    const mayWork = ledger.members.get(participant)?.capabilities.includes('work') === true
    if (job === undefined || stage === undefined || !isFree || !mayWork || !isReady(job, n) || leaseMs === 0 || leaseMs > LIMITS.maxLeaseMs) {
      ledger.stats.staleAssignments++
      continue
    }
    assignTask(stage, number, participant, leaseMs, index)
    events.push({ type: 'task:assign', index, job: job.id, stage: n, task: number, attempt, participant, leaseMs })
  }
  return events
}

function applyRelease (ledger: Ledger, { term, released }: Release, index: number, entryTerm: number): LedgerEvent[] {
  if (term !== entryTerm) return invalid(reject('STALE_TERM', `planned in term ${term}, committed in term ${entryTerm}`), index)
  const events: LedgerEvent[] = []
  for (const { job: id, stage: n, task: number, attempt, reason } of released) {
    const job = ledger.running.get(id as JobId)
    const stage = job?.stages[n]
    const task = stage?.tasks[number]
    if (job === undefined || stage === undefined || task?.state !== 'assigned' || task.attempt !== attempt || !isReleaseReason(reason)) {
      ledger.stats.staleAssignments++
      continue
    }
    const { participant } = task
    putBackTask(stage, number, reason === 'lease' ? remember(task.history, { avoid: participant }) : task.history)
    events.push({ type: 'task:release', index, job: job.id, stage: n, task: number, attempt, participant, reason })
    events.push(...abandon(ledger, job, { job: job.id, stage: n, task: number, attempt }, index))
  }
  return events
}

const isReleaseReason = (reason: string): reason is ReleaseReason => (RELEASE_REASONS as readonly string[]).includes(reason)

function applyEnd (ledger: Ledger, { job: id, status, code, reason, signed }: EndJob, index: number): LedgerEvent[] {
  const job = ledger.running.get(id as JobId)
  // ended already, or never known: a retry
  if (job === undefined) return []
  if (reason.length > LIMITS.maxReasonChars || code.length > 64) return invalid(reject('END_INVALID', 'a code or reason that is too long'), index)
  if (status === 'failed') return endJob(ledger, job, { status, code, reason }, index)
  const cancel = judgeCancel(ledger, signed)
  if (cancel.verdict !== 'accept') return invalid(cancel, index)
  if (status !== 'cancelled' || cancel.value.id !== job.id) return invalid(reject('END_INVALID', 'neither a failure nor the cancellation of this job'), index)
  return endJob(ledger, job, { status, code, reason }, index)
}

function applyAdmit (ledger: Ledger, chain: readonly Uint8Array[], atMs: number, index: number): LedgerEvent[] {
  const admission = judgeAdmission(ledger, chain, atMs, index)
  if (admission.verdict !== 'accept') return invalid(admission, index)
  const { peerId, member, grant } = admission.value
  if (grant !== undefined) {
    const expired = ledger.grants.size >= LEDGER_LIMITS.maxGrants ? oldestExpired(ledger, atMs) : undefined
    if (expired !== undefined) ledger.grants.delete(expired)
    ledger.grants.set(grant.id, grant.after)
  }
  ledger.members.set(peerId, member)
  return [{ type: 'member:admit', index, peerId }]
}

function applyRenew (ledger: Ledger, chain: readonly Uint8Array[], atMs: number, index: number): LedgerEvent[] {
  const renewal = judgeRenewal(ledger, chain, atMs)
  if (renewal.verdict !== 'accept') return invalid(renewal, index)
  ledger.members.set(renewal.value.peerId, renewal.value.member)
  return [{ type: 'member:renew', index, peerId: renewal.value.peerId }]
}

/** The peer is out: its attempts are taken back, its jobs end. */
function applyRevoke (ledger: Ledger, signed: Signed | undefined, index: number): LedgerEvent[] {
  const revocation = judgeRevocation(ledger, signed)
  if (revocation.verdict !== 'accept') return invalid(revocation, index)
  const { peerId } = revocation.value
  ledger.members.delete(peerId)
  ledger.revoked.add(peerId)
  const events: LedgerEvent[] = [{ type: 'member:revoke', index, peerId }]
  for (const job of [...ledger.running.values()]) {
    if (job.spec.submitter === peerId) {
      events.push(...endJob(ledger, job, { status: 'failed', code: 'SUBMITTER_REVOKED', reason: `${peerId}, which submitted it, is no longer a member` }, index))
    } else {
      events.push(...takeBack(job, peerId, index))
    }
  }
  return events
}

function takeBack (job: RunningJob, participant: PeerIdStr, index: number): LedgerEvent[] {
  const events: LedgerEvent[] = []
  for (const [n, stage] of job.stages.entries()) {
    for (const number of [...stage.assigned].sort((a, b) => a - b)) {
      const task = stage.tasks[number]
      if (task?.state !== 'assigned' || task.participant !== participant) continue
      putBackTask(stage, number, task.history)
      events.push({ type: 'task:release', index, job: job.id, stage: n, task: number, attempt: task.attempt, participant, reason: 'revoked' })
    }
  }
  return events
}
