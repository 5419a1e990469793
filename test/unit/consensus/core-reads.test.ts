import assert from 'node:assert/strict'
import { bytes, ELECTION_TICKS, Group, text } from './core-group.ts'
import type { Node } from './core-group.ts'

const answers = (node: Node): string[] => node.reads.map(({ context, index, dropped }) => `${text(context)} ${dropped ?? index}`)

function ask (group: Group, id: string, context: string): void {
  group.node(id).raft.readIndex(bytes(context))
  group.settle()
}

describe('reads (thesis §6.4)', () => {
  it('are answered with the commit index once a quorum has confirmed the leader', () => {
    const group = new Group('abc')
    group.elect('a')
    group.propose('a', 'x')
    ask(group, 'a', 'r')
    assert.deepEqual(answers(group.node('a')), ['r 3'])
  })

  it('wait while no quorum confirms, and are refused when the leader steps down', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('a')
    ask(group, 'a', 'r')
    assert.deepEqual(answers(group.node('a')), [])
    group.tick('a', 2 * ELECTION_TICKS)
    assert.deepEqual(answers(group.node('a')), ['r noLeader'])
  })

  it('a deposed leader never answers with what it had', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('a')
    group.tick('b', 2 * ELECTION_TICKS)
    group.tick('c', 2 * ELECTION_TICKS)
    const fresh = ['b', 'c'].find(id => group.node(id).status.role === 'leader')!
    group.propose(fresh, 'x')
    ask(group, 'a', 'stale')
    group.heal()
    group.tickAll(2)
    assert.deepEqual(answers(group.node('a')), ['stale noLeader'])
  })

  it('lost heartbeats only delay them', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isLost = ({ type }) => type === 'heartbeat'
    ask(group, 'a', 'r')
    assert.deepEqual(answers(group.node('a')), [])
    group.heal()
    group.tick('a')
    assert.deepEqual(answers(group.node('a')), ['r 2'])
  })

  it('are not confirmed by an answer to an earlier heartbeat', () => {
    const group = new Group('abc')
    group.elect('a')
    ask(group, 'a', 'first')
    const late = group.sent.filter(({ type, to }) => type === 'heartbeatReply' && to === 'a').at(-1)!
    group.isolate('a')
    ask(group, 'a', 'second')
    group.node('a').step(late)
    assert.deepEqual(answers(group.node('a')), ['first 2'])
  })

  it('of a follower go through the leader', () => {
    const group = new Group('abc')
    ask(group, 'b', 'early')
    group.elect('a')
    ask(group, 'b', 'r')
    assert.deepEqual(answers(group.node('b')), ['early noLeader', 'r 2'])
  })

  it('of a learner too, and learners confirm nothing', () => {
    const group = new Group('abc', { learners: 'd' })
    group.elect('a')
    ask(group, 'd', 'r')
    assert.deepEqual(answers(group.node('d')), ['r 2'])
    group.isolate('b', 'c')
    ask(group, 'd', 's')
    assert.deepEqual(answers(group.node('d')), ['r 2'])
  })

  it('of a leader that hears learners only are not answered, however many they are', () => {
    const group = new Group('abc', { learners: 'de' })
    group.elect('a')
    group.isolate('b', 'c')
    ask(group, 'a', 'r')
    assert.deepEqual(answers(group.node('a')), [])
  })

  it('many share one round of heartbeats', () => {
    const group = new Group('abc')
    group.elect('a')
    group.sent.length = 0
    for (let i = 0; i < 50; i++) group.node('a').raft.readIndex(bytes(`${i}`))
    group.settle()
    assert.equal(group.node('a').reads.length, 50)
    assert.equal(group.sent.filter(({ type }) => type === 'heartbeat').length, 2)
  })

  it('are bounded in number', () => {
    const group = new Group('abc', { limits: { maxPendingReads: 2 } })
    group.elect('a')
    group.isolate('a')
    for (const context of 'xyz') ask(group, 'a', context)
    assert.deepEqual(answers(group.node('a')), ['z quota'])
  })
})
