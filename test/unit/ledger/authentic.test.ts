import assert from 'node:assert/strict'
import { signStatement } from '../../../keys/statement.ts'
import { isAuthentic } from '../../../src/ledger/authentic.ts'
import { cancelCommand, encodeCancelRequest, encodeRevocation, failCommand, receiptsCommand, revokeCommand, submitCommand } from '../../../src/ledger/command.ts'
import type { Signed } from '../../../src/ledger/state.ts'
import { assign, founder, outputsFor, network, signedReceipts, signedSpec, spec, submit, success, world } from './fixture.ts'

describe('an entry from gossip', () => {
  const w = world()
  const job = submit(w)
  const ref = assign(w, job, 0, 0)
  const statements: Record<string, [(signed: Signed) => Uint8Array, Signed]> = {
    'a job': [submitCommand, signedSpec(spec())],
    receipts: [receiptsCommand, signedReceipts([success(ref, outputsFor(w, ref))])],
    'a cancellation': [(signed) => cancelCommand(job, signed), signStatement(founder, 'cancel', encodeCancelRequest(network, job, 1))],
    'a revocation': [(signed) => revokeCommand(signed, []), signStatement(founder, 'revocation', encodeRevocation(network, founder.peerId, 1))]
  }
  for (const [what, [command, signed]] of Object.entries(statements)) {
    it(`that holds ${what} is taken with its author's signature, and not with another`, () => {
      assert.equal(isAuthentic(command(signed)), true)
      const forged = Uint8Array.from(signed.signature)
      forged[7] = (forged[7] ?? 0) ^ 1
      assert.equal(isAuthentic(command({ ...signed, signature: forged })), false)
      assert.equal(isAuthentic(command({ ...signed, signer: 'somebody' })), false)
    })
  }
  it('that a leader says on its own account, or that says nothing, is taken', () => {
    for (const data of [failCommand(job, 'DEADLINE', 'late'), new Uint8Array(), Uint8Array.of(0xff, 1, 2)]) assert.equal(isAuthentic(data), true)
  })
})
