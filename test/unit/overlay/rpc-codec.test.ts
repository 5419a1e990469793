import assert from 'node:assert/strict'
import { ConclaveError } from '../../../keys/conclave-error.ts'
import { decodeReply, decodeRequest, encodeCancel, encodeErrorReply, encodeReply, encodeRequest } from '../../../protocols/rpc/codec.ts'
import { MAX_RPC_TIMEOUT_MS } from '../../../protocols/rpc/constants.ts'
import { Reply } from '../../../protocols/rpc/messages.js'

const errorOf = (bytes: Uint8Array): ConclaveError => {
  const verdict = decodeReply(bytes)
  if (verdict.verdict !== 'accept' || !('error' in verdict.value)) return assert.fail('no error came through')
  return verdict.value.error
}

describe('the RPC codec', () => {
  it('carries a request', () => {
    const verdict = decodeRequest(encodeRequest(7, Uint8Array.of(1, 2), 1_500.2))
    assert.equal(verdict.verdict, 'accept')
    assert.deepEqual(verdict.verdict === 'accept' && { ...verdict.value, body: [1, 2] }, { type: 'request', id: 7, body: [1, 2], timeoutMs: 1_501 })
  })

  it('carries a cancel', () => {
    assert.deepEqual(decodeRequest(encodeCancel(9)), { verdict: 'accept', value: { type: 'cancel', id: 9 } })
  })

  it('bounds how long a requester may claim to wait', () => {
    const verdict = decodeRequest(encodeRequest(1, new Uint8Array(0), 1e12))
    assert.equal(verdict.verdict === 'accept' && verdict.value.type === 'request' && verdict.value.timeoutMs, MAX_RPC_TIMEOUT_MS)
  })

  it('tells an empty answer from an error', () => {
    const verdict = decodeReply(encodeReply(3, new Uint8Array(0)))
    assert.equal(verdict.verdict === 'accept' && 'body' in verdict.value && verdict.value.body.byteLength, 0)
  })

  it('carries a ConclaveError with code, message, next and details', () => {
    const error = errorOf(encodeErrorReply(3, new ConclaveError('NOT_LEADER', 'ask another', { next: 'conclave status', details: { leader: 'x', term: 4 } })))
    assert.deepEqual([error.code, error.name, error.message, error.next, error.details], ['NOT_LEADER', 'NOT_LEADER', 'ask another', 'conclave status', { leader: 'x', term: 4 }])
  })

  it('tells nothing of an error that is not ours', () => {
    const error = errorOf(encodeErrorReply(3, new Error('open /home/ann/secret')))
    assert.equal(error.code, 'INTERNAL')
    assert.doesNotMatch(error.message, /secret/)
  })

  it('cuts long texts and leaves out large details', () => {
    const error = errorOf(encodeErrorReply(3, new ConclaveError('X', 'm'.repeat(1e5), { next: 'n'.repeat(1e5), details: { big: 'd'.repeat(1e5) } })))
    assert.deepEqual([error.message.length, error.next.length, error.details], [2_048, 512, {}])
  })

  for (const [what, failure] of [
    ['a code in lower case', { code: 'rm -rf' }], ['no code', { code: '' }], ['details that are no object', { code: 'X', details: '[1]' }], ['details that do not parse', { code: 'X', details: '{' }]
  ] as const) {
    it(`makes something harmless of ${what}`, () => {
      const error = errorOf(Reply.encode({ id: 1, error: { message: '', next: '', details: '', ...failure } }))
      assert.match(error.code, /^(X|INTERNAL)$/)
      assert.deepEqual(error.details, {})
    })
  }

  it('rejects what does not decode', () => {
    for (const bytes of [Uint8Array.of(255), Uint8Array.of(0x12, 0x7f, 1)]) {
      assert.equal(decodeRequest(bytes).verdict, 'reject')
      assert.equal(decodeReply(bytes).verdict, 'reject')
    }
  })
})
