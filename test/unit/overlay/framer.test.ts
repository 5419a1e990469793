import assert from 'node:assert/strict'
import { encodeFrames, FRAME_HEADER_BYTES, FrameDecoder } from '../../../src/overlay/framer.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const decodeAll = (chunks: Uint8Array[], max = 1024): string[] => {
  const decoder = new FrameDecoder(max)
  return chunks.flatMap(chunk => {
    const verdict = decoder.push(chunk)
    assert.equal(verdict.verdict, 'accept')
    return verdict.verdict === 'accept' ? verdict.value.map(message => Buffer.from(message).toString()) : []
  })
}
const split = (all: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(all.byteLength / size) }, (_, index) => all.subarray(index * size, (index + 1) * size))

describe('FrameDecoder', () => {
  const messages = ['', 'a', 'hello', 'x'.repeat(300), '', 'last']
  const encoded = encodeFrames(messages.map(bytes))

  for (const size of [1, 2, 3, 4, 5, 7, 64, 10_000]) {
    it(`gives back the messages of a stream that arrives in chunks of ${size}`, () => {
      assert.deepEqual(decodeAll(split(encoded, size)), messages)
    })
  }

  it('gives back an empty message that ends a chunk', () => {
    assert.deepEqual(decodeAll([encodeFrames([bytes('')])]), [''])
  })

  it('rejects a length over the maximum from its header alone', () => {
    const decoder = new FrameDecoder(10)
    const verdict = decoder.push(Uint8Array.of(0, 0, 0, 11))
    assert.equal(verdict.verdict, 'reject')
    assert.equal(verdict.verdict === 'reject' && verdict.code, 'FRAME_TOO_LARGE')
  })

  it('takes a message of exactly the maximum', () => {
    assert.deepEqual(decodeAll([encodeFrames([bytes('x'.repeat(10))])], 10), ['x'.repeat(10)])
  })

  it('rejects a length that reads as negative in 32 bits', () => {
    assert.equal(new FrameDecoder(2 ** 20).push(Uint8Array.of(0xff, 0xff, 0xff, 0xff)).verdict, 'reject')
  })

  it('holds no more of a large frame than was received', () => {
    const decoder = new FrameDecoder(2 ** 30)
    decoder.push(Uint8Array.of(0x3f, 0xff, 0xff, 0xff, 1, 2, 3))
    assert.equal(decoder.pendingBytes, FRAME_HEADER_BYTES + 3)
  })

  for (let cut = 1; cut < 9; cut++) {
    it(`tells that a frame of 5 bytes was cut after ${cut} bytes`, () => {
      const decoder = new FrameDecoder(1024)
      const verdict = decoder.push(encodeFrames([bytes('hello')]).subarray(0, cut))
      assert.deepEqual(verdict, { verdict: 'accept', value: [] })
      assert.equal(decoder.pendingBytes, cut)
    })
  }

  it('copies messages out of their chunk, also when it is a Buffer', () => {
    const chunk = Buffer.from(encodeFrames([bytes('keep')]))
    const verdict = new FrameDecoder(1024).push(chunk)
    chunk.fill(0)
    assert.equal(verdict.verdict === 'accept' && Buffer.from(verdict.value[0] ?? []).toString(), 'keep')
  })
})
