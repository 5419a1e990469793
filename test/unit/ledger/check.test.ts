import assert from 'node:assert/strict'
import { signStatement } from '../../../keys/statement.ts'
import { checkCancel, checkReceipts, checkSubmit } from '../../../src/ledger/check.ts'
import { encodeCancelRequest, encodeReceiptBatch, submitCommand } from '../../../src/ledger/command.ts'
import { encodeJobSpec } from '../../../src/ledger/job-spec.ts'
import { assign, founder, network, NOW, outputsFor, person, receive, run, signedReceipts, signedSpec, spec, submit, success, workers, world } from './fixture.ts'
import type { Identity } from '../../../keys/identity.ts'
import type { NetworkId } from '../../../keys/ids.ts'
import type { Verdict } from '../../../keys/verdict.ts'

const DAY = 86_400_000
const [ada, bob] = workers as [Identity, Identity]
const told = (verdict: Verdict<unknown>): string => verdict.verdict === 'accept' ? 'accept' : `${verdict.verdict} ${verdict.code}`

describe('checks before a proposal', () => {
  it('takes a job with its submitter’s signature, and the same one again as known', () => {
    const w = world()
    const signed = signedSpec(spec())
    assert.equal(told(checkSubmit(w.ledger, signed, NOW)), 'accept')
    w.commit(submitCommand(signed))
    assert.equal(told(checkSubmit(w.ledger, signed, NOW)), 'ignore ALREADY_SUBMITTED')
  })

  const w = world()
  const made = spec()
  const good = signedSpec(made)
  const flipped = good.payload.slice()
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1
  const submissions: Array<[string, string, () => Verdict<unknown>]> = [
    ['a flipped bit', 'reject', () => checkSubmit(w.ledger, { ...good, payload: flipped }, NOW)],
    ['another’s signature', 'reject BAD_SIGNATURE', () => checkSubmit(w.ledger, { ...good, signature: signedSpec(made, ada).signature }, NOW)],
    ['a signature for another purpose', 'reject BAD_SIGNATURE', () => checkSubmit(w.ledger, signStatement(founder, 'receipts', encodeJobSpec(made)), NOW)],
    ['a stranger', 'ignore NOT_A_MEMBER', () => checkSubmit(w.ledger, signedSpec(spec({ submitter: person(99).peerId }), person(99)), NOW)],
    ['a signer that is not the submitter', 'reject WRONG_SIGNER', () => checkSubmit(w.ledger, signedSpec(made, ada), NOW)],
    ['another network', 'reject WRONG_NETWORK', () => checkSubmit(w.ledger, signedSpec(spec({ network: person(9).peerId as string as NetworkId })), NOW)],
    ['a date in the future', 'reject SPEC_CLOCK', () => checkSubmit(w.ledger, signedSpec(spec({ createdAtMs: NOW + 600_000 })), NOW)],
    ['a date long past', 'reject SPEC_STALE', () => checkSubmit(w.ledger, signedSpec(spec({ createdAtMs: NOW - DAY - 1 })), NOW)],
    ['an expired member', 'reject CERT_EXPIRED', () => checkSubmit(w.ledger, signedSpec(spec({ createdAtMs: NOW + 8 * DAY })), NOW + 8 * DAY)],
    ['a cut signature', 'reject STATEMENT_INVALID', () => checkSubmit(w.ledger, { ...good, signature: good.signature.subarray(1) }, NOW)]
  ]
  for (const [name, expected, check] of submissions) {
    it(`refuses a job: ${name}`, () => { assert.ok(told(check()).startsWith(expected), told(check())) })
  }

  it('takes receipts of current attempts, ignores late ones, and rejects forged ones', () => {
    const w = world()
    const job = submit(w)
    const ref = assign(w, job, 0, 0)
    const receipt = success(ref, outputsFor(w, ref))
    const signed = signedReceipts([receipt])
    assert.deepEqual(checkReceipts(w.ledger, signed, NOW), { verdict: 'accept', value: { current: 1 } })
    assert.equal(told(checkReceipts(w.ledger, { ...signed, signature: signedReceipts([receipt], bob).signature }, NOW)), 'reject BAD_SIGNATURE')
    assert.equal(told(checkReceipts(w.ledger, signStatement(bob, 'receipts', encodeReceiptBatch(network, ada.peerId, [receipt])), NOW)), 'reject WRONG_SIGNER')
    assert.equal(told(checkReceipts(w.ledger, signedReceipts([receipt], bob), NOW)), 'reject INVALID')
    assert.equal(told(checkReceipts(w.ledger, signedReceipts([]), NOW)), 'reject RECEIPTS_EMPTY')
    assert.equal(told(checkReceipts(w.ledger, signedReceipts([success({ ...ref, attempt: 7 }, [])]), NOW)), 'ignore NOT_YET')
    receive(w, [receipt])
    assert.equal(told(checkReceipts(w.ledger, signed, NOW)), 'ignore NOTHING_NEW')
  })

  it('takes a cancellation from the submitter, and calls that of an ended job late', () => {
    const w = world()
    const job = submit(w, spec({ inputs: 1, partitions: 0 }))
    const cancel = signStatement(founder, 'cancel', encodeCancelRequest(network, job, NOW))
    assert.equal(told(checkCancel(w.ledger, cancel, NOW)), 'accept')
    assert.equal(told(checkCancel(w.ledger, { ...cancel, signature: new Uint8Array(64) }, NOW)), 'reject BAD_SIGNATURE')
    run(w, job, 0, 0)
    assert.equal(told(checkCancel(w.ledger, cancel, NOW)), 'ignore JOB_ENDED')
  })
})
