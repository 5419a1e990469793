import assert from 'node:assert/strict'
import { maySpeak, MESSAGE_KINDS, requiredFor } from '../../../protocols/policy.ts'
import type { MessageKind } from '../../../protocols/policy.ts'

/** Who may speak, capability by capability: the whole table, once more and in another shape. */
const EXPECTED: Record<MessageKind, string[]> = {
  raft: ['vote'],
  snapshot: ['vote'],
  job: ['submit'],
  member: ['none', 'vote', 'work', 'submit', 'observe', 'invite'],
  ledger: ['none', 'vote', 'work', 'submit', 'observe', 'invite'],
  work: ['work'],
  blocks: ['none', 'vote', 'work', 'submit', 'observe', 'invite'],
  tasks: ['vote'],
  results: ['vote', 'work']
}

describe('the policy table', () => {
  for (const kind of MESSAGE_KINDS) {
    for (const capability of ['none', 'vote', 'work', 'submit', 'observe', 'invite']) {
      const expected = EXPECTED[kind].includes(capability)
      it(`${expected ? 'lets' : 'does not let'} a member with ${capability} send ${kind}`, () => {
        assert.equal(maySpeak(kind, capability === 'none' ? [] : [capability]), expected)
      })
    }

    it(`lets no stranger send ${kind}`, () => {
      assert.equal(maySpeak(kind, undefined), false)
    })

    it(`says what ${kind} takes`, () => {
      assert.match(requiredFor(kind), /^(membership|`[a-z]+`( or `[a-z]+`)*)$/)
    })
  }
})
