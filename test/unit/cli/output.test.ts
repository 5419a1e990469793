import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { createOutput } from '../../../src/cli/output.ts'

describe('what a command writes', () => {
  it('waits for a slow reader again and again, and leaves no listener behind', async () => {
    const slow = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => { setImmediate(done) } })
    const out = createOutput(slow, new Writable({ write: (_chunk, _encoding, done) => { done() } }))
    const before = ['drain', 'close', 'error'].map((name) => slow.listenerCount(name))
    for (let i = 0; i < 50; i++) await out.data('a line\n')
    assert.deepEqual(['drain', 'close', 'error'].map((name) => slow.listenerCount(name)), before)
  })
})
