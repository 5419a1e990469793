/** What others got wrong, each named by where it was reported. */
import assert from 'node:assert/strict'
import { createRaft } from '../../../src/consensus/raft.ts'
import { encodeConfChange } from '../../../src/consensus/conf-codec.ts'
import type { Entry } from '../../../src/consensus/types.ts'
import { bytes, confOf, configOf, ELECTION_TICKS, entry, Group, message, Node, none, restoredOf } from './core-group.ts'

const conf = (index: number, term: number, change: Parameters<typeof encodeConfChange>[0]['changes']): Entry =>
  ({ index, term, kind: 'conf', data: encodeConfChange({ transition: 'auto', changes: change, context: none })! })

describe('known mistakes of others', () => {
  it('a node with a later term and a shorter log does not keep the group leaderless (etcd 8501, openraft 1796)', () => {
    // b is at term 9 with an old log; a and c hold more, at term 2
    const group = new Group('abc', {
      restored: {
        a: restoredOf(confOf('abc'), [2, 2], { term: 2 }), b: restoredOf(confOf('abc'), [], { term: 9 }), c: restoredOf(confOf('abc'), [2, 2], { term: 2 })
      }
    })
    group.isolate('c')
    for (let i = 0; i < 5; i++) {
      group.tick('b', 2 * ELECTION_TICKS)
      group.tick('a', 2 * ELECTION_TICKS)
    }
    assert.equal(group.node('a').status.role, 'leader')
    assert.equal(group.node('b').status.leader, 'a')
  })

  it('a leader of an earlier term that reaches a later one hears of it (etcd 8501)', () => {
    const node = new Node('a', restoredOf(confOf('ab'), [], { term: 9 }))
    for (const type of ['append', 'heartbeat', 'preVote', 'vote', 'readIndex'] as const) {
      assert.equal(node.step(message(type, 'b', 'a', { term: 3, index: 1, logTerm: 1 }))[0]!.term, 9, type)
    }
  })

  it('a learner that was promoted and does not know it votes all the same (etcd 10998, 12359)', () => {
    const group = new Group('ab', { learners: 'c' })
    group.elect('a')
    group.isLost = ({ to, type, commit }) => to === 'c' && (type === 'heartbeat' || commit > 2)
    group.change('a', [{ type: 'addVoter', id: 'c' }])
    group.tick('a', 1)
    assert.deepEqual(group.node('b').status.conf, confOf('abc'))
    assert.deepEqual(group.node('c').status.conf, confOf('ab', 'c'))
    group.isolate('a')
    // the learner has heard nothing for an election timeout
    group.tick('c', ELECTION_TICKS)
    group.tick('b', ELECTION_TICKS)
    assert.equal(group.node('b').status.role, 'leader')
  })

  it('nobody campaigns with a committed change still to be applied (etcd 7625)', () => {
    const restored = restoredOf(confOf('a'), [], { term: 2, commit: 2 })
    const raft = createRaft(configOf('a'), { ...restored, entries: [conf(2, 2, [{ type: 'addVoter', id: 'b' }])] })
    const campaigns = (): boolean => {
      raft.campaign()
      for (let i = 0; i < 3 * ELECTION_TICKS; i++) raft.tick()
      return raft.status().role !== 'follower'
    }
    assert.equal(campaigns(), false)
    raft.step(message('timeoutNow', 'b', 'a', { term: 2 }))
    assert.equal(raft.status().role, 'follower')
    const ready = raft.ready()
    raft.applyConfChange(ready.committed[0]!)
    assert.equal(campaigns(), false)
    raft.advance(ready)
    assert.equal(campaigns(), true)
  })

  it('a joint configuration is left once (etcd 12582)', () => {
    const group = new Group('abc')
    group.elect('a')
    group.change('a', [{ type: 'remove', id: 'c' }], 'joint')
    group.tick('a', 3)
    group.node('a').raft.transferLeadership('b')
    group.settle()
    assert.equal(group.node('b').status.role, 'leader')
    group.tick('b', 3)
    const leaves = group.node('b').applied.filter(({ kind }) => kind === 'conf')
    assert.equal(leaves.length, 2)
    assert.deepEqual(group.node('b').status.conf, confOf('ab'))
  })

  it('a leader that takes over in a joint configuration leaves it, once', () => {
    const group = new Group('abcd')
    group.elect('a')
    // the joint change reaches everybody; the end of it does not leave a
    group.isLost = ({ from, entries }) => from === 'a' && entries.some(({ index }) => index > 3)
    group.change('a', [{ type: 'remove', id: 'd' }], 'joint')
    group.tick('a')
    assert.deepEqual(group.node('b').status.conf.votersOutgoing, ['a', 'b', 'c', 'd'])
    group.isolate('a')
    group.elect('b')
    group.heal()
    group.tickAll(3)
    for (const id of 'abc') {
      assert.deepEqual(group.node(id).status.conf, confOf('abc'))
      assert.equal(group.node(id).applied.filter(({ kind }) => kind === 'conf').length, 2)
    }
  })

  it('a removed leader sends no more heartbeats (etcd 11038)', () => {
    const group = new Group('abc')
    group.elect('a')
    group.change('a', [{ type: 'remove', id: 'a' }])
    group.sent.length = 0
    group.tick('a', 3 * ELECTION_TICKS)
    assert.deepEqual(group.sent, [])
  })

  it('a lost snapshot report does not leave a follower behind for ever (dgraph 2707)', () => {
    const group = new Group('abc', { limits: { snapshotTicks: 5 } })
    group.elect('a')
    group.isolate('c')
    group.propose('a', 'x')
    const { applied, term } = group.node('a').status
    group.node('a').raft.snapshotted({ index: applied, term, conf: confOf('abc') })
    group.node('a').raft.compact(applied)
    group.isLost = ({ type }) => type === 'snapshot'
    group.tick('a', 4)
    assert.equal(group.node('a').status.peers[2]!.state, 'snapshot')
    group.heal()
    group.tick('a', 8)
    assert.equal(group.node('c').status.commit, applied)
    assert.equal(group.node('a').status.peers[2]!.state, 'replicate')
  })

  it('no read is answered before a commit in the current term, with one voter too (etcd-io/raft 105)', () => {
    const raft = createRaft(configOf('a'), restoredOf(confOf('a'), [2], { term: 2 }))
    raft.campaign()
    raft.advance(raft.ready())
    assert.equal(raft.status().role, 'leader')
    raft.readIndex(bytes('r'))
    const ready = raft.ready()
    assert.deepEqual(ready.readStates, [])
    raft.advance(ready)
    assert.deepEqual(raft.ready().readStates, [{ index: 3, context: bytes('r') }])

    const group = new Group('abc')
    group.isLost = ({ type }) => type === 'append'
    group.elect('a')
    group.node('a').raft.readIndex(bytes('r'))
    group.settle()
    group.tick('a', 3)
    assert.deepEqual(group.node('a').reads, [])
    group.heal()
    group.tick('a', 2)
    assert.equal(group.node('a').reads[0]!.index, 2)
  })

  it('a leader that removed itself, and whose news was lost, does not block the rest for ever (found by our simulator)', () => {
    // a led the joint step {b} out of {a}, committed its end, and went on appending; b knows nothing of the commit
    const joint = { ...confOf('b'), votersOutgoing: ['a'], learnersNext: ['a'], autoLeave: true }
    const leave: Entry = conf(2, 2, [])
    const base = restoredOf(joint, [], { term: 2 })
    const group = new Group('ab', {
      restored: {
        a: { ...base, entries: [leave, entry(3, 2), entry(4, 2)], hardState: { term: 2, votedFor: 'a', commit: 2 } },
        b: { ...base, entries: [leave], hardState: { term: 2, votedFor: 'a', commit: 1 } }
      }
    })
    group.settle()
    assert.deepEqual(group.node('a').status.conf, confOf('b', 'a'))
    group.tick('b', 4 * ELECTION_TICKS)
    assert.equal(group.node('b').status.role, 'leader')
    group.propose('b', 'x')
    assert.deepEqual(group.node('a').data.at(-1), 'x')
  })

  it('the last voter cannot be removed, and the group left without any (found by our simulator)', () => {
    const group = new Group('a')
    group.elect('a')
    assert.equal(group.change('a', [{ type: 'remove', id: 'a' }])!.dropped, 'confInvalid')
  })
})
