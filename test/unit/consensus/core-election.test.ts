import assert from 'node:assert/strict'
import { createRaft } from '../../../src/consensus/raft.ts'
import type { Message } from '../../../src/consensus/types.ts'
import { confOf, configOf, ELECTION_TICKS, Group, message, Node, none, restoredOf } from './core-group.ts'

const three = confOf('abc')
/** A follower in term 5 that has heard nobody. */
const follower = (terms: number[] = [], hard = {}): Node => new Node('a', restoredOf(three, terms, { term: 5, ...hard }))
const reply = (messages: Message[]): Message => {
  assert.equal(messages.length, 1)
  return messages[0]!
}

describe('terms (Raft §5.1)', () => {
  it('starts as a follower in the stored term, without a leader', () => {
    const { role, term, leader } = follower().status
    assert.deepEqual({ role, term, leader }, { role: 'follower', term: 5, leader: '' })
  })

  it('takes over a later term and follows', () => {
    const group = new Group('abc')
    group.elect('a')
    const { term } = group.node('a').status
    group.node('a').step(message('appendReply', 'b', 'a', { term: term + 3, reject: true }))
    assert.equal(group.node('a').status.role, 'follower')
    assert.equal(group.node('a').status.term, term + 3)
  })

  it('answers an append of an earlier term with its own, and does not follow it', () => {
    const node = follower()
    const answer = reply(node.step(message('append', 'b', 'a', { term: 4, index: 1, logTerm: 1 })))
    assert.equal(answer.term, 5)
    assert.equal(answer.reject, true)
    assert.equal(node.status.leader, '')
  })

  it('persists a new term before it answers in it', () => {
    const node = follower()
    node.raft.step(message('vote', 'b', 'a', { term: 6, index: 1, logTerm: 1 }))
    const ready = node.raft.ready()
    assert.deepEqual(ready.hardState, { term: 6, votedFor: 'b', commit: 1 })
    assert.equal(ready.mustSync, true)
    assert.equal(ready.messages[0]!.type, 'voteReply')
  })
})

describe('elections (Raft §5.2)', () => {
  it('campaigns after a random time in [timeout, 2 × timeout) without a leader', () => {
    for (const [random, ticks] of [[0, ELECTION_TICKS], [0.5, 1.5 * ELECTION_TICKS], [0.999999, 2 * ELECTION_TICKS - 1]] as const) {
      const node = new Node('a', restoredOf(three), { random: () => random })
      assert.equal(node.tick(ticks - 1).length, 0)
      assert.deepEqual(node.tick().map(({ type, to }) => `${type} ${to}`), ['preVote b', 'preVote c'])
    }
  })

  it('does not campaign while it hears a leader', () => {
    const node = follower()
    for (let i = 0; i < 10; i++) {
      node.tick(ELECTION_TICKS - 1)
      node.step(message('heartbeat', 'b', 'a', { term: 5 }))
    }
    assert.equal(node.status.role, 'follower')
    assert.equal(node.status.leader, 'b')
  })

  it('increments its term and votes for itself, then asks all others', () => {
    const node = follower()
    node.tick(ELECTION_TICKS)
    const requests = node.step(message('preVoteReply', 'b', 'a', { term: 6 }))
    assert.deepEqual(requests.map(({ type, to, term }) => `${type} ${to} ${term}`), ['vote b 6', 'vote c 6'])
    assert.deepEqual(node.hardStates.at(-1), { term: 6, votedFor: 'a', commit: 1 })
  })

  it('leads with a majority of votes, and says so to all at once', () => {
    const node = follower()
    node.tick(ELECTION_TICKS)
    node.step(message('preVoteReply', 'b', 'a', { term: 6 }))
    const appends = node.step(message('voteReply', 'c', 'a', { term: 6 }))
    assert.equal(node.status.role, 'leader')
    assert.deepEqual(appends.map(({ type, to, entries }) => `${type} ${to} ${entries[0]!.kind}`), ['append b empty', 'append c empty'])
  })

  it('counts its own vote only once it is on disk', () => {
    const raft = createRaft(configOf('a'), restoredOf(confOf('a')))
    raft.campaign()
    const ready = raft.ready()
    assert.equal(ready.hardState!.votedFor, 'a')
    assert.equal(raft.status().role, 'candidate')
    raft.advance(ready)
    assert.equal(raft.status().role, 'leader')
  })

  it('does not count it for the end of an earlier write', () => {
    const raft = createRaft(configOf('a'), restoredOf(confOf('a')))
    raft.readIndex(none)
    const earlier = raft.ready()
    raft.campaign()
    raft.advance(earlier)
    assert.equal(raft.status().role, 'candidate')
    raft.advance(raft.ready())
    assert.equal(raft.status().role, 'leader')
  })

  it('gives up when a majority refuses', () => {
    const node = follower()
    node.tick(ELECTION_TICKS)
    node.step(message('preVoteReply', 'b', 'a', { term: 6 }))
    node.step(message('voteReply', 'b', 'a', { term: 6, reject: true }))
    assert.equal(node.status.role, 'candidate')
    node.step(message('voteReply', 'c', 'a', { term: 6, reject: true }))
    assert.equal(node.status.role, 'follower')
    assert.equal(node.status.votedFor, 'a')
  })

  it('counts one vote a voter, and none of strangers', () => {
    const node = new Node('a', restoredOf(confOf('abcde'), [], { term: 5 }))
    node.tick(ELECTION_TICKS)
    for (const id of ['b', 'c']) node.step(message('preVoteReply', id, 'a', { term: 6 }))
    assert.equal(node.status.role, 'candidate')
    for (const id of ['b', 'b', 'b', 'x', 'y']) node.step(message('voteReply', id, 'a', { term: 6 }))
    assert.equal(node.status.role, 'candidate')
    node.step(message('voteReply', 'e', 'a', { term: 6 }))
    assert.equal(node.status.role, 'leader')
  })

  it('grants at most one vote per term, and the same one again', () => {
    const node = follower()
    const ask = (from: string, term: number): boolean => !reply(node.step(message('vote', from, 'a', { term, index: 1, logTerm: 1 }))).reject
    assert.equal(ask('b', 6), true)
    assert.equal(ask('c', 6), false)
    assert.equal(ask('b', 6), true)
    assert.equal(ask('c', 7), true)
    assert.equal(ask('b', 7), false)
  })

  it('remembers its vote over a restart', () => {
    const node = new Node('a', restoredOf(three, [], { term: 6, votedFor: 'b' }))
    assert.equal(reply(node.step(message('vote', 'c', 'a', { term: 6, index: 1, logTerm: 1 }))).reject, true)
    assert.equal(reply(node.step(message('vote', 'b', 'a', { term: 6, index: 1, logTerm: 1 }))).reject, false)
  })

  it('follows a leader of its term when it is candidate', () => {
    const node = follower()
    node.tick(ELECTION_TICKS)
    node.step(message('preVoteReply', 'b', 'a', { term: 6 }))
    node.step(message('heartbeat', 'c', 'a', { term: 6 }))
    assert.equal(node.status.role, 'follower')
    assert.equal(node.status.leader, 'c')
  })

  it('starts anew after a split vote, in a later term', () => {
    const node = follower()
    node.tick(ELECTION_TICKS)
    node.step(message('preVoteReply', 'b', 'a', { term: 6 }))
    node.tick(ELECTION_TICKS)
    assert.equal(node.status.role, 'preCandidate')
    node.step(message('preVoteReply', 'b', 'a', { term: 7 }))
    assert.equal(node.status.term, 7)
  })

  it('asks again those who did not answer', () => {
    const node = new Node('a', restoredOf(three), { heartbeatTicks: 3, random: () => 0.9 })
    node.raft.campaign()
    assert.equal(node.run().length, 2)
    assert.equal(node.tick(2).length, 0)
    assert.deepEqual(node.tick().map(({ type, to }) => `${type} ${to}`), ['preVote b', 'preVote c'])
  })

  it('elects one of three, also when one is down', () => {
    const group = new Group('abc')
    group.isolate('c')
    group.tick('a', ELECTION_TICKS)
    assert.equal(group.node('a').status.role, 'leader')
    assert.equal(group.node('b').status.leader, 'a')
  })
})

describe('election restriction (Raft §5.4.1)', () => {
  // the voter's log ends at index 4 in term 3
  const cases: Array<[string, number, number, boolean]> = [
    ['a later last term', 2, 4, true], ['the same log', 4, 3, true], ['the same term and a longer log', 5, 3, true],
    ['the same term and a shorter log', 3, 3, false], ['an earlier last term, however long', 9, 2, false]
  ]
  for (const [name, index, logTerm, granted] of cases) {
    for (const type of ['vote', 'preVote'] as const) {
      it(`${granted ? 'grants' : 'refuses'} a ${type} to ${name}`, () => {
        const answer = reply(follower([1, 2, 3]).step(message(type, 'b', 'a', { term: 6, index, logTerm })))
        assert.equal(answer.reject, !granted)
      })
    }
  }
})

describe('pre-vote (thesis §9.6)', () => {
  it('raises no term while nobody would vote', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('c')
    const { term } = group.node('c').status
    group.tick('c', 20 * ELECTION_TICKS)
    assert.equal(group.node('c').status.term, term)
    group.heal()
    group.tickAll(2)
    assert.equal(group.node('a').status.role, 'leader')
    assert.equal(group.node('c').status.leader, 'a')
    assert.equal(group.node('a').status.term, term)
  })

  it('changes nothing at the one who is asked: no term, no vote, no timer', () => {
    const node = follower()
    node.tick(ELECTION_TICKS - 1)
    assert.equal(reply(node.step(message('preVote', 'b', 'a', { term: 6, index: 1, logTerm: 1 }))).reject, false)
    assert.equal(reply(node.step(message('preVote', 'c', 'a', { term: 6, index: 1, logTerm: 1 }))).reject, false)
    assert.deepEqual(node.hardStates, [])
    assert.equal(node.tick()[0]!.type, 'preVote')
  })

  it('answers a grant in the term asked for, and a refusal in its own', () => {
    const node = follower([5])
    assert.equal(reply(node.step(message('preVote', 'b', 'a', { term: 9, index: 9, logTerm: 5 }))).term, 9)
    assert.equal(reply(node.step(message('preVote', 'b', 'a', { term: 9, index: 1, logTerm: 1 }))).term, 5)
  })

  it('does not count a grant for another term', () => {
    const node = follower()
    node.tick(ELECTION_TICKS)
    node.step(message('preVoteReply', 'b', 'a', { term: 7 }))
    node.step(message('preVoteReply', 'c', 'a', { term: 5 }))
    assert.equal(node.status.role, 'preCandidate')
  })
})

describe('leases (Raft §6, thesis §4.2.3)', () => {
  for (const type of ['vote', 'preVote'] as const) {
    it(`ignores a ${type} of a later term within an election timeout of hearing the leader`, () => {
      const node = follower()
      node.step(message('heartbeat', 'b', 'a', { term: 5 }))
      node.tick(ELECTION_TICKS - 1)
      assert.deepEqual(node.step(message(type, 'c', 'a', { term: 9, index: 9, logTerm: 5 })), [])
      assert.equal(node.status.term, 5)
    })

    it(`answers a ${type} once the timeout has passed`, () => {
      const node = new Node('a', restoredOf(three, [], { term: 5 }), { random: () => 0.9 })
      node.step(message('heartbeat', 'b', 'a', { term: 5 }))
      node.tick(ELECTION_TICKS)
      assert.equal(reply(node.step(message(type, 'c', 'a', { term: 9, index: 9, logTerm: 5 }))).reject, false)
    })

    it(`answers a ${type} at once when the leader is reported unreachable`, () => {
      const node = follower()
      node.step(message('heartbeat', 'b', 'a', { term: 5 }))
      node.raft.reportUnreachable('c')
      assert.deepEqual(node.step(message(type, 'c', 'a', { term: 9, index: 9, logTerm: 5 })), [])
      node.raft.reportUnreachable('b')
      assert.equal(reply(node.step(message(type, 'c', 'a', { term: 9, index: 9, logTerm: 5 }))).reject, false)
    })
  }

  it('holds for a leader itself', () => {
    const group = new Group('abc')
    group.elect('a')
    assert.deepEqual(group.node('a').step(message('vote', 'c', 'a', { term: 9, index: 9, logTerm: 5 })), [])
    assert.equal(group.node('a').status.role, 'leader')
  })

  it('is taken up again at the next sign of the leader', () => {
    const group = new Group('abc')
    group.elect('a')
    group.node('b').raft.reportUnreachable('a')
    group.settle()
    assert.equal(group.node('b').status.leader, '')
    group.tick('a')
    assert.equal(group.node('b').status.leader, 'a')
  })

  it('lets a closed connection replace the leader without waiting for a timeout', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('a')
    group.node('b').raft.reportUnreachable('a')
    group.node('b').raft.campaign()
    group.settle()
    assert.equal(group.node('b').status.role, 'preCandidate')
    group.node('c').raft.reportUnreachable('a')
    group.node('c').raft.campaign()
    group.settle()
    assert.equal(group.node('c').status.role, 'leader')
    assert.equal(group.node('b').status.leader, 'c')
  })

  it('keeps a live leader where one follower alone lost its connection', () => {
    const group = new Group('abc')
    group.elect('a')
    const { term } = group.node('a').status
    group.node('b').raft.reportUnreachable('a')
    group.node('b').raft.campaign()
    group.settle()
    group.tickAll()
    assert.equal(group.node('a').status.role, 'leader')
    assert.equal(group.node('b').status.leader, 'a')
    assert.equal(group.node('a').status.term, term)
  })
})

describe('check-quorum (thesis §6.2)', () => {
  it('makes a leader step down that hears no majority for an election timeout', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('a')
    group.tick('a', 2 * ELECTION_TICKS)
    assert.notEqual(group.node('a').status.role, 'leader')
    assert.equal(group.node('a').raft.status().leader, '')
  })

  it('keeps a leader that hears a majority, and one that is alone in its group', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('c')
    group.tick('a', 5 * ELECTION_TICKS)
    assert.equal(group.node('a').status.role, 'leader')
    const alone = new Group('a')
    alone.elect('a')
    alone.tick('a', 5 * ELECTION_TICKS)
    assert.equal(alone.node('a').status.role, 'leader')
  })

  it('does not count learners', () => {
    const group = new Group('ab', { learners: 'cd' })
    group.elect('a')
    group.isolate('b')
    group.tick('a', 2 * ELECTION_TICKS)
    assert.notEqual(group.node('a').status.role, 'leader')
  })
})

describe('leader transfer (thesis §3.10)', () => {
  it('hands over at once to a voter that is up to date', () => {
    const group = new Group('abc')
    group.elect('a')
    group.propose('a', 'x')
    group.node('a').raft.transferLeadership('b')
    group.settle()
    assert.equal(group.node('b').status.role, 'leader')
    assert.equal(group.node('a').status.leader, 'b')
  })

  it('brings the other up to date first, and takes no proposals meanwhile', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('b')
    group.propose('a', 'x')
    group.node('a').raft.transferLeadership('b')
    group.settle()
    assert.equal(group.node('a').status.transferee, 'b')
    assert.equal(group.propose('a', 'y')!.dropped, 'transferring')
    assert.equal(group.sent.some(({ type }) => type === 'timeoutNow'), false)
    group.heal()
    group.tick('a', 1)
    assert.equal(group.node('b').status.role, 'leader')
    assert.deepEqual(group.node('b').data, ['x'])
  })

  it('is given up after an election timeout', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('b')
    group.node('a').raft.transferLeadership('b')
    group.settle()
    group.tick('a', ELECTION_TICKS)
    assert.equal(group.node('a').status.transferee, '')
    assert.equal(group.propose('a', 'x')!.dropped, undefined)
  })

  it('has no effect towards learners, strangers, itself, or from a follower', () => {
    const group = new Group('ab', { learners: 'c' })
    group.elect('a')
    for (const id of ['a', 'c', 'z', '']) group.node('a').raft.transferLeadership(id)
    group.node('b').raft.transferLeadership('b')
    group.settle()
    assert.equal(group.node('a').status.role, 'leader')
    assert.equal(group.node('a').status.transferee, '')
  })

  it('goes past leases, and needs no pre-vote', () => {
    const group = new Group('abc')
    group.elect('a')
    group.sent.length = 0
    group.node('a').raft.transferLeadership('c')
    group.settle()
    assert.equal(group.node('c').status.role, 'leader')
    assert.equal(group.sent.some(({ type }) => type === 'preVote'), false)
  })

  it('a learner that is told to campaign does not', () => {
    const group = new Group('ab', { learners: 'c' })
    group.elect('a')
    assert.deepEqual(group.node('c').step(message('timeoutNow', 'a', 'c', { term: group.node('a').status.term })), [])
  })
})

describe('what a caller must not do', () => {
  it('is stopped at once', () => {
    const raft = createRaft(configOf('a'), restoredOf(confOf('a')))
    raft.campaign()
    const ready = raft.ready()
    assert.throws(() => raft.ready(), /outstanding/)
    assert.equal(raft.hasReady(), false)
    raft.advance(ready)
    assert.throws(() => raft.advance(ready), /outstanding/)
    assert.throws(() => createRaft(configOf('a', { electionTicks: 1, heartbeatTicks: 1 }), restoredOf(three)), /heartbeatTicks/)
    assert.throws(() => createRaft(configOf('a', { maxAppendBytes: 0 }), restoredOf(three)), /maxAppendBytes/)
    assert.throws(() => createRaft(configOf('a'), { ...restoredOf(three, [1, 1]), applied: 4 }), /applied/)
    assert.throws(() => createRaft(configOf('a'), restoredOf(three, [3], { term: 2 })), /stored term/)
    assert.throws(() => createRaft(configOf('a'), restoredOf(three, [3, 2])), /stored entry/)
  })

  it('does not matter to what peers send: it is refused and changes nothing', () => {
    const node = follower([1, 1])
    const before = node.status
    const hostile: Message[] = [
      message('append', 'b', 'z', { term: 5 }),
      message('append', 'a', 'a', { term: 5 }),
      message('append', '', 'a', { term: 5 }),
      message('append', 'b', 'a', { term: 0 }),
      message('append', 'b', 'a', { term: 5.5 }),
      message('append', 'b', 'a', { term: NaN }),
      message('append', 'b', 'a', { term: -1 }),
      message('append', 'b', 'a', { term: 2 ** 60 }),
      message('append', 'b', 'a', { term: 6, index: 1, logTerm: 1, entries: [{ index: 3, term: 6, kind: 'normal', data: none }] }),
      message('append', 'b', 'a', { term: 6, index: 1, logTerm: 3, entries: [{ index: 2, term: 2, kind: 'normal', data: none }] }),
      message('append', 'b', 'a', { term: 6, index: 1, logTerm: 1, entries: [{ index: 2, term: 7, kind: 'normal', data: none }] }),
      message('append', 'b', 'a', { term: 6, index: 1, logTerm: 1, entries: [{ index: 2, term: NaN, kind: 'normal', data: none }] }),
      message('vote', 'b', 'a', { term: 6, entries: [{ index: 1, term: 1, kind: 'normal', data: none }] }),
      message('snapshot', 'b', 'a', { term: 6 }),
      message('append', 'b', 'a', { term: 6, snapshot: { index: 9, term: 5, conf: three } }),
      message('snapshot', 'b', 'a', { term: 6, snapshot: { index: 9, term: 7, conf: three } }),
      message('snapshot', 'b', 'a', { term: 6, snapshot: { index: NaN, term: 5, conf: three } })
    ]
    for (const item of hostile) assert.equal(node.raft.step(item).verdict, 'reject', JSON.stringify(item))
    assert.deepEqual(node.status, before)
    assert.equal(node.raft.hasReady(), false)
  })

  it('two leaders in a term are refused', () => {
    const node = follower()
    node.step(message('heartbeat', 'b', 'a', { term: 5 }))
    const verdict = node.raft.step(message('heartbeat', 'c', 'a', { term: 5 }))
    assert.equal(verdict.verdict === 'reject' && verdict.code, 'RAFT_TWO_LEADERS')
  })
})
