import assert from 'node:assert/strict'
import { identityFromSeed } from '../../../keys/identity.ts'
import { signEnvelope } from '../../../protocols/gossip/codec.ts'
import { MAX_PAYLOAD_BYTES } from '../../../protocols/gossip/constants.ts'
import { Envelope, SignedEnvelope } from '../../../protocols/gossip/messages.js'
import { judgeGossip } from '../../../src/overlay/gossip-judge.ts'
import { ReplayGuard } from '../../../src/overlay/replay.ts'
import type { GossipRules } from '../../../src/overlay/gossip-judge.ts'
import type { NetworkId } from '../../../keys/ids.ts'

const identity = (seed: number): ReturnType<typeof identityFromSeed> => identityFromSeed(new Uint8Array(32).fill(seed))
const [author, self, other] = [identity(1), identity(2), identity(3)]
const network = identity(9).peerId as string as NetworkId
const fields = { network: network as string, topic: 'tasks', incarnation: 5, sequence: 1, term: 3, payload: Uint8Array.of(1, 2, 3) }
const rules = (): GossipRules => ({ network, self: self.peerId, guard: new ReplayGuard(10), can: peer => peer !== other.peerId })
const judge = (bytes: Uint8Array, with_ = rules()): string => {
  const verdict = judgeGossip(bytes, 'tasks', with_)
  return verdict.verdict === 'accept' ? 'accept' : `${verdict.verdict} ${verdict.code}`
}

describe('judgeGossip', () => {
  const honest = signEnvelope(author, fields)

  it('accepts a signed, fresh, allowed envelope and gives its fields', () => {
    const verdict = judgeGossip(honest, 'tasks', rules())
    assert.equal(verdict.verdict, 'accept')
    if (verdict.verdict !== 'accept') return
    const { author: by, term, payload } = verdict.value
    assert.deepEqual([by, term, [...payload]], [author.peerId, 3, [1, 2, 3]])
  })

  const table: Array<[string, Uint8Array, string]> = [
    ['one made for another network', signEnvelope(author, { ...fields, network: other.peerId }), 'reject ENVELOPE_WRONG_NETWORK'],
    ['one made for the other topic', signEnvelope(author, { ...fields, topic: 'results' }), 'reject ENVELOPE_WRONG_TOPIC'],
    ['our own, come back', signEnvelope(self, fields), 'ignore GOSSIP_OWN'],
    ['one of an author that may not publish here', signEnvelope(other, fields), 'ignore GOSSIP_NOT_ALLOWED'],
    ['one without a sequence number', signEnvelope(author, { ...fields, sequence: 0 }), 'reject ENVELOPE_MALFORMED'],
    ['one without an incarnation', signEnvelope(author, { ...fields, incarnation: 0 }), 'reject ENVELOPE_MALFORMED'],
    ['one that is too large', signEnvelope(author, { ...fields, payload: new Uint8Array(MAX_PAYLOAD_BYTES + 1) }), 'reject ENVELOPE_TOO_LARGE'],
    ['one that is far too large, undecoded', new Uint8Array(10 * MAX_PAYLOAD_BYTES), 'reject ENVELOPE_TOO_LARGE'],
    ['an empty message', new Uint8Array(0), 'reject ENVELOPE_MALFORMED'],
    ['noise', Uint8Array.of(255, 255, 255, 255, 255), 'reject ENVELOPE_MALFORMED'],
    ['one without a signature', SignedEnvelope.encode({ envelope: SignedEnvelope.decode(honest).envelope }), 'reject ENVELOPE_FORGED'],
    ['one that names another author than its signer', forge(other), 'reject ENVELOPE_FORGED']
  ]
  for (const [what, bytes, expected] of table) {
    it(`answers ${expected} to ${what}`, () => { assert.equal(judge(bytes), expected) })
  }

  it('accepts the largest payload that may be published', () => {
    assert.equal(judge(signEnvelope(author, { ...fields, incarnation: Number.MAX_SAFE_INTEGER, payload: new Uint8Array(MAX_PAYLOAD_BYTES) })), 'accept')
  })

  it('accepts no envelope with a bit changed', () => {
    for (let bit = 0; bit < honest.byteLength * 8; bit++) {
      const bytes = Uint8Array.from(honest)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      assert.notEqual(judge(bytes), 'accept', `bit ${bit}`)
    }
  })

  it('accepts no envelope that is cut', () => {
    for (let length = 0; length < honest.byteLength; length++) assert.notEqual(judge(honest.subarray(0, length)), 'accept', `${length} bytes`)
  })

  it('accepts an envelope once, and none whose encoding is dressed up to get another message id', () => {
    const shared = rules()
    assert.equal(judge(honest, shared), 'accept')
    assert.equal(judge(honest, shared), 'ignore GOSSIP_REPLAYED')
    const dressed = Uint8Array.from([...honest, 0xf8, 0x07, 0x01]) // an unknown field at the end
    assert.equal(judge(dressed, shared), 'reject ENVELOPE_MALFORMED')
  })

  it('lets a forged envelope move no mark', () => {
    const shared = rules()
    assert.equal(judge(forge(other), shared), 'reject ENVELOPE_FORGED')
    assert.deepEqual(shared.guard.marks(), [])
  })

  /** Signed by `signer`, but naming the honest author. */
  function forge (signer: typeof author): Uint8Array {
    const { envelope } = SignedEnvelope.decode(signEnvelope(author, { ...fields, sequence: 1_000_000 }))
    const { signature } = SignedEnvelope.decode(signEnvelope(signer, { ...fields, sequence: 1_000_000 }))
    assert.equal(Envelope.decode(envelope).author, author.peerId)
    return SignedEnvelope.encode({ envelope, signature })
  }
})
