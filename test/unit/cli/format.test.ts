import assert from 'node:assert/strict'
import { bytes, duration, plain, progressLine, shortPeer, table } from '../../../src/cli/format.ts'
import type { JobInfo } from '../../../src/api.ts'

const info: JobInfo = {
  id: 'j1', name: 'count', status: 'running', submitter: 'p', submittedAt: 0,
  stages: [{ kind: 'map', total: 8, done: 4, running: 2, pending: 2 }, { kind: 'reduce', total: 2, done: 0, running: 0, pending: 2 }],
  participants: [{ peerId: 'a', done: 3 }, { peerId: 'b', done: 1 }]
}

describe('what a terminal shows', () => {
  it('sizes and times with units', () => {
    assert.deepEqual([0, 1023, 1024, 1536, 104_857_600, 2 ** 50].map(bytes), ['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '100 MiB', '1024 TiB'])
    assert.deepEqual([0.4, 999, 1500, 61_000, 3_660_000, 200_000_000].map(duration), ['0 ms', '999 ms', '1.5 s', '1 min 1 s', '1 h 1 min', '2 d 7 h'])
  })

  it('peers by their end, since they all begin alike', () => {
    assert.equal(shortPeer('12D3KooWabcdefgh12345678'), '…12345678')
    assert.equal(shortPeer('short'), 'short')
  })

  it('tables in columns, foreign control characters taken out', () => {
    assert.equal(table([['A', 'B'], ['long', 'x\u001b[31m\ny']]), 'A     B\nlong  x [31m y\n')
    assert.equal(plain('a\u202eb\u0000c'), 'a b c')
  })

  it('progress in one line that never exceeds the terminal', () => {
    assert.equal(progressLine(info, 2000, 200), '████████░░░░░░░░░░░░  map 4/8, reduce 0/2  2 running, 2 participants  2.0 s')
    for (const columns of [0, 1, 10, 40]) assert.ok(progressLine(info, 2000, columns).length <= Math.max(1, columns))
  })

  it('why nothing runs, instead of how much', () => {
    const idle: JobInfo = { ...info, stages: [{ kind: 'map', total: 1, done: 0, running: 0, pending: 1 }], waiting: 'no participant is connected' }
    assert.match(progressLine(idle, 0, 200), /waiting: no participant is connected/)
  })

  it('a job without stages', () => assert.match(progressLine({ ...info, stages: [] }, 0, 80), /^░{20} /))
})
