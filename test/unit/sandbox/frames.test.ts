import assert from 'node:assert/strict'
import { decodeFrame, encodeFrame, FrameError, FrameReader, type Frame } from '../../../src/participant/sandbox/frames.ts'

const bytes = (kind: number, header: unknown, blobs: Uint8Array[] = []): Buffer => Buffer.concat(encodeFrame(kind, header, blobs))
const plain = ({ kind, header, blobs }: Frame): unknown => ({ kind, header, blobs: blobs.map(String) })

describe('frames between participant and executor', () => {
  const frames = [bytes(1, { a: 1 }, [Buffer.from('x'), Buffer.alloc(0), Buffer.from('yz')]), bytes(255, null), bytes(2, 'é', [Buffer.alloc(0)])]

  it('read back as they were written, however the stream is cut', () => {
    const stream = Buffer.concat(frames)
    const expected = [{ kind: 1, header: { a: 1 }, blobs: ['x', '', 'yz'] }, { kind: 255, header: null, blobs: [] }, { kind: 2, header: 'é', blobs: [''] }]
    for (let size = 1; size <= stream.length; size++) {
      const reader = new FrameReader(1024)
      const read: Frame[] = []
      for (let at = 0; at < stream.length; at += size) read.push(...reader.push(stream.subarray(at, at + size)))
      assert.deepEqual(read.map(plain), expected, `pieces of ${size}`)
    }
  })

  it('are refused above the limit, before anything is kept', () => {
    const reader = new FrameReader(100)
    assert.throws(() => reader.push(Buffer.from([0xFF, 0xFF, 0xFF, 0xFF])), FrameError)
    assert.throws(() => new FrameReader(100).push(Buffer.from([0, 0, 0, 101])), FrameError)
    assert.throws(() => new FrameReader(100).push(Buffer.from([0, 0, 0, 4])), FrameError)
  })

  it('are refused when malformed', () => {
    for (const [name, body] of [
      ['empty', []],
      ['a header beyond its end', [1, 0, 0, 0, 9, 0x7B, 0x7D]],
      ['a header that is no JSON', [1, 0, 0, 0, 1, 0x7B]],
      ['a huge header', [1, 0xFF, 0xFF, 0xFF, 0xFF]],
      ['half a blob length', [1, 0, 0, 0, 2, 0x7B, 0x7D, 0, 0]],
      ['a blob beyond its end', [1, 0, 0, 0, 2, 0x7B, 0x7D, 0, 0, 0, 2, 1]]
    ] as const) assert.throws(() => decodeFrame(Uint8Array.from(body)), FrameError, name)
  })

  it('never do more than throw FrameError, whatever bit is flipped', () => {
    for (const frame of frames) {
      for (let bit = 0; bit < frame.length * 8; bit++) {
        const flipped = Buffer.from(frame)
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
        try {
          new FrameReader(1024).push(flipped)
        } catch (error) {
          assert.ok(error instanceof FrameError)
        }
      }
    }
  })

  it('are not written with a header above the limit', () => {
    assert.throws(() => encodeFrame(1, 'x'.repeat(300_000)), FrameError)
  })
})
