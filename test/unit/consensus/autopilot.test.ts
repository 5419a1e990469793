import assert from 'node:assert/strict'
import { ALIVE_MS, CAUGHT_UP_ENTRIES, GONE_MS, nextConfChange, type AutopilotInput } from '../../../src/consensus/autopilot.ts'
import type { ConfChangeSingle } from '../../../src/consensus/types.ts'

const LAST = 10_000

/**
 * A group as one line: upper case votes, lower case learns, `*` after a letter: silent for a minute, `?`: silent for a while, `-`: far
 * behind, `!`: wiped. `A` leads. Eligible: those in `others` and all that are not silent.
 */
function group (members: string, others = '', extra: Partial<AutopilotInput> = {}): AutopilotInput {
  const found = [...members.matchAll(/([A-Za-z])([*?!-]?)/g)].map(([, letter, mark]) => ({ id: letter!.toLowerCase(), isVoter: letter! < 'a', mark }))
  const silent = { '*': GONE_MS, '?': ALIVE_MS } as Record<string, number>
  return {
    self: 'a',
    conf: {
      voters: found.filter(({ isVoter }) => isVoter).map(({ id }) => id),
      votersOutgoing: [],
      learners: found.filter(({ isVoter }) => !isVoter).map(({ id }) => id),
      learnersNext: [],
      autoLeave: false
    },
    progress: new Map(found.filter(({ id }) => id !== 'a').map(({ id, mark }) => [id, {
      match: mark === '-' ? LAST - CAUGHT_UP_ENTRIES - 1 : LAST, silentMs: silent[mark ?? ''] ?? 100, isWiped: mark === '!'
    }])),
    eligible: [...found.filter(({ mark }) => silent[mark ?? ''] === undefined).map(({ id }) => id), ...others],
    lastIndex: LAST,
    target: 5,
    ...extra
  }
}

const shown = (changes: ConfChangeSingle[]): string =>
  changes.map(({ type, id }) => ({ addVoter: '^', addLearner: '+', remove: '-' })[type] + id).join(' ')

describe('autopilot', () => {
  const table: Array<[members: string, others: string, expected: string, why: string]> = [
    ['A', '', '', 'alone'],
    ['A', 'b', '+b', 'with two members: one voter and one learner'],
    ['Ab', '', '', 'never two voters'],
    ['Ab', 'c', '+c', 'the third learns first'],
    ['Abc', '', '^b ^c', 'from one to three in one step'],
    ['Abc-', '', '', 'not before both have caught up'],
    ['Abc?', '', '', 'not while one is silent'],
    ['A', 'bcdefg', '+b +c +d +e', 'all that the target needs, at once'],
    ['Abcde', '', '^b ^c ^d ^e', 'from one to five in one step'],
    ['Abcde-', '', '^b ^c', 'three as soon as three can'],
    ['ABC', '', '', 'healthy'],
    ['ABC', 'd', '+d', 'a fourth waits as a spare'],
    ['ABCd', '', '', 'the count stays odd'],
    ['ABCd', 'e', '+e', 'and a fifth makes'],
    ['ABCde', '', '^d ^e', 'five'],
    ['ABCDE', 'fg', '', 'five are enough'],
    ['ABC?', 'd', '+d', 'silent, not gone: the spare learns meanwhile'],
    ['ABC?d', '', '', 'not replaced before a minute'],
    ['ABC*d', '', '^d -c', 'gone: replaced in one joint step'],
    ['ABC*d-', '', '', 'not by a spare that is behind'],
    ['ABC*', '', '', 'no spare: it stays, two voters are no better than two of three'],
    ['ABC*', 'd', '+d', 'a spare learns first'],
    ['AB?C*d', '', '', 'no change without a living majority'],
    ['ABCD*E*', '', '-d -e', 'two of five gone, no spare: back to three'],
    ['ABCDE*', '', '', 'one of five gone, no spare: stays'],
    ['ABCD*E*f', '', '-d -e', 'one spare cannot fill two places'],
    ['ABCD*E*fg', '', '^f ^g -d -e', 'two can'],
    ['ABCDE*', 'f', '+f', 'a spare beyond five learns while one is gone'],
    ['ABC!', '', '-c', 'a wiped voter leaves, to come back as a learner'],
    ['AB?C!', '', '', 'but not where that would lose the quorum'],
    ['ABCd!', '', '-d', 'a wiped learner leaves'],
    ['AB', 'c', '+c', 'an even number, made by hand: a third learns'],
    ['ABc', '', '^c', 'and makes it odd'],
    ['ABCd*', '', '-d', 'a learner that is gone frees its place'],
    ['ABCd*', 'e', '-d', 'before another takes it']
  ]
  for (const [members, others, expected, why] of table) {
    it(`${members} with ${others === '' ? 'nobody else' : others}: ${expected === '' ? 'nothing' : expected} (${why})`, () => {
      assert.equal(shown(nextConfChange(group(members, others))), expected)
    })
  }

  it('does nothing in a joint configuration, or where it is not a voter', () => {
    const input = group('Abc')
    assert.deepEqual(nextConfChange({ ...input, conf: { ...input.conf, votersOutgoing: ['a'] } }), [])
    assert.deepEqual(nextConfChange({ ...input, self: 'z' }), [])
  })

  it('aims at another number of voters if told so', () => {
    assert.equal(shown(nextConfChange(group('Abcde', '', { target: 3 }))), '^b ^c')
    assert.equal(shown(nextConfChange(group('Abc', 'd', { target: 1 }))), '')
  })

  it('converges from one voter to the target as members come, one step at a time, never over an even count', () => {
    const conf = group('A').conf
    const steps: number[] = []
    for (let turn = 0; turn < 20; turn++) {
      const progress = new Map([...conf.voters, ...conf.learners].filter(id => id !== 'a').map(id => [id, { match: LAST, silentMs: 0, isWiped: false }]))
      const eligible = [...'abcdefgh'].slice(0, turn + 1)
      for (const { type, id } of nextConfChange({ self: 'a', eligible, conf, progress, lastIndex: LAST, target: 5 })) {
        conf.learners = conf.learners.filter(other => other !== id)
        if (type === 'addLearner') conf.learners.push(id)
        else conf.voters.push(id)
      }
      steps.push(conf.voters.length)
    }
    assert.deepEqual([...new Set(steps)], [1, 3, 5])
  })
})
