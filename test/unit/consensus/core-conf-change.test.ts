import assert from 'node:assert/strict'
import { decodeConfChange, encodeConfChange } from '../../../src/consensus/conf-codec.ts'
import { enterJoint, leaveJoint, nextConf, restoreConf, simple } from '../../../src/consensus/conf-change.ts'
import type { ConfChange, ConfChangeSingle, ConfState } from '../../../src/consensus/types.ts'
import type { Verdict } from '../../../keys/verdict.ts'

/** `voters/outgoing learners/next auto`, an empty list as '.' */
function parse (shape: string): ConfState {
  const [voters, learners, auto] = shape.split(' ')
  const list = (part: string | undefined): string[] => part === undefined || part === '.' ? [] : [...part]
  const [incoming, outgoing] = voters!.split('/')
  const [now, next] = (learners ?? '.').split('/')
  return { voters: list(incoming), votersOutgoing: list(outgoing), learners: list(now), learnersNext: list(next), autoLeave: auto === 'auto' }
}

/** `+a` voter, `~a` learner, `-a` remove */
function changesOf (text: string): ConfChangeSingle[] {
  return text.split(' ').filter(item => item !== '').map(item => ({ type: ({ '+': 'addVoter', '~': 'addLearner', '-': 'remove' } as const)[item[0]!]!, id: item.slice(1) }))
}

const result = (verdict: Verdict<ConfState>): ConfState | string => verdict.verdict === 'accept' ? verdict.value : verdict.code
const expected = (shape: string): ConfState | string => shape.startsWith('CONF_') ? shape : parse(shape)

describe('configuration changes (Raft §6, thesis §4.1, §4.3)', () => {
  const simpleCases: Array<[string, string, string]> = [
    ['a/.', '+b', 'ab/.'], ['ab/.', '-a', 'b/.'], ['abc/.', '~c', 'ab/. c'], ['abc/. d', '+d', 'abcd/.'], ['a/.', '~b ~c', 'a/. bc'],
    ['a/. bc', '-b ~d', 'a/. cd'], ['a/.', '+a', 'a/.'], ['a/.', '-z', 'a/.'], ['a/. b', '~b', 'a/. b'], ['ab/.', '+c -c', 'ab/.'],
    ['a/.', '-a', 'CONF_NO_VOTERS'], ['a/.', '~a', 'CONF_NO_VOTERS'], ['ab/.', '+c +d', 'CONF_NOT_SIMPLE'], ['ab/.', '+c -a', 'CONF_NOT_SIMPLE'],
    ['ab/a', '+c', 'CONF_JOINT'], ['./.', '+a', 'a/.']
  ]
  for (const [from, changes, to] of simpleCases) {
    it(`simple: ${from} with ${changes} is ${to}`, () => assert.deepEqual(result(simple(parse(from), changesOf(changes))), expected(to)))
  }

  const jointCases: Array<[string, string, string]> = [
    ['a/.', '+b +c', 'abc/a . auto'], ['abc/.', '-a +d', 'bcd/abc . auto'], ['abc/.', '~a', 'bc/abc ./a auto'], ['ab/. c', '+c ~b', 'ac/ab ./b auto'],
    ['abc/.', '~a -a', 'bc/abc . auto'], ['abc/.', '~a +a', 'abc/abc . auto'], ['a/.', '~b', 'a/a b auto'], ['a/a', '+b', 'CONF_JOINT'],
    ['./.', '+b', 'CONF_NO_VOTERS'], ['ab/.', '-a -b', 'CONF_NO_VOTERS']
  ]
  for (const [from, changes, to] of jointCases) {
    it(`enter joint: ${from} with ${changes} is ${to}`, () => assert.deepEqual(result(enterJoint(parse(from), changesOf(changes), true)), expected(to)))
  }

  const leaveCases: Array<[string, string]> = [
    ['abc/a . auto', 'abc/.'], ['bc/abc ./a auto', 'bc/. a'], ['ac/ab d/b', 'ac/. bd'], ['abc/.', 'CONF_NOT_JOINT']
  ]
  for (const [from, to] of leaveCases) {
    it(`leave joint: ${from} is ${to}`, () => assert.deepEqual(result(leaveJoint(parse(from))), expected(to)))
  }

  it('takes the simple way where one voter changes, else a joint one that is left by itself', () => {
    const change = (transition: ConfChange['transition'], text: string): ConfChange => ({ transition, changes: changesOf(text), context: new Uint8Array(0) })
    assert.deepEqual(result(nextConf(parse('ab/.'), change('auto', '+c ~d'))), parse('abc/. d'))
    assert.deepEqual(result(nextConf(parse('a/.'), change('auto', '+b +c'))), parse('abc/a . auto'))
    assert.deepEqual(result(nextConf(parse('a/.'), change('joint', '+b'))), parse('ab/a . auto'))
    assert.deepEqual(result(nextConf(parse('a/.'), change('explicit', '+b'))), parse('ab/a'))
    assert.deepEqual(result(nextConf(parse('ab/a'), change('auto', ''))), parse('ab/.'))
    assert.deepEqual(result(nextConf(parse('ab/.'), change('auto', ''))), 'CONF_NOT_JOINT')
    assert.deepEqual(result(nextConf(parse('a/.'), change('auto', '-a'))), 'CONF_NO_VOTERS')
  })

  it('changes no argument', () => {
    const conf = parse('abc/. d')
    const copy = structuredClone(conf)
    enterJoint(conf, changesOf('~a +d -b'), true)
    simple(conf, changesOf('+e'))
    assert.deepEqual(conf, copy)
  })

  const restored: Array<[string, string]> = [
    ['ba/.', 'ab/.'], ['aab/ca d', 'ab/ac d'], ['./.', './.'], ['a/. a', 'CONF_OVERLAP'], ['a/b b', 'CONF_OVERLAP'], ['a/b ./a', 'CONF_OVERLAP'],
    ['a/. ./b', 'CONF_OVERLAP'], ['./a', 'CONF_NO_VOTERS'], ['a/. . auto', 'CONF_NOT_JOINT']
  ]
  for (const [from, to] of restored) {
    it(`restores ${from} as ${to}`, () => assert.deepEqual(result(restoreConf(parse(from))), expected(to)))
  }
})

describe('configuration changes as bytes', () => {
  const changes: ConfChange[] = [
    { transition: 'auto', changes: [], context: new Uint8Array(0) },
    { transition: 'joint', changes: [{ type: 'addVoter', id: '12D3KooW' }, { type: 'remove', id: 'ä' }], context: new Uint8Array([1, 2]) },
    { transition: 'explicit', changes: [{ type: 'addLearner', id: 'x'.repeat(255) }], context: new Uint8Array(0) }
  ]
  it('come back as they went', () => {
    for (const change of changes) assert.deepEqual(decodeConfChange(encodeConfChange(change)!), change)
  })

  it('are stable', () => {
    assert.equal(Buffer.from(encodeConfChange(changes[1]!)!).toString('hex'), '01010200083132443 34b6f6f57 0202c3a4 0102'.replaceAll(' ', ''))
  })

  it('are refused when they pass a limit or are cut, and decode to something else or nothing when flipped', () => {
    assert.equal(encodeConfChange({ transition: 'auto', changes: [{ type: 'remove', id: '' }], context: new Uint8Array(0) }), undefined)
    assert.equal(encodeConfChange({ transition: 'auto', changes: [{ type: 'remove', id: 'x'.repeat(256) }], context: new Uint8Array(0) }), undefined)
    assert.equal(encodeConfChange({ transition: 'auto', changes: Array.from({ length: 256 }, () => ({ type: 'remove' as const, id: 'x' })), context: new Uint8Array(0) }), undefined)
    const whole = encodeConfChange({ ...changes[1]!, context: new Uint8Array(0) })!
    for (let length = 0; length < whole.length; length++) assert.equal(decodeConfChange(whole.subarray(0, length)), undefined)
    for (let at = 0; at < whole.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = whole.slice()
        flipped[at]! ^= 1 << bit
        assert.notDeepEqual(decodeConfChange(flipped), { ...changes[1]!, context: new Uint8Array(0) })
      }
    }
  })
})
