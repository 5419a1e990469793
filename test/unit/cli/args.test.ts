import assert from 'node:assert/strict'
import { nearest, parse, toBytes, toChoice, toChoices, toCount, toMs } from '../../../src/cli/args.ts'
import type { ArgsSpec } from '../../../src/cli/args.ts'

const spec: ArgsSpec = {
  positionals: ['JOB', '[INPUT...]'],
  options: {
    input: { type: 'string', short: 'i', multiple: true, value: 'GLOB', help: '' },
    output: { type: 'string', value: 'FILE', help: '' },
    json: { type: 'boolean', help: '' }
  }
}
const usage = (message: RegExp) => ({ name: 'USAGE', message })

describe('arguments of a command', () => {
  it('are read in any order, repeated where that is allowed', () => {
    const args = parse('run', spec, ['--input', 'a', 'job.mjs', '-i', 'b', '--json', '--output=c', 'more'])
    assert.deepEqual(args.positionals, ['job.mjs', 'more'])
    assert.deepEqual(args.texts('input'), ['a', 'b'])
    assert.equal(args.text('output'), 'c')
    assert.equal(args.flag('json'), true)
    assert.equal(parse('run', spec, ['job.mjs']).flag('json'), false)
  })

  it('take a lone dash as a value, and what follows -- as it is', () => {
    assert.deepEqual(parse('run', spec, ['job', '--input', '-']).texts('input'), ['-'])
    assert.deepEqual(parse('run', spec, ['--', '--job']).positionals, ['--job'])
  })

  const wrong: [name: string, argv: string[], message: RegExp][] = [
    ['an unknown option, with the nearest one', ['j', '--inptu', 'x'], /--inptu is no option of conclave run; did you mean --input\?/],
    ['an unknown option that is like nothing', ['j', '--zzz'], /--zzz is no option of conclave run$/],
    ['an unknown short option', ['j', '-z'], /-z is no option/],
    ['an option without its value', ['j', '--output'], /--output needs a value: --output FILE/],
    ['an option that swallows the next one', ['j', '--output', '--json'], /--output needs a value/],
    ['a value for a switch', ['j', '--json=yes'], /--json takes no value/],
    ['one of a kind given twice', ['j', '--output', 'a', '--output', 'b'], /--output was given twice/],
    ['a missing argument', [], /JOB is missing/]
  ]
  for (const [name, argv, message] of wrong) it(`refuse ${name}`, () => assert.throws(() => parse('run', spec, argv), usage(message)))

  it('refuse one argument too many', () => {
    assert.throws(() => parse('cancel', { positionals: ['JOB'], options: {} }, ['a', 'b']), usage(/b is one argument too many/))
  })
})

describe('the nearest word', () => {
  const words = ['status', 'peers', 'jobs', 'cancel', 'up', 'down', 'run', 'watch', 'invite', 'dev']
  const cases: [string, string | undefined][] = [['stauts', 'status'], ['job', 'jobs'], ['peer', 'peers'], ['cancle', 'cancel'], ['wacth', 'watch'], ['inv', 'invite'], ['xyzzy', undefined], ['', undefined]]
  for (const [word, found] of cases) it(`to "${word}" is ${found ?? 'none'}`, () => assert.equal(nearest(word, words), found))
})

describe('values of options', () => {
  it('durations become milliseconds', () => {
    assert.deepEqual(['500ms', '30s', '1.5m', '1h', '7d'].map((text) => toMs('x', text)), [500, 30_000, 90_000, 3_600_000, 604_800_000])
    for (const text of ['', '5', 's', '-1s', '0s', '1w', '1e3s', 'Infinitys']) assert.throws(() => toMs('ttl', text), usage(/--ttl/), text)
  })

  it('sizes become bytes', () => {
    assert.deepEqual(['512', '1K', '1KiB', '64MiB', '1.5G'].map((text) => toBytes('x', text)), [512, 1024, 1024, 67_108_864, 1_610_612_736])
    for (const text of ['', 'MiB', '1T', '0', '-1', '1 K']) assert.throws(() => toBytes('split', text), usage(/--split/), text)
  })

  it('counts are whole numbers within their range', () => {
    assert.equal(toCount('n', '5'), 5)
    assert.equal(toCount('n', '0', 0), 0)
    for (const text of ['0', '-1', '1.5', 'five', '', '51']) assert.throws(() => toCount('n', text, 1, 50), usage(/--n .*from 1 to 50/), text)
  })

  it('choices are told with the nearest one', () => {
    assert.equal(toChoice('encoding', 'latin1', ['utf8', 'latin1']), 'latin1')
    assert.throws(() => toChoice('encoding', 'latin', ['utf8', 'latin1']), { name: 'USAGE', next: '--encoding latin1' })
    assert.deepEqual(toChoices('caps', ['work,submit', 'work'], ['work', 'submit', 'vote']), ['work', 'submit'])
    assert.equal(toChoices('caps', [], ['work']), undefined)
    assert.throws(() => toChoices('caps', ['work,'], ['work']), usage(/--caps/))
  })
})
