import assert from 'node:assert/strict'
import {
  MAX_FRAME_BYTES, decodeFrame, decodeSnapshotTransfer, encodeFrame, encodeSnapshotTransfer, packFrames, sizeBound, type Frame
} from '../../../src/consensus/codec.ts'
import type { Entry, Message } from '../../../src/consensus/types.ts'

const envelope = { incarnation: '0123456789abcdef0123456789abcdef', peerIncarnation: 'ff'.repeat(16) }

function message (changes: Partial<Message> = {}): Message {
  return {
    type: 'append', from: 'a', to: 'b', term: 7, index: 41, logTerm: 6, entries: [], commit: 40, reject: false, rejectHint: 0, force: false,
    context: new Uint8Array(0), ...changes
  }
}

const entry = (index: number, bytes = 3): Entry => ({ index, term: 7, kind: 'normal', data: new Uint8Array(bytes).fill(index) })
const conf = { voters: ['a', 'b'], votersOutgoing: ['a'], learners: ['c'], learnersNext: ['d'], autoLeave: true }
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (_, item: unknown) => item instanceof Uint8Array ? [...item] : item))

describe('raft codec', () => {
  it('gives back every kind of message', () => {
    const messages = [
      message({ entries: [entry(42), { ...entry(43), kind: 'conf' }, { ...entry(44, 0), kind: 'empty' }] }),
      message({ type: 'appendReply', reject: true, rejectHint: 39 }),
      message({ type: 'vote', force: true }), message({ type: 'voteReply' }), message({ type: 'preVote' }), message({ type: 'preVoteReply' }),
      message({ type: 'heartbeat', index: 0 }), message({ type: 'heartbeatReply' }), message({ type: 'timeoutNow' }),
      message({ type: 'readIndex', context: new Uint8Array([1, 2]) }), message({ type: 'readIndexReply', index: Number.MAX_SAFE_INTEGER }),
      message({ type: 'snapshot', snapshot: { index: 9, term: 3, conf } })
    ]
    const decoded = decodeFrame(encodeFrame({ ...envelope, messages }), 'a', 'b')
    assert.equal(decoded.verdict, 'accept')
    assert.deepEqual(plain(decoded.verdict === 'accept' && decoded.value), plain({ ...envelope, messages }))
  })

  it('gives back a snapshot, and refuses one that was damaged or is too large', () => {
    const data = new Uint8Array(1000).fill(5)
    const bytes = encodeSnapshotTransfer({ ...envelope, message: message({ type: 'snapshot', snapshot: { index: 9, term: 3, conf } }), data })
    const decoded = decodeSnapshotTransfer(bytes, 'a', 'b', 1000)
    assert.deepEqual(decoded.verdict === 'accept' && plain(decoded.value.data), plain(data))
    assert.equal(decodeSnapshotTransfer(bytes, 'a', 'b', 999).verdict, 'reject')
    bytes[bytes.length - 100]! ^= 1
    assert.equal(decodeSnapshotTransfer(bytes, 'a', 'b', 1000).verdict, 'reject')
  })

  const refused: Array<[string, Frame | (() => Uint8Array)]> = [
    ['from somebody else', { ...envelope, messages: [message({ from: 'c' })] }],
    ['one of many from somebody else', { ...envelope, messages: [message(), message({ from: 'c' })] }],
    ['for somebody else', { ...envelope, messages: [message({ to: 'c' })] }],
    ['of an unknown type', { ...envelope, messages: [message({ type: 'propose' as 'append' })] }],
    ['with an unknown kind of entry', { ...envelope, messages: [message({ entries: [{ ...entry(42), kind: 'x' as 'conf' }] })] }],
    ['a snapshot without its facts', { ...envelope, messages: [message({ type: 'snapshot' })] }],
    ['an append with a snapshot', { ...envelope, messages: [message({ snapshot: { index: 9, term: 3, conf } })] }],
    ['a snapshot at 0', { ...envelope, messages: [message({ type: 'snapshot', snapshot: { index: 0, term: 3, conf } })] }],
    ['with an empty id', { ...envelope, messages: [message({ type: 'snapshot', snapshot: { index: 1, term: 3, conf: { ...conf, learners: [''] } } })] }],
    ['entries beyond what can be counted', { ...envelope, messages: [message({ index: Number.MAX_SAFE_INTEGER, entries: [entry(1)] })] }],
    ['without an incarnation', { incarnation: '', peerIncarnation: '', messages: [] }],
    ['too many messages', { ...envelope, messages: Array.from({ length: 4097 }, () => message()) }],
    ['too long', () => new Uint8Array(MAX_FRAME_BYTES + 1)],
    ['garbage', () => new Uint8Array(64).fill(0xff)]
  ]
  for (const [what, frame] of refused) {
    it(`rejects a frame ${what}`, () => {
      assert.equal(decodeFrame(typeof frame === 'function' ? frame() : encodeFrame(frame), 'a', 'b').verdict, 'reject')
    })
  }

  it('never throws, whatever byte is flipped or wherever a frame is cut', () => {
    const bytes = encodeFrame({ ...envelope, messages: [message({ entries: [entry(42), entry(43)] }), message({ type: 'snapshot', snapshot: { index: 9, term: 3, conf } })] })
    for (let at = 0; at < bytes.length; at++) {
      decodeFrame(bytes.slice(0, at), 'a', 'b')
      for (let bit = 0; bit < 8; bit++) {
        const flipped = bytes.slice()
        flipped[at]! ^= 1 << bit
        decodeFrame(flipped, 'a', 'b')
        decodeSnapshotTransfer(flipped, 'a', 'b', 1000)
      }
    }
  })

  it('packs messages into frames in order, none longer than 1 MiB', () => {
    const messages = Array.from({ length: 40 }, (_, i) => message({ term: i + 1, entries: [entry(42, 100_000), entry(43, 1)] }))
    const frames = packFrames(messages)
    assert.deepEqual(frames.flat(), messages)
    assert.ok(frames.length >= 4 && frames.length <= 6)
    for (const frame of frames) assert.ok(encodeFrame({ ...envelope, messages: frame }).length <= MAX_FRAME_BYTES)
    assert.equal(packFrames(Array.from({ length: 5000 }, () => message({ from: '', to: '' }))).every(frame => frame.length <= 4096), true)
    assert.deepEqual(packFrames([]), [])
  })

  it('bounds the size of a message from above', () => {
    for (const entries of [[], [entry(42, 0)], Array.from({ length: 500 }, (_, i) => entry(42 + i, i))]) {
      const one = message({ term: Number.MAX_SAFE_INTEGER, commit: Number.MAX_SAFE_INTEGER, logTerm: Number.MAX_SAFE_INTEGER, entries })
      const bare = encodeFrame({ ...envelope, messages: [] }).length
      assert.ok(encodeFrame({ ...envelope, messages: [one] }).length - bare <= sizeBound(one))
    }
  })
})
