/**
 * What a node thinks of a gossiped notice before it passes it on: pure, on bytes from anybody whose envelope verified.
 * Spec: protocols/sync/README.md.
 */
import { accept, ignore, reject, type Verdict } from '../../keys/verdict.ts'
import { Notice, type Head } from '../../protocols/sync/messages.js'

/** Entries of one notice, and voters in a head. */
export const NOTICE_LIMITS = { entries: 8192, head: { voters: 16 } }

/**
 * Who leads, by the word of several voters.
 *
 * @param heads - what each says; those that know of no leader count as well
 * @returns the newest head of the leader and term that more than half of them name; undefined where there is none
 */
export function electedBy (heads: readonly Head[]): Head | undefined {
  for (const claim of heads) {
    const same = heads.filter(({ term, leader }) => term === claim.term && leader === claim.leader)
    if (claim.leader !== '' && 2 * same.length > heads.length) return same.reduce((a, b) => b.commitIndex > a.commitIndex ? b : a)
  }
  return undefined
}

/**
 * @param payload - as received
 * @param envelope - who signed it, and the term that the signer claims
 * @param knownTerm - the newest term of a leader that this node has heard of
 * @returns `reject` NOTICE_UNDECODABLE, TERM_MISMATCH, NOT_A_LEADER (committed entries from somebody who does not claim to lead); `ignore`
 *   STALE_TERM: whoever says it led once; or the notice
 */
export function judgeNotice (payload: Uint8Array, envelope: { author: string, term: number }, knownTerm: number): Verdict<Notice> {
  let notice: Notice
  try {
    notice = Notice.decode(payload, { limits: NOTICE_LIMITS })
  } catch {
    return reject('NOTICE_UNDECODABLE', 'the notice does not decode')
  }
  if (notice.head?.leader !== envelope.author) {
    return notice.entries.length > 0 ? reject('NOT_A_LEADER', 'committed entries from a peer that does not claim to lead') : accept(notice)
  }
  if (notice.head.term !== envelope.term) return reject('TERM_MISMATCH', 'the notice and its envelope disagree about the term')
  if (envelope.term < knownTerm) return ignore('STALE_TERM', `term ${envelope.term} is over, ${knownTerm} was seen`)
  return accept(notice)
}
