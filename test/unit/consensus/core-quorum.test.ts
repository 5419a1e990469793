import assert from 'node:assert/strict'
import { jointIndex, jointVote, majority, majorityIndex, majorityVote } from '../../../src/consensus/quorum.ts'

describe('quorum (Raft §5.2, §5.3, §6)', () => {
  for (const [count, needed] of [[1, 1], [2, 2], [3, 2], [4, 3], [5, 3], [6, 4], [7, 4]] as const) {
    it(`needs ${needed} of ${count}`, () => assert.equal(majority(count), needed))
  }

  const indexes: Array<[string, number[], number]> = [
    ['nobody', [], Infinity],
    ['one', [7], 7],
    ['two: the lower', [7, 3], 3],
    ['three: the middle', [1, 9, 5], 5],
    ['three of which one is silent', [0, 9, 5], 5],
    ['four: the third highest', [4, 3, 2, 1], 2],
    ['five: the third highest', [1, 2, 3, 4, 5], 3],
    ['numbers are compared as numbers', [10, 9, 100], 10]
  ]
  for (const [name, acknowledged, expected] of indexes) {
    it(`commits what a majority has: ${name}`, () => {
      const ids = acknowledged.map((_, i) => `n${i}`)
      assert.equal(majorityIndex(ids, id => acknowledged[Number(id.slice(1))]!), expected)
    })
  }

  // + granted, - refused, ? silent
  const votes: Array<[string, string]> = [
    ['', 'won'], ['+', 'won'], ['-', 'lost'], ['?', 'pending'], ['+?', 'pending'], ['+-', 'lost'], ['++', 'won'],
    ['++?', 'won'], ['+-?', 'pending'], ['--?', 'lost'], ['+-+', 'won'], ['++--', 'lost'], ['++-?', 'pending'], ['++???', 'pending'], ['+++??', 'won'], ['---??', 'lost']
  ]
  for (const [answers, expected] of votes) {
    it(`says ${expected} for the votes '${answers}'`, () => {
      const ids = [...answers].map((_, i) => `n${i}`)
      assert.equal(majorityVote(ids, id => ({ '+': true, '-': false, '?': undefined })[answers[Number(id.slice(1))]!]), expected)
    })
  }

  it('commits in a joint configuration only what both halves have (§6)', () => {
    const match: Record<string, number> = { a: 9, b: 9, c: 2, d: 3, e: 1 }
    assert.equal(jointIndex({ voters: ['a', 'b', 'c'], votersOutgoing: [] }, id => match[id]!), 9)
    assert.equal(jointIndex({ voters: ['a', 'b', 'c'], votersOutgoing: ['c', 'd', 'e'] }, id => match[id]!), 2)
    assert.equal(jointIndex({ voters: ['c', 'd', 'e'], votersOutgoing: ['a', 'b', 'c'] }, id => match[id]!), 2)
  })

  const joint: Array<[string, string, string]> = [
    ['+', '+', 'won'], ['+', '-', 'lost'], ['-', '+', 'lost'], ['+', '?', 'pending'], ['?', '+', 'pending'], ['?', '-', 'lost'], ['-', '?', 'lost'], ['+', '', 'won'], ['', '-', 'lost']
  ]
  for (const [incoming, outgoing, expected] of joint) {
    it(`says ${expected} where the halves say '${incoming}' and '${outgoing}'`, () => {
      const answer: Record<string, boolean | undefined> = { '+': true, '-': false, '?': undefined }
      const vote = (id: string): boolean | undefined => answer[id === 'in' ? incoming : outgoing]
      assert.equal(jointVote({ voters: incoming === '' ? [] : ['in'], votersOutgoing: outgoing === '' ? [] : ['out'] }, vote), expected)
    })
  }
})
