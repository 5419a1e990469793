import assert from 'node:assert/strict'
import { createRaft, mayPrecedeSync } from '../../../src/consensus/raft.ts'
import { RaftLog } from '../../../src/consensus/log.ts'
import type { Message } from '../../../src/consensus/types.ts'
import { bytes, confOf, configOf, ELECTION_TICKS, entry, Group, message, Node, none, restoredOf } from './core-group.ts'

const three = confOf('abc')
const follower = (terms: number[] = [], hard = {}): Node => new Node('a', restoredOf(three, terms, { term: 5, ...hard }))
const lastOf = (messages: Message[]): Message => messages.at(-1)!
const append = (index: number, logTerm: number, terms: number[], commit = 0, term = 5): Message =>
  message('append', 'b', 'a', { term, index, logTerm, entries: terms.map((t, i) => entry(index + 1 + i, t)), commit })

/** A leader of `voters` that the test answers by hand. @returns it, its empty entry sent */
function leader (voters: string, terms: number[] = [], limits = {}): Node {
  const node = new Node('a', restoredOf(confOf(voters), terms, { term: 5 }), limits)
  node.raft.campaign()
  node.run()
  for (const id of voters.slice(1)) node.step(message('preVoteReply', id, 'a', { term: 6 }))
  for (const id of voters.slice(1)) node.step(message('voteReply', id, 'a', { term: 6 }))
  assert.equal(node.status.role, 'leader')
  return node
}
const accepted = (from: string, index: number, term = 6): Message => message('appendReply', from, 'a', { term, index })

describe('log replication (Raft §5.3)', () => {
  it('commits what a majority holds, and tells the others', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isolate('c')
    const { index, term, dropped } = group.propose('a', 'x')!
    assert.equal(dropped, undefined)
    assert.deepEqual(group.node('a').data, ['x'])
    assert.deepEqual(group.node('b').data, ['x'])
    assert.deepEqual(group.node('c').data, [])
    const committed = group.node('a').applied.at(-1)!
    assert.deepEqual([committed.index, committed.term], [index, term])
    group.heal()
    group.tickAll(2)
    assert.deepEqual(group.node('c').data, ['x'])
  })

  it('commits nothing with a minority', () => {
    const group = new Group('abcde')
    group.elect('a')
    group.isolate('a', 'b')
    group.propose('a', 'x')
    assert.deepEqual(group.node('a').data, [])
  })

  it('a leader counts its own entries only once they are on disk', () => {
    const raft = createRaft(configOf('a'), restoredOf(confOf('a')))
    raft.campaign()
    for (let i = 0; i < 3; i++) raft.advance(raft.ready())
    raft.propose(bytes('x'), none)
    const ready = raft.ready()
    assert.equal(ready.entries.length, 1)
    assert.equal(raft.status().commit, 2)
    raft.advance(ready)
    assert.equal(raft.status().commit, 3)
  })

  it('may send appends while it writes, and answers and votes never', () => {
    const node = leader('abc')
    node.raft.propose(bytes('x'), none)
    node.raft.tick()
    node.step(accepted('b', 2))
    assert.deepEqual(['append', 'heartbeat', 'appendReply', 'heartbeatReply', 'vote', 'voteReply', 'preVoteReply', 'timeoutNow', 'snapshot', 'readIndexReply']
      .filter(type => mayPrecedeSync(message(type as Message['type'], 'a', 'b', {}))), ['append', 'heartbeat'])
  })

  // a follower's log: (index 1, term 1) from a snapshot, then these terms from index 2 on
  const checks: Array<[string, number[], Message, { rejected?: [number, number], log: number[] }]> = [
    ['accepts after a matching entry', [2], append(2, 2, [3]), { log: [2, 3] }],
    ['accepts an empty one', [2], append(2, 2, []), { log: [2] }],
    ['refuses after a gap, hinting at its end', [2], append(7, 4, [4]), { rejected: [2, 2], log: [2] }],
    ['refuses after an entry of another term, hinting below the later terms', [2, 3, 3], append(4, 2, [4]), { rejected: [2, 2], log: [2, 3, 3] }],
    ['hints at what is committed where nothing else can match', [3, 3], append(3, 1, [4]), { rejected: [1, 1], log: [3, 3] }],
    ['drops what conflicts, and all after it', [2, 3, 3, 3], append(2, 2, [4]), { log: [2, 4] }],
    ['keeps what matches beyond a shorter, older append', [2, 3, 3], append(1, 1, [2]), { log: [2, 3, 3] }],
    ['takes the missing part of an overlapping append', [2, 3], append(1, 1, [2, 3, 3, 4]), { log: [2, 3, 3, 4] }]
  ]
  for (const [name, terms, incoming, expected] of checks) {
    it(`a follower ${name}`, () => {
      const node = follower(terms)
      const answer = lastOf(node.step(incoming))
      assert.equal(answer.reject, expected.rejected !== undefined)
      if (expected.rejected !== undefined) assert.deepEqual([answer.rejectHint, answer.logTerm], expected.rejected)
      else assert.equal(answer.index, incoming.index + incoming.entries.length)
      assert.equal(node.status.lastIndex, expected.log.length + 1)
      assert.equal(node.step(append(node.status.lastIndex, expected.log.at(-1)!, []))[0]!.reject, false)
    })
  }

  it('a follower commits no further than what it knows to match', () => {
    const node = follower([2, 2, 2])
    node.step(append(2, 2, [], 4))
    assert.equal(node.status.commit, 2)
    node.step(append(2, 2, [2], 9))
    assert.equal(node.status.commit, 3)
  })

  it('a follower answers an append behind its commit index with that index', () => {
    const node = follower([2, 2, 2], { commit: 4 })
    assert.equal(lastOf(node.step(append(2, 1, [1]))).index, 4)
  })

  it('a follower refuses what would replace a committed entry, and stays as it is', () => {
    const node = follower([2, 2, 2], { commit: 4 })
    const verdict = node.raft.step(append(4, 2, [3], 9))
    assert.equal(verdict.verdict, 'accept')
    const other = follower([2, 2, 2], { commit: 3 })
    other.raft.step(append(3, 2, [3]))
    assert.equal(other.status.lastIndex, 4)
    assert.equal(other.status.commit, 3)
    const heartbeat = other.raft.step(message('heartbeat', 'b', 'a', { term: 5, commit: 99 }))
    assert.equal(heartbeat.verdict === 'reject' && heartbeat.code, 'RAFT_COMMIT_BEYOND_LOG')
  })

  it('an entry that was replaced while it was written is written again', () => {
    const { raft } = follower()
    raft.step(append(1, 1, [2, 2, 2]))
    const first = raft.ready()
    raft.step(append(2, 2, [4, 4], 0))
    raft.advance(first)
    const second = raft.ready()
    assert.deepEqual(second.entries.map(({ index, term }) => [index, term]), [[3, 4], [4, 4]])
    assert.equal(second.mustSync, true)
    raft.advance(second)
    assert.equal(raft.hasReady(), false)
  })

  it('what was dropped from the log does not count as on disk when the node leads later', () => {
    const node = new Node('a', restoredOf(confOf('ab'), [2, 2, 2, 2], { term: 5 }))
    node.step(append(1, 1, [4]))
    assert.equal(node.status.lastIndex, 2)
    node.raft.reportUnreachable('b')
    node.raft.campaign()
    node.run()
    node.step(message('preVoteReply', 'b', 'a', { term: 6 }))
    node.raft.step(message('voteReply', 'b', 'a', { term: 6 }))
    assert.equal(node.status.role, 'leader')
    assert.equal(node.status.peers[0]!.match, 2)
  })

  it('goes back over a whole term of a follower in one step', () => {
    const node = leader('ab', Array.from({ length: 20 }, () => 5))
    // the follower's entries from 2 on are of term 3
    const next = lastOf(node.step(message('appendReply', 'b', 'a', { term: 6, index: 21, reject: true, rejectHint: 18, logTerm: 3 })))
    assert.equal(next.index, 1)
  })

  it('an answer of an earlier term counts for nothing (§5.1)', () => {
    const node = leader('abc', [5, 5, 5])
    node.step(accepted('b', 4, 5))
    assert.equal(node.status.peers[1]!.match, 0)
  })

  it('ignores refusals that are late', () => {
    const node = leader('ab', [5, 5, 5])
    node.step(accepted('b', 4))
    assert.deepEqual(node.step(message('appendReply', 'b', 'a', { term: 6, index: 3, reject: true, rejectHint: 1, logTerm: 1 })), [])
    assert.equal(node.status.peers[1]!.match, 4)
  })

  it('refuses an answer about an index that it never sent', () => {
    const node = leader('ab')
    assert.equal(node.raft.step(accepted('b', 99)).verdict, 'reject')
    assert.equal(node.status.commit, 1)
  })

  it('repairs a lost append after the next heartbeat', () => {
    const group = new Group('abc')
    group.elect('a')
    group.isLost = ({ type, to }) => type === 'append' && to === 'b'
    for (const data of 'xyz') group.propose('a', data)
    group.heal()
    group.tick('a')
    assert.deepEqual(group.node('b').data, ['x', 'y', 'z'])
  })
})

describe('commitment (Raft §5.4.2)', () => {
  it('does not commit entries of an earlier term by counting (figure 8)', () => {
    const node = leader('abc', [2, 4])
    node.step(accepted('b', 3))
    assert.equal(node.status.commit, 1, 'both earlier entries are on a majority')
    node.step(accepted('b', 4))
    assert.equal(node.status.commit, 4)
  })

  it('appends an empty entry at the start of a term, so that what came before gets committed (§8)', () => {
    const node = leader('abc', [2, 4])
    assert.equal(node.status.lastIndex, 4)
    node.step(accepted('c', 4))
    assert.deepEqual(node.applied.map(({ kind }) => kind), ['normal', 'normal', 'empty'])
  })
})

describe('flow control (thesis §10.2)', () => {
  const big = (count: number): Uint8Array => new Uint8Array(count)

  it('sends one append at a time until it knows where the logs meet', () => {
    const node = leader('ab')
    for (let i = 0; i < 5; i++) node.raft.propose(big(1), none)
    assert.deepEqual(node.run(), [])
    assert.equal(node.status.peers[1]!.state, 'probe')
    const next = node.step(accepted('b', 2))
    assert.equal(next.length, 1)
    assert.equal(next[0]!.entries.length, 5)
    assert.equal(node.status.peers[1]!.state, 'replicate')
  })

  it('gathers the proposals between two readies into one append', () => {
    const node = leader('ab')
    node.step(accepted('b', 2))
    for (let i = 0; i < 64; i++) node.raft.propose(big(1), none)
    assert.deepEqual(node.run().map(({ entries }) => entries.length), [64])
  })

  it('pipelines up to the limits in messages, bytes per message, and bytes in flight', () => {
    const node = leader('ab', [], { maxInflightMessages: 3, maxAppendBytes: 200 })
    node.step(accepted('b', 2))
    for (let i = 0; i < 10; i++) node.raft.propose(big(76), none)
    assert.deepEqual(node.run().map(({ entries }) => entries.length), [2, 2, 2])
    assert.deepEqual(node.step(accepted('b', 4)).filter(({ entries }) => entries.length > 0).map(({ entries }) => entries.length), [2])
    const bounded = leader('ab', [], { maxInflightBytes: 250, maxAppendBytes: 100 })
    bounded.step(accepted('b', 2))
    for (let i = 0; i < 10; i++) bounded.raft.propose(big(76), none)
    assert.deepEqual(bounded.run().map(({ entries }) => entries.length), [1, 1, 1])
    assert.equal(bounded.status.peers[1]!.inflightBytes, 300)
  })

  it('sends an entry larger than an append may be, alone', () => {
    const node = leader('ab', [], { maxAppendBytes: 10 })
    node.step(accepted('b', 2))
    node.raft.propose(big(500), none)
    node.raft.propose(big(500), none)
    assert.deepEqual(node.run().map(({ entries }) => entries.length), [1, 1])
  })

  it('probes again when a connection is reported lost', () => {
    const node = leader('ab')
    node.step(accepted('b', 2))
    node.raft.propose(big(1), none)
    node.run()
    node.raft.reportUnreachable('b')
    assert.equal(node.status.peers[1]!.state, 'probe')
    assert.equal(node.run()[0]!.index, 2)
  })

  it('bounds the bytes that are not committed, but always takes one', () => {
    const node = leader('ab', [], { maxUncommittedBytes: 100 })
    node.step(accepted('b', 2))
    const results = [400, 1, 1].map(size => {
      node.raft.propose(big(size), bytes(`${size}`))
      node.run()
      return node.proposals.at(-1)!.dropped
    })
    assert.deepEqual(results, [undefined, 'quota', 'quota'])
    node.step(accepted('b', 3))
    assert.equal(node.status.uncommittedBytes, 0)
    node.raft.propose(big(1), none)
    node.run()
    assert.equal(node.proposals.at(-1)!.dropped, undefined)
  })

  it('hands out committed entries in bounded portions', () => {
    const node = new Node('a', restoredOf(three, [2, 2, 2, 2], { commit: 5 }), { maxApplyBytes: 50 })
    const sizes: number[] = []
    while (node.raft.hasReady()) {
      const ready = node.raft.ready()
      sizes.push(ready.committed.length)
      node.raft.advance(ready)
    }
    assert.deepEqual(sizes, [2, 2])
  })
})

describe('proposals get an answer', () => {
  it('with index and term, or a reason', () => {
    const group = new Group('ab', { others: 'z', limits: { maxEntryBytes: 5 } })
    assert.equal(group.propose('a', 'x')!.dropped, 'noLeader')
    group.elect('a')
    const { dropped, index, term } = group.propose('a', 'x')!
    assert.deepEqual({ dropped, index, term }, { dropped: undefined, index: 3, term: 2 })
    assert.equal(group.propose('a', '123456')!.dropped, 'tooLarge')
    assert.equal(group.propose('b', 'x')!.dropped, 'noLeader')
    assert.equal(group.node('b').status.leader, 'a')
    assert.equal(group.propose('z', 'x')!.dropped, 'notMember')
  })
})

describe('the log in memory', () => {
  const log = (): RaftLog => new RaftLog({ index: 10, term: 2, conf: three }, [11, 12, 13, 14].map(index => entry(index, index < 13 ? 2 : 4, 'data')), 12, 11)

  it('knows terms from the compacted entry on', () => {
    assert.deepEqual([9, 10, 11, 14, 15].map(index => log().term(index)), [undefined, 2, 2, 4, undefined])
  })

  it('finds where a log of another history may agree', () => {
    const cases: Array<[number, number, number, number]> = [[4, 14, 10, 14], [4, 99, 10, 14], [3, 14, 10, 12], [2, 13, 10, 12], [1, 14, 10, 10], [1, 14, 9, 9], [2, 9, 9, 9], [2, 10, 9, 10]]
    for (const [term, index, floor, expected] of cases) assert.equal(log().lastIndexOfTermUpTo(term, index, floor), expected, `${term} ${index} ${floor}`)
  })

  it('gives at least one entry, then as many as fit', () => {
    assert.deepEqual([0, 28, 56, 83, 84, 1000].map(size => log().slice(11, 14, size).length), [1, 1, 2, 2, 3, 4])
  })

  it('never drops what is committed, and never has a gap', () => {
    assert.throws(() => log().append([entry(12, 5)]), /invariant/)
    assert.throws(() => log().append([entry(16, 5)]), /invariant/)
    assert.throws(() => log().commitTo(15), /invariant/)
    assert.throws(() => log().compact(12), /invariant/)
    assert.throws(() => log().slice(10, 12, 100), /compacted/)
  })
})

describe('restart', () => {
  it('hands out what was committed and not applied', () => {
    const node = new Node('a', { ...restoredOf(three, [2, 2, 2], { commit: 4 }), applied: 2 })
    node.run()
    assert.deepEqual(node.applied.map(({ index }) => index), [3, 4])
  })

  it('believes what was applied rather than an older commit index', () => {
    const node = new Node('a', { ...restoredOf(three, [2, 2, 2], { commit: 1 }), applied: 4 })
    node.run()
    assert.equal(node.status.commit, 4)
    assert.deepEqual(node.applied, [])
  })

  it('a leader that comes back finds what it had and goes on', () => {
    const group = new Group('abc')
    group.elect('a')
    group.propose('a', 'x')
    group.nodes.set('a', new Node('a', restoredOf(three, [2, 2], { term: 2, votedFor: 'a' })))
    group.tick('b', 2 * ELECTION_TICKS)
    assert.equal(group.node('b').status.role, 'leader')
    assert.equal(group.node('a').status.commit, 4)
  })
})
