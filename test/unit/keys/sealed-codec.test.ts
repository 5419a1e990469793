import assert from 'node:assert/strict'
import { ConclaveError } from '../../../keys/conclave-error.ts'
import { decodeAnswer, decodeHello, encodeAnswer, encodeHello } from '../../../protocols/sealed/codec.ts'
import { classifyFailure, refusalError, refusalIn } from '../../../src/overlay/sealed-errors.ts'
import { memberChain, person, told } from './fixture.ts'

describe('sealed handshake frames', () => {
  it('carry credentials as they are', () => {
    for (const credentials of [{ chain: memberChain }, { chain: [] }, { chain: memberChain, attestation: new Uint8Array(100).fill(1) }]) {
      assert.deepEqual(decodeHello(encodeHello(credentials)), { verdict: 'accept', value: credentials })
    }
    assert.throws(() => encodeHello({ chain: [new Uint8Array(17_000)] }), RangeError)
  })

  it('never throw on what a peer sent', () => {
    const hello = encodeHello({ chain: memberChain })
    for (let length = 0; length < hello.byteLength; length++) assert.ok(['accept', 'reject'].includes(decodeHello(hello.slice(0, length)).verdict))
    for (let byte = 0; byte < 256; byte++) {
      decodeHello(new Uint8Array(40).fill(byte))
      decodeAnswer(new Uint8Array(40).fill(byte))
    }
    assert.equal(told(decodeAnswer(new Uint8Array(40).fill(0xff))), 'ANSWER_MALFORMED')
  })

  it('bring no control characters, and no more than a line, to a terminal', () => {
    const answer = decodeAnswer(encodeAnswer({ accepted: false, code: 'evil\n\u001b[2JCODE', reason: `a\u001b[31mb\r\n\u202e\u2028${'x'.repeat(1000)}` }))
    assert.ok(answer.verdict === 'accept' && !answer.value.accepted)
    assert.equal(answer.value.code, '2JCODE')
    assert.match(answer.value.reason, /^a \[31mb {4}x+$/)
    assert.equal(answer.value.reason.length, 300)
    assert.deepEqual(decodeAnswer(encodeAnswer({ accepted: false, code: '', reason: '' })), { verdict: 'accept', value: { accepted: false, code: 'REFUSED', reason: '' } })
  })
})

describe('sealed handshake failures', () => {
  const named = (name: string, message = 'x'): Error => Object.assign(new Error(message), { name })

  it('have a code each', () => {
    const cases: Array<[Error, 'inbound' | 'outbound', string]> = [
      [Object.assign(new Error('x'), { code: 'ERR_INVALID_CRYPTO_EXCHANGE' }), 'outbound', 'FENCE_MISMATCH'],
      [Object.assign(new Error('x'), { code: 'ERR_INVALID_CRYPTO_EXCHANGE' }), 'inbound', 'HANDSHAKE_FAILED'],
      [Object.assign(new Error('x'), { code: 'ECONNRESET' }), 'inbound', 'HANDSHAKE_CLOSED'],
      [named('UnexpectedPeerError'), 'outbound', 'PEER_MISMATCH'],
      [named('AbortError'), 'outbound', 'HANDSHAKE_TIMEOUT'],
      [named('UnexpectedEOFError'), 'inbound', 'HANDSHAKE_CLOSED'],
      [new Error('x'), 'inbound', 'HANDSHAKE_FAILED']
    ]
    for (const [error, direction, code] of cases) assert.equal(classifyFailure(error, direction).code, code)
  })

  it('are found again in what libp2p makes of them', () => {
    const refusal = { code: 'REVOKED', reason: 'gone (FAKE)', by: 'them', direction: 'outbound', remote: person(1).peerId } as const
    const original = refusalError(refusal, undefined)
    const wrapped = named('EncryptionFailedError', original.message)
    for (const error of [original, wrapped, new Error('dial', { cause: wrapped }), new AggregateError([new Error('y'), wrapped])]) {
      assert.equal(refusalIn(error)?.code, 'REVOKED')
    }
    assert.ok(refusalIn(wrapped) instanceof ConclaveError)
    for (const other of [new Error(original.message), named('EncryptionFailedError', 'read ECONNRESET'), undefined, 'text']) assert.equal(refusalIn(other), undefined)
  })
})
