import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { cidText } from '../../../src/blocks/cid.ts'
import { importInputs } from '../../../src/blocks/import.ts'
import type { ImportOptions } from '../../../src/blocks/import.ts'
import { getObject } from '../../../src/blocks/object.ts'
import { exportRecords } from '../../../src/blocks/records.ts'
import { openBlockStore } from '../../../src/blocks/store.ts'
import type { BlockStore } from '../../../src/blocks/store.ts'
import { withTempDir } from '../../support/temp-dir.ts'

async function withStore (work: (dir: string, store: BlockStore) => Promise<void>): Promise<void> {
  await withTempDir(async dir => { await work(dir, await openBlockStore(path.join(dir, 'blocks'), { maxBytes: 1e9 })) })
}

async function write (dir: string, name: string, content: string | Uint8Array): Promise<string> {
  const file = path.join(dir, name)
  await fs.writeFile(file, content)
  return file
}

async function importAll (paths: string[], options: ImportOptions) {
  const inputs = []
  for await (const input of importInputs(paths, options)) {
    const cid = cidText(input.cid)!
    inputs.push({ ...input, cid, text: Buffer.from(await getObject(options.store, cid)).toString(options.encoding ?? 'utf8') })
  }
  return inputs
}

describe('importInputs', () => {
  it('stores the lines of files as splits that say where they come from', async () => {
    await withStore(async (dir, store) => {
      const files = [await write(dir, 'a', 'one\ntwo'), await write(dir, 'empty', ''), await write(dir, 'b', 'three\r\nfour\n')]
      const inputs = await importAll(files, { store, splitBytes: 14 })
      assert.deepEqual(inputs, [
        { cid: inputs[0]!.cid, bytes: 14, records: 3, holders: [], source: files[0], firstRecord: 1, text: 'one\ntwo\nthree\n' },
        { cid: inputs[1]!.cid, bytes: 5, records: 1, holders: [], source: files[2], firstRecord: 2, text: 'four\n' }
      ])
      assert.deepEqual(await importAll([files[1]!], { store }), [])
    })
  })

  it('packs 500 small files into one split', async () => {
    await withStore(async (dir, store) => {
      const files = []
      for (let i = 0; i < 500; i++) files.push(await write(dir, String(i), `file ${i}\nhas two lines`))
      const inputs = await importAll(files, { store })
      assert.equal(inputs.length, 1)
      assert.equal(inputs[0]!.records, 1000)
      assert.ok(inputs[0]!.text.endsWith('file 499\nhas two lines\n'))
    })
  })

  it('makes a DAG of a split that is larger than a block', async () => {
    await withStore(async (dir, store) => {
      const content = `${'x'.repeat(99)}\n`.repeat(30_000)
      const inputs = await importAll([await write(dir, 'f', content)], { store, splitBytes: 2 << 20 })
      assert.deepEqual(inputs.map(input => input.cid.slice(0, 7)), ['bafybei', 'bafkrei'])
      assert.equal(inputs.map(input => input.text).join(''), content)
    })
  })

  it('pins what it has stored for its owner', async () => {
    await withStore(async (dir, store) => {
      const room = store.room()
      await importAll([await write(dir, 'f', 'x\n')], { store, owner: 'job' })
      assert.equal(store.room(), room - 2)
    })
  })

  it('refuses a 50 MB line without holding it', async () => {
    await withStore(async (dir, store) => {
      const file = await write(dir, 'f', Buffer.concat([Buffer.from('ok\n'), Buffer.alloc(50_000_000, 'x')]))
      const before = process.memoryUsage().arrayBuffers
      await assert.rejects(importAll([file], { store }), { code: 'INPUT_RECORD_TOO_LONG', details: { file, line: 2, maxRecordBytes: 1 << 20 } })
      assert.ok(process.memoryUsage().arrayBuffers - before < 20e6)
      assert.deepEqual(store.usage().count, 0)
    })
  })

  it('says what is wrong with an input, with the file and the next step', async () => {
    await withStore(async (dir, store) => {
      const good = await write(dir, 'good', 'x\n')
      const binary = await write(dir, 'binary', Uint8Array.of(0x61, 0x0a, 0xff, 0, 0x0a))
      await assert.rejects(importAll([good, path.join(dir, 'none')], { store }), { code: 'INPUT_NOT_FOUND' })
      await assert.rejects(importAll([path.join(good, 'below')], { store }), { code: 'INPUT_NOT_FOUND' })
      await assert.rejects(importAll([dir], { store }), { code: 'INPUT_IS_DIRECTORY' })
      assert.equal(store.usage().count, 0, 'nothing is stored before all files are there')
      await assert.rejects(importAll([good, binary], { store }), { code: 'INPUT_NOT_UTF8', details: { file: binary, offset: 2 }, next: /--encoding latin1/ })
      assert.equal((await importAll([binary], { store, encoding: 'latin1' }))[0]!.text, 'a\n\xff\0\n')
      await assert.rejects(importAll([good], { store, splitBytes: 0 }), { code: 'INPUT_SPLIT_INVALID' })
      await assert.rejects(importAll([good], { store, splitBytes: 17 << 20 }), { code: 'INPUT_SPLIT_INVALID' })
    })
  })

  it('says that a file is unreadable', async function unreadable () {
    if (process.getuid?.() === 0) {
      console.log('      (skipped: root may read every file)')
      this.skip()
    }
    await withStore(async (dir, store) => {
      const file = await write(dir, 'secret', 'x')
      await fs.chmod(file, 0)
      await assert.rejects(importAll([file], { store }), { code: 'INPUT_UNREADABLE' })
    })
  })

  it('raises the split size where there would be more than 4,096 splits', async () => {
    await withStore(async (dir, store) => {
      const file = await write(dir, 'f', 'a line\n'.repeat(20_000))
      const inputs = await importAll([file], { store, splitBytes: 7 })
      assert.ok(inputs.length <= 4096 && inputs.length > 2000, String(inputs.length))
      assert.equal(inputs.reduce((sum, input) => sum + input.records, 0), 20_000)
    })
  })

  it('refuses what cannot fit into 4,096 splits', async () => {
    await withStore(async (dir, store) => {
      const file = path.join(dir, 'sparse')
      await (await fs.open(file, 'w')).close()
      await fs.truncate(file, 100 * 2 ** 30)
      await assert.rejects(importAll([file], { store, encoding: 'latin1' }), { code: 'INPUT_TOO_LARGE', next: /--split/ })
    })
  })

  it('stops where the signal aborts, with its reason', async () => {
    await withStore(async (dir, store) => {
      const file = await write(dir, 'f', 'line\n'.repeat(1000))
      const stop = new AbortController()
      let splits = 0
      const reading = (async () => {
        for await (const input of importInputs([file, file], { store, splitBytes: 100, signal: stop.signal })) {
          assert.equal(input.records, 20)
          if (++splits === 3) stop.abort(new Error('enough'))
        }
      })()
      await assert.rejects(reading, { message: 'enough' })
      await assert.rejects(importAll([file], { store, signal: stop.signal }), { message: 'enough' })
    })
  })
})

describe('exportRecords', () => {
  const records = (text: string): unknown[] => [...exportRecords(Buffer.from(text))]

  it('reads one JSON value a line', () => {
    assert.deepEqual(records('["a",1]\n{"b":"\u00e9"}\n\n3'), [['a', 1], { b: '\u00e9' }, 3])
    assert.deepEqual(records(''), [])
  })

  it('parses a line when it is asked for, and names the one that is wrong', () => {
    const reading = exportRecords(Buffer.from('1\n\n{"a":\n'))
    assert.deepEqual(reading.next(), { done: false, value: 1 })
    assert.throws(() => reading.next(), { code: 'OUTPUT_MALFORMED', details: { line: 3 } })
  })
})
