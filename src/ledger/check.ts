/**
 * What the leader checks before it proposes a command, signatures included. `accept` means: propose it. `ignore` means: an equal one
 * has had its effect (or it came too late), tell the sender so without penalty. `reject` goes back with its code.
 *
 * Between check and commit another command may be applied; `apply` therefore judges everything but the signatures again. After its
 * proposal was applied, the leader looks at the ledger (is the job there? the member?) before it acknowledges.
 */
import { LEDGER_LIMITS, STATEMENT_DOMAINS } from '../../protocols/ledger/constants.ts'
import { CLOCK_SKEW_MS } from '../../keys/certificate.ts'
import { verifyChain } from '../../keys/chain.ts'
import { verifyStatement } from '../../keys/statement.ts'
import { accept, ignore, reject, type Verdict } from '../../keys/verdict.ts'
import { judgeCancel, judgeSubmission, type Submission } from './jobs.ts'
import { judgeReceipt, judgeReceiptBatch } from './judge.ts'
import { judgeAdmission, judgeRenewal, judgeRevocation } from './members.ts'
import type { Ledger, RunningJob, Signed } from './state.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

type Domain = typeof STATEMENT_DOMAINS[keyof typeof STATEMENT_DOMAINS]

function checkSignature (signed: Signed, domain: Domain): Verdict<undefined> {
  return verifyStatement(signed, domain) ? accept(undefined) : reject('BAD_SIGNATURE', `the signature of ${signed.signer} does not fit`)
}

function checkNotExpired (ledger: Ledger, signer: string, nowMs: number): Verdict<undefined> {
  const member = ledger.members.get(signer as PeerIdStr)
  const isExpired = member !== undefined && member.notAfterMs + CLOCK_SKEW_MS < nowMs
  return isExpired ? reject('CERT_EXPIRED', `the certificate of ${signer} has expired: it must be renewed first`) : accept(undefined)
}

/**
 * @param nowMs - the leader's wall clock
 * @returns `accept` with the job's id and spec; `ignore` ALREADY_SUBMITTED, to be acknowledged like the first time; `reject` with
 *   BAD_SIGNATURE, CERT_EXPIRED, SPEC_CLOCK, SPEC_STALE, or a code of `judgeSubmission`
 */
export function checkSubmit (ledger: Ledger, signed: Signed, nowMs: number): Verdict<Submission> {
  const submission = judgeSubmission(ledger, signed)
  if (submission.verdict === 'reject') return submission
  for (const verdict of [checkSignature(signed, STATEMENT_DOMAINS.jobSpec), checkNotExpired(ledger, signed.signer, nowMs)]) {
    if (verdict.verdict !== 'accept') return verdict
  }
  if (submission.verdict === 'ignore') return submission
  const { createdAtMs } = submission.value.spec
  if (createdAtMs > nowMs + LEDGER_LIMITS.maxFutureMs) return reject('SPEC_CLOCK', 'the job is dated in the future: is a clock wrong?')
  if (createdAtMs < nowMs - LEDGER_LIMITS.maxSpecAgeMs) return reject('SPEC_STALE', 'the job was signed more than a day ago: submit it anew')
  return submission
}

/**
 * @returns `accept` with the number of receipts that count now; `ignore` NOTHING_NEW where none does and all came too late or twice, NOT_YET
 *   where none does and some attempt is unknown: followers may apply an assignment before the leader's own disk has it, so ask again;
 *   `reject` with BAD_SIGNATURE, INVALID (a receipt that an honest participant would not have signed), or a code of `judgeReceiptBatch`
 */
export function checkReceipts (ledger: Ledger, signed: Signed, nowMs: number): Verdict<{ current: number }> {
  const batch = judgeReceiptBatch(ledger, signed)
  if (batch.verdict !== 'accept') return batch
  for (const verdict of [checkSignature(signed, STATEMENT_DOMAINS.receipts), checkNotExpired(ledger, signed.signer, nowMs)]) {
    if (verdict.verdict !== 'accept') return verdict
  }
  let current = 0
  let unknown = 0
  for (const receipt of batch.value.receipts) {
    if (receipt === undefined) return reject('INVALID', 'a receipt in the batch is malformed')
    const verdict = judgeReceipt(ledger, batch.value.participant, receipt)
    if (verdict.verdict === 'reject') return verdict
    if (verdict.verdict === 'accept') current++
    else if (verdict.code === 'UNKNOWN') unknown++
  }
  if (current > 0) return accept({ current })
  return unknown > 0
    ? ignore('NOT_YET', 'an attempt is not known here: its assignment is committed, perhaps, and not yet applied')
    : ignore('NOTHING_NEW', 'every receipt in the batch is known or late')
}

/** @returns `accept` with the job; `ignore` JOB_ENDED, JOB_UNKNOWN; `reject` with BAD_SIGNATURE or a code of `judgeCancel` */
export function checkCancel (ledger: Ledger, signed: Signed, nowMs: number): Verdict<RunningJob> {
  const cancel = judgeCancel(ledger, signed)
  if (cancel.verdict === 'reject') return cancel
  for (const verdict of [checkSignature(signed, STATEMENT_DOMAINS.cancel), checkNotExpired(ledger, signed.signer, nowMs)]) {
    if (verdict.verdict !== 'accept') return verdict
  }
  return cancel
}

/** @returns `accept` with the peer; `ignore` ALREADY_MEMBER; `reject` with a code of `judgeAdmission` */
export function checkAdmit (ledger: Ledger, chain: readonly Uint8Array[], atMs: number): Verdict<{ peerId: PeerIdStr }> {
  return judgeAdmission(ledger, chain, atMs, ledger.index + 1)
}

/** @returns `accept` with the peer; `ignore` ALREADY_RENEWED; `reject` with a code of `judgeRenewal` */
export function checkRenew (ledger: Ledger, chain: readonly Uint8Array[], atMs: number): Verdict<{ peerId: PeerIdStr }> {
  return judgeRenewal(ledger, chain, atMs)
}

/**
 * @param issuerChain - of the signer, root first; empty where the root key itself signed
 * @returns `accept` with the peer to revoke; `ignore` ALREADY_REVOKED; `reject` with BAD_SIGNATURE, or a code of `judgeRevocation` or
 *   `verifyChain`
 */
export function checkRevoke (ledger: Ledger, signed: Signed, issuerChain: readonly Uint8Array[], nowMs: number): Verdict<{ peerId: PeerIdStr }> {
  const revocation = judgeRevocation(ledger, signed)
  if (revocation.verdict === 'reject') return revocation
  const signature = checkSignature(signed, STATEMENT_DOMAINS.revocation)
  if (signature.verdict !== 'accept') return signature
  if (signed.signer === (ledger.network as string)) return revocation
  const chain = verifyChain(issuerChain, {
    network: ledger.network,
    holder: signed.signer as PeerIdStr,
    nowMs,
    mayExtend: (peer) => ledger.members.get(peer)?.capabilities.includes('vote') === true
  })
  return chain.verdict === 'accept' ? revocation : chain
}
