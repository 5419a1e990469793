import assert from 'node:assert/strict'
import { Notice } from '../../../protocols/sync/messages.js'
import { judgeNotice } from '../../../src/observer/notice.ts'

const head = (leader: string, term: number) => ({ term, leader, commitIndex: 9, voters: [leader] })
const entry = { index: 9, term: 3, data: new Uint8Array() }

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
