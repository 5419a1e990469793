import assert from 'node:assert/strict'
import { createLineCutter, firstInvalidUtf8 } from '../../../src/blocks/lines.ts'
import type { LineCutterInit, Split } from '../../../src/blocks/lines.ts'

const bytes = (value: string): Uint8Array => Buffer.from(value, 'latin1')

/** Cut files into splits, fed in pieces of `step` bytes. */
function cut (files: Record<string, string>, init: Partial<LineCutterInit> = {}, step = 1e6): Array<{ text: string, records: number, source: string, firstRecord: number }> {
  const cutter = createLineCutter({ encoding: 'latin1', splitBytes: 1000, maxRecordBytes: 100, ...init })
  const splits: Split[] = []
  for (const [name, content] of Object.entries(files)) {
    splits.push(...cutter.open(name))
    for (let at = 0; at < content.length; at += step) splits.push(...cutter.write(bytes(content.slice(at, at + step))))
  }
  splits.push(...cutter.end())
  return splits.map(split => ({ text: Buffer.from(split.bytes).toString('latin1'), records: split.records, source: split.source, firstRecord: split.firstRecord }))
}

describe('line cutter', () => {
  it('ends every line with \\n, whatever it ended with, wherever the pieces were cut', () => {
    for (const content of ['a\nb\n', 'a\r\nb\r\n', 'a\nb', 'a\r\nb', 'a\r\nb\n']) {
      for (const step of [1, 2, 3, 100]) assert.deepEqual(cut({ f: content }, {}, step), [{ text: 'a\nb\n', records: 2, source: 'f', firstRecord: 1 }], JSON.stringify([content, step]))
    }
  })

  it('keeps empty lines, lone \\r and NUL as they are', () => {
    assert.equal(cut({ f: '\n\na\rb\0\n' })[0]!.text, '\n\na\rb\0\n')
    assert.equal(cut({ f: '\n\na\rb\0\n' })[0]!.records, 3)
  })

  it('packs files into splits, and names where each split begins', () => {
    const splits = cut({ a: '1\n2\n3', b: '', c: '4\n5\n6\n' }, { splitBytes: 4 })
    assert.deepEqual(splits, [
      { text: '1\n2\n', records: 2, source: 'a', firstRecord: 1 },
      { text: '3\n4\n', records: 2, source: 'a', firstRecord: 3 },
      { text: '5\n6\n', records: 2, source: 'c', firstRecord: 2 }
    ])
  })

  it('makes no split of no line', () => {
    assert.deepEqual(cut({}), [])
    assert.deepEqual(cut({ a: '', b: '' }), [])
  })

  it('gives the same splits for every way of feeding it, and loses no line', () => {
    let content = ''
    for (let i = 0; i < 300; i++) content += 'x'.repeat((i * 37) % 90) + (i % 3 === 0 ? '\r\n' : '\n')
    const whole = cut({ f: content }, { splitBytes: 256 })
    assert.equal(whole.map(split => split.text).join(''), content.replaceAll('\r\n', '\n'))
    assert.ok(whole.every(split => split.text.length <= 256))
    for (const step of [1, 7, 64, 255, 1000]) assert.deepEqual(cut({ f: content }, { splitBytes: 256 }, step), whole, `step ${step}`)
  })

  it('lets one line be larger than a split, alone', () => {
    assert.deepEqual(cut({ f: `a\n${'b'.repeat(20)}\nc\n` }, { splitBytes: 8 }).map(split => split.text.length), [2, 21, 2])
  })

  it('refuses a line longer than the limit, before it has come to its end', () => {
    const limit = { maxRecordBytes: 10 }
    assert.equal(cut({ f: '123456789\n' }, limit).length, 1)
    assert.equal(cut({ f: '1234567890' }, limit).length, 1)
    for (const step of [1, 4, 100]) {
      assert.throws(() => cut({ f: 'ok\n1234567890\n' }, limit, step), { code: 'INPUT_RECORD_TOO_LONG', details: { file: 'f', line: 2, maxRecordBytes: 10 } })
      assert.throws(() => cut({ f: 'ok\n12345678901' }, limit, step), { code: 'INPUT_RECORD_TOO_LONG', details: { file: 'f', line: 2, maxRecordBytes: 10 } })
    }
  })

  it('says at which byte a file stops being UTF-8, wherever the pieces were cut', () => {
    const good = 'gr\xc3\xbc\xc3\x9fe\n'
    for (const [bad, offset] of [['\xff\n', 0], ['ab\xc3(\n', 2], ['ab\xe2\x82\n', 2], ['ab\xe2\x82', 2], ['\xed\xa0\x80\n', 0], ['\xc0\x80\n', 0], ['a\xf0\x9f\x98', 1]] as const) {
      for (const step of [1, 2, 3, 5, 100]) {
        assert.throws(() => cut({ f: good + good + bad }, { encoding: 'utf8' }, step), { code: 'INPUT_NOT_UTF8', details: { file: 'f', offset: 2 * good.length + offset } }, JSON.stringify([bad, step]))
        assert.equal(cut({ f: good + bad }, { encoding: 'latin1' }, step).length, 1)
      }
    }
    assert.equal(cut({ f: good }, { encoding: 'utf8' })[0]!.text, good)
  })

  it('drops a byte order mark at the beginning of a UTF-8 file only', () => {
    const bom = '\xef\xbb\xbf'
    for (const step of [1, 2, 100]) {
      assert.equal(cut({ a: `${bom}x\n${bom}y\n`, b: `${bom}z` }, { encoding: 'utf8' }, step)[0]!.text, `x\n${bom}y\nz\n`)
      assert.equal(cut({ a: `${bom}x\n` }, { encoding: 'latin1' }, step)[0]!.text, `${bom}x\n`)
    }
  })
})

describe('firstInvalidUtf8', () => {
  it('agrees with a decoder that goes byte by byte', () => {
    const cases: Array<[number[], number]> = [[[0x80], 0], [[0x41, 0xc3], 1], [[0xc3, 0xa9, 0xe2, 0x28, 0xa1], 2], [[0xf0, 0x9f, 0x98, 0x80, 0xf5], 4], [[0xf4, 0x90, 0x80, 0x80], 0]]
    for (const [input, at] of cases) assert.equal(firstInvalidUtf8(Uint8Array.from(input)), at, String(input))
  })
})
