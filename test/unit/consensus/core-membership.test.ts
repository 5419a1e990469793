import assert from 'node:assert/strict'
import type { Entry } from '../../../src/consensus/types.ts'
import { encodeConfChange } from '../../../src/consensus/conf-codec.ts'
import { bytes, confOf, ELECTION_TICKS, Group, message, newcomer, Node, none, restoredOf } from './core-group.ts'

const add = (id: string) => ({ type: 'addVoter' as const, id })
const learn = (id: string) => ({ type: 'addLearner' as const, id })
const remove = (id: string) => ({ type: 'remove' as const, id })

/** `a` leads alone; its log is compacted so that newcomers need a snapshot, which arrives as soon as it is sent. */
function alone (others: string): Group {
  const group = new Group('a', { others })
  group.elect('a')
  return group
}

function confEntry (index: number, term: number, changes: Array<ReturnType<typeof add | typeof learn | typeof remove>>): Entry {
  return { index, term, kind: 'conf', data: encodeConfChange({ transition: 'auto', changes, context: none })! }
}

describe('membership changes (Raft §6, thesis §4)', () => {
  it('a newcomer is a learner first: it gets all, and counts for nothing (thesis §4.2.1)', () => {
    const group = alone('b')
    group.propose('a', 'x')
    group.change('a', [learn('b')])
    group.tick('a', 3)
    assert.deepEqual(group.node('b').status.conf, confOf('a', 'b'))
    assert.deepEqual(group.node('b').data, ['x'])
    group.isolate('b')
    group.propose('a', 'y')
    assert.deepEqual(group.node('a').data, ['x', 'y'])
    group.tick('b', 5 * ELECTION_TICKS)
    assert.equal(group.node('b').status.role, 'follower')
  })

  it('goes from one voter to three in one joint step, which is left by itself', () => {
    const group = alone('bc')
    group.change('a', [learn('b'), learn('c')])
    group.tick('a', 3)
    group.change('a', [add('b'), add('c')])
    group.tick('a', 3)
    for (const id of 'abc') assert.deepEqual(group.node(id).status.conf, confOf('abc'))
    assert.equal(group.node('a').applied.filter(({ kind }) => kind === 'conf').length, 3)
  })

  it('needs both majorities while it is joint', () => {
    const group = new Group('abc', { others: 'de' })
    group.elect('a')
    group.change('a', [add('d'), add('e'), remove('b'), remove('c')], 'explicit')
    group.tick('a', 3)
    assert.deepEqual(group.node('a').status.conf.votersOutgoing, ['a', 'b', 'c'])
    group.isolate('b', 'c')
    group.propose('a', 'new half only')
    assert.deepEqual(group.node('a').data, [])
    group.heal()
    group.tick('a', 3)
    assert.deepEqual(group.node('a').data, ['new half only'])
    group.isolate('d', 'e')
    group.propose('a', 'old half only')
    assert.deepEqual(group.node('a').data, ['new half only'])
  })

  it('an explicit joint configuration is left by an empty change, once', () => {
    const group = new Group('abc')
    group.elect('a')
    group.change('a', [remove('c')], 'explicit')
    assert.equal(group.change('a', [add('c')])!.dropped, 'confInvalid')
    assert.equal(group.change('a', [])!.dropped, undefined)
    assert.deepEqual(group.node('a').status.conf, confOf('ab'))
    assert.equal(group.change('a', [])!.dropped, 'confInvalid')
  })

  it('takes one change at a time', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('a')
    assert.equal(group.change('a', [remove('c')])!.dropped, undefined)
    assert.equal(group.change('a', [remove('b')])!.dropped, 'confPending')
  })

  it('a new leader proposes none before it has applied all that may stand in its log', () => {
    const restored = () => restoredOf(confOf('abc'), [1])
    const group = new Group('abc', { restored: { a: restored(), b: restored(), c: restored() } })
    group.isLost = ({ type }) => type === 'append'
    group.elect('a')
    assert.equal(group.change('a', [remove('c')])!.dropped, 'confPending')
    group.heal()
    group.tick('a', 1)
    assert.equal(group.change('a', [remove('c')])!.dropped, undefined)
  })

  it('refuses a change against the rules', () => {
    const group = alone('b')
    for (const changes of [[remove('a')], [learn('a')], []]) assert.equal(group.change('a', changes)!.dropped, 'confInvalid')
    assert.equal(group.change('b', [add('b')])!.dropped, 'notMember')
  })

  it('is in force once applied, and applied again after a restart', () => {
    const entries = [confEntry(2, 1, [learn('b')]), confEntry(3, 1, [add('b')])]
    const base = restoredOf(confOf('a'))
    const at = (applied: number) => new Node('a', { ...base, entries, applied, hardState: { ...base.hardState, commit: applied } }).status.conf
    assert.deepEqual([1, 2, 3].map(at), [confOf('a'), confOf('a', 'b'), confOf('ab')])
  })

  it('a new member does not cost the leader its quorum before it had time to answer', () => {
    const group = alone('')
    group.isLost = ({ to }) => to === 'z'
    // the check of the quorum comes with the next tick
    group.tick('a', ELECTION_TICKS - 1)
    group.change('a', [add('z')])
    group.tick('a', ELECTION_TICKS)
    assert.equal(group.node('a').status.role, 'leader')
    group.tick('a', 1)
    assert.equal(group.node('a').status.role, 'follower')
  })

  it('a removed leader leads until the change is committed, then steps down (§6)', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('b')
    group.change('a', [remove('a')])
    assert.equal(group.node('a').status.role, 'follower')
    assert.deepEqual(group.node('c').status.conf, confOf('bc'))
    assert.equal(group.propose('a', 'x')!.dropped, 'notMember')
    group.heal()
    group.tick('a', 5 * ELECTION_TICKS)
    assert.equal(group.node('a').status.role, 'follower')
    group.tick('b', ELECTION_TICKS)
    group.tick('c', 2 * ELECTION_TICKS)
    assert.equal(group.node('c').status.role, 'leader')
  })

  it('a removed voter that does not know disturbs nobody', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('c')
    group.change('a', [remove('c')])
    group.heal()
    const { term } = group.node('a').status
    for (let i = 0; i < 5 * ELECTION_TICKS; i++) group.tickAll()
    assert.equal(group.node('a').status.role, 'leader')
    assert.equal(group.node('a').status.term, term)
  })

  it('a demoted voter of a joint change is a learner when it is left', () => {
    const group = new Group('abc', { others: 'd' })
    group.elect('a')
    group.change('a', [learn('c'), add('d')], 'joint')
    group.tick('a', 3)
    assert.deepEqual(group.node('a').status.conf, confOf('abd', 'c'))
  })

  it('needs the caller to apply each change, once', () => {
    const node = new Node('a', restoredOf(confOf('a')))
    node.raft.campaign()
    node.run()
    node.raft.proposeConfChange({ transition: 'auto', changes: [learn('b')], context: none }, none)
    node.raft.advance(node.raft.ready())
    const ready = node.raft.ready()
    assert.equal(ready.committed[0]!.kind, 'conf')
    assert.throws(() => node.raft.advance(ready), /applyConfChange/)
    assert.deepEqual(node.raft.applyConfChange(ready.committed[0]!), confOf('a', 'b'))
    assert.throws(() => node.raft.applyConfChange(ready.committed[0]!), /already/)
    node.raft.advance(ready)
  })

  it('skips bytes that are no change, everywhere alike', () => {
    const base = restoredOf(confOf('ab'), [], { term: 5 })
    const node = new Node('a', base)
    node.step(message('append', 'b', 'a', { term: 5, index: 1, logTerm: 1, commit: 2, entries: [{ index: 2, term: 5, kind: 'conf', data: bytes('?') }] }))
    assert.deepEqual(node.conf, confOf('ab'))
  })
})

describe('snapshots and compaction (Raft §7)', () => {
  /** `a` and `b` have moved on and compacted; `c` was away. */
  function leftBehind (): Group {
    const group = new Group('abc', { limits: { snapshotTicks: 5 } })
    group.elect('a')
    group.isolate('c')
    for (let i = 0; i < 10; i++) group.propose('a', `${i}`)
    const { applied, conf, term } = group.node('a').status
    group.node('a').raft.snapshotted({ index: applied, term, conf })
    group.node('a').raft.compact(applied)
    assert.equal(group.node('a').status.firstIndex, applied + 1)
    return group
  }

  it('a follower too far behind gets a snapshot, then goes on with entries', () => {
    const group = leftBehind()
    group.heal()
    group.tick('a', 2)
    assert.equal(group.node('c').restoredSnapshot!.index, 12)
    assert.deepEqual(group.node('c').status.conf, confOf('abc'))
    group.propose('a', 'after')
    assert.deepEqual(group.node('c').data, ['after'])
    assert.equal(group.node('a').status.peers[2]!.state, 'replicate')
  })

  it('sends nothing to it while the snapshot is under way, and one snapshot only', () => {
    const group = leftBehind()
    group.isLost = ({ type }) => type === 'snapshot'
    group.sent.length = 0
    group.tick('a', 4)
    assert.equal(group.sent.filter(({ type }) => type === 'snapshot').length, 1)
    assert.equal(group.node('a').status.peers[2]!.state, 'snapshot')
    assert.equal(group.sent.some(({ type, to, entries }) => type === 'append' && to === 'c' && entries.length > 0), false)
  })

  it('a failed transfer is tried again after the next heartbeat', () => {
    const group = leftBehind()
    group.isLost = ({ type }) => type === 'snapshot'
    group.tick('a', 2)
    group.heal()
    group.node('a').raft.reportSnapshot('c', false)
    group.tick('a', 2)
    assert.equal(group.node('c').restoredSnapshot!.index, 12)
  })

  it('a report of success is not believed further than the follower confirms', () => {
    const group = leftBehind()
    group.isLost = ({ type }) => type === 'snapshot'
    group.tick('a', 2)
    group.heal()
    group.node('a').raft.reportSnapshot('c', true)
    group.tick('a', 3)
    assert.equal(group.node('c').restoredSnapshot!.index, 12)
    assert.equal(group.node('c').status.commit, 12)
  })

  it('sends none to a follower that is silent', () => {
    const group = leftBehind()
    group.sent.length = 0
    group.tick('a', 8)
    assert.equal(group.sent.some(({ type }) => type === 'snapshot'), false)
  })

  it('a snapshot that brings nothing new is answered and not taken', () => {
    const node = new Node('a', restoredOf(confOf('abc'), [2, 2, 2], { term: 5, commit: 3 }))
    const snapshot = (index: number, term: number) => message('snapshot', 'b', 'a', { term: 5, snapshot: { index, term, conf: confOf('abc') } })
    assert.equal(node.step(snapshot(2, 2)).at(-1)!.index, 3)
    assert.equal(node.step(snapshot(4, 2)).at(-1)!.index, 4)
    assert.equal(node.status.commit, 4)
    assert.equal(node.restoredSnapshot, undefined)
    node.step(snapshot(7, 3))
    assert.equal(node.restoredSnapshot!.index, 7)
    assert.deepEqual([node.status.firstIndex, node.status.lastIndex, node.status.commit, node.status.applied], [8, 7, 7, 7])
  })

  it('one that arrives while a ready is outstanding waits for its end', () => {
    const { raft } = new Node('a', restoredOf(confOf('ab'), [], { term: 5 }))
    raft.step(message('append', 'b', 'a', { term: 5, index: 1, logTerm: 1, commit: 2, entries: [confEntry(2, 5, [learn('c')])] }))
    const ready = raft.ready()
    raft.step(message('snapshot', 'b', 'a', { term: 5, snapshot: { index: 9, term: 5, conf: confOf('b', 'a') } }))
    assert.deepEqual(raft.applyConfChange(ready.committed[0]!), confOf('ab', 'c'))
    raft.advance(ready)
    const next = raft.ready()
    assert.equal(next.snapshot!.index, 9)
    assert.equal(next.mustSync, true)
    assert.deepEqual(raft.status().conf, confOf('b', 'a'))
    raft.advance(next)
    assert.equal(raft.hasReady(), false)
  })

  it('does not campaign before a restored snapshot is on disk', () => {
    const { raft } = newcomer('a')
    raft.step(message('snapshot', 'b', 'a', { term: 5, snapshot: { index: 9, term: 5, conf: confOf('a') } }))
    raft.campaign()
    assert.equal(raft.status().role, 'follower')
    raft.advance(raft.ready())
    raft.campaign()
    assert.equal(raft.status().role, 'candidate')
  })

  it('compacts what is applied and in a snapshot only', () => {
    const node = new Node('a', restoredOf(confOf('a'), [1, 1, 1, 1], { commit: 4 }))
    node.run()
    node.raft.compact(4)
    assert.equal(node.status.firstIndex, 2)
    assert.throws(() => node.raft.snapshotted({ index: 5, term: 1, conf: confOf('a') }), /not applied/)
    node.raft.snapshotted({ index: 3, term: 1, conf: confOf('a') })
    node.raft.compact(99)
    assert.equal(node.status.firstIndex, 4)
    assert.equal(node.raft.committedEntries(3, 1000), undefined)
    assert.deepEqual(node.raft.committedEntries(4, 1000)!.map(({ index }) => index), [4])
    assert.deepEqual(node.raft.committedEntries(5, 1000), [])
  })
})
