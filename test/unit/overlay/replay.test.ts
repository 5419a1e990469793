import assert from 'node:assert/strict'
import { REPLAY_WINDOW, ReplayGuard } from '../../../src/overlay/replay.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'

const [ann, bob, eve] = ['ann', 'bob', 'eve'] as [PeerIdStr, PeerIdStr, PeerIdStr]
const code = (guard: ReplayGuard, author: PeerIdStr, incarnation: number, sequence: number): string => {
  const verdict = guard.check(author, incarnation, sequence)
  return verdict.verdict === 'accept' ? 'accept' : `${verdict.verdict} ${verdict.code}`
}

describe('ReplayGuard', () => {
  it('takes each message of an author once, in any order (RFC 4303 §3.4.3)', () => {
    const guard = new ReplayGuard(10)
    for (const sequence of [3, 1, 2, 7, 5]) {
      assert.equal(code(guard, ann, 1, sequence), 'accept')
      guard.record(ann, 1, sequence)
      assert.equal(code(guard, ann, 1, sequence), 'ignore GOSSIP_REPLAYED')
    }
    assert.equal(code(guard, ann, 1, 4), 'accept')
  })

  it('changes nothing by looking', () => {
    const guard = new ReplayGuard(10)
    code(guard, ann, 9, 9)
    assert.equal(code(guard, ann, 1, 1), 'accept')
    assert.deepEqual(guard.marks(), [])
  })

  it('counts what is too far behind as seen', () => {
    const guard = new ReplayGuard(10)
    guard.record(ann, 1, REPLAY_WINDOW + 10)
    assert.equal(code(guard, ann, 1, 10), 'ignore GOSSIP_REPLAYED')
    assert.equal(code(guard, ann, 1, 11), 'accept')
  })

  it('takes a restarted author from its first message on, and nothing of its past', () => {
    const guard = new ReplayGuard(10)
    guard.record(ann, 1, 500)
    assert.equal(code(guard, ann, 2, 1), 'accept')
    guard.record(ann, 2, 1)
    assert.equal(code(guard, ann, 1, 501), 'ignore GOSSIP_OLD_INCARNATION')
    assert.equal(code(guard, ann, 2, 2), 'accept')
  })

  it('remembers across its own restart: all up to the highest counts as seen', () => {
    const before = new ReplayGuard(10)
    for (const sequence of [1, 2, 9]) before.record(ann, 4, sequence)
    const guard = new ReplayGuard(10, before.marks())
    for (const sequence of [1, 5, 9]) assert.equal(code(guard, ann, 4, sequence), 'ignore GOSSIP_REPLAYED')
    assert.equal(code(guard, ann, 4, 10), 'accept')
    assert.equal(code(guard, ann, 3, 10), 'ignore GOSSIP_OLD_INCARNATION')
  })

  it('keeps the latest authors when there are too many', () => {
    const guard = new ReplayGuard(2)
    guard.record(ann, 1, 1)
    guard.record(bob, 1, 1)
    guard.record(ann, 1, 2)
    guard.record(eve, 1, 1)
    assert.deepEqual(guard.marks().map(mark => mark.author), [ann, eve])
  })

  it('keeps up with large jumps without remembering what lies between', () => {
    const guard = new ReplayGuard(1)
    for (let jump = 1; jump <= 50; jump++) guard.record(ann, 1, jump * 1e12)
    assert.equal(code(guard, ann, 1, 50e12 - 1), 'accept')
    assert.equal(code(guard, ann, 1, 49e12), 'ignore GOSSIP_REPLAYED')
  })

  it('does not lower its floor for an old message', () => {
    const guard = new ReplayGuard(1, [{ author: ann, incarnation: 1, sequence: 100 }])
    guard.record(ann, 1, 101)
    assert.equal(code(guard, ann, 1, 100), 'ignore GOSSIP_REPLAYED')
    assert.equal(code(guard, ann, 1, 1), 'ignore GOSSIP_REPLAYED')
  })
})
