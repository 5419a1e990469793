import assert from 'node:assert/strict'
import { Notice } from '../../../protocols/sync/messages.js'
import { electedBy, judgeNotice } from '../../../src/observer/notice.ts'

const head = (leader: string, term: number) => ({ term, leader, commitIndex: 9, voters: [leader] })
const entry = { index: 9, term: 3, data: new Uint8Array() }

describe('who leads, by the word of voters', () => {
  const says = (leader: string, term: number, commitIndex = 9) => ({ term, leader, commitIndex, voters: ['A', 'B', 'C'] })
  const table: Array<[what: string, heads: Array<ReturnType<typeof says>>, elected: string | undefined]> = [
    ['is nobody where nobody answers', [], undefined],
    ['is the one that all name', [says('A', 3), says('A', 3), says('A', 3)], 'A 3'],
    ['is not the one that names itself alone, in whatever term', [says('EVIL', 2 ** 40), says('A', 3), says('A', 3)], 'A 3'],
    ['is nobody where the votes are even', [says('EVIL', 9), says('A', 3)], undefined],
    ['is nobody where most know of none', [says('A', 3), says('', 4), says('', 4)], undefined],
    ['is not mixed from two terms of one leader', [says('A', 3), says('A', 4), says('B', 4)], undefined]
  ]
  for (const [what, heads, elected] of table) {
    it(what, () => {
      const head = electedBy(heads)
      assert.equal(head === undefined ? undefined : `${head.leader} ${head.term}`, elected)
    })
  }
  it('comes with the newest commit index that it was given', () => { assert.equal(electedBy([says('A', 3, 5), says('A', 3, 8)])?.commitIndex, 8) })
})

describe('a gossiped notice', () => {
  const table: Array<{ says: string, notice: Parameters<typeof Notice.encode>[0] | Uint8Array, author: string, term: number, known: number, code: string }> = [
    { says: 'of the leader it names is accepted', notice: { head: head('L', 3), entries: [entry] }, author: 'L', term: 3, known: 3, code: 'accept' },
    { says: 'of a newer leader is accepted', notice: { head: head('M', 4), entries: [entry] }, author: 'M', term: 4, known: 3, code: 'accept' },
    { says: 'of a leader whose term is over is ignored', notice: { head: head('L', 3), entries: [entry] }, author: 'L', term: 3, known: 4, code: 'STALE_TERM' },
    { says: 'with entries of somebody else than its leader is rejected', notice: { head: head('L', 3), entries: [entry] }, author: 'P', term: 3, known: 3, code: 'NOT_A_LEADER' },
    { says: 'with entries and no head is rejected', notice: { entries: [entry] }, author: 'P', term: 3, known: 3, code: 'NOT_A_LEADER' },
    { says: 'with another term than its envelope is rejected', notice: { head: head('L', 5) }, author: 'L', term: 3, known: 3, code: 'TERM_MISMATCH' },
    { says: 'with a participant\'s receipts is accepted, whatever term it believes in', notice: { head: head('L', 2), receipts: new Uint8Array([1]) }, author: 'P', term: 2, known: 4, code: 'accept' },
    { says: 'that does not decode is rejected', notice: new Uint8Array([0xff, 0xff, 0xff]), author: 'L', term: 3, known: 3, code: 'NOTICE_UNDECODABLE' },
    { says: 'with more entries than any leader sends is rejected', notice: { head: head('L', 3), entries: Array.from({ length: 8193 }, () => entry) }, author: 'L', term: 3, known: 3, code: 'NOTICE_UNDECODABLE' }
  ]
  for (const { says, notice, author, term, known, code } of table) {
    it(says, () => {
      const verdict = judgeNotice(notice instanceof Uint8Array ? notice : Notice.encode(notice), { author, term }, known)
      assert.equal(verdict.verdict === 'accept' ? 'accept' : verdict.code, code)
    })
  }
})
