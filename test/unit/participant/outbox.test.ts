import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs/promises'
import path from 'node:path'
import { decodeRecords, encodeRecord } from '../../../src/participant/outbox-log.ts'
import { openOutbox } from '../../../src/participant/outbox.ts'
import type { Outbox } from '../../../src/participant/outbox.ts'
import type { LogEvent } from '../../../src/api.ts'
import { withTempDir } from '../../support/temp-dir.ts'

const batch = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const inside = (outbox: Outbox): Array<[string, string[]]> => outbox.entries().map(({ bytes, keys }) => [Buffer.from(bytes).toString(), keys])

describe('outbox', () => {
  it('has what was appended and not removed, after a restart too, in order', async () => {
    await withTempDir(async dir => {
      const first = await openOutbox(dir)
      await first.append(batch('one'), ['a', 'b'])
      await Promise.all([first.append(batch('two'), ['c']), first.append(batch('three'), ['d'])])
      await first.remove('a')
      await first.remove('c')
      await first.remove('never there')
      const expected = [['one', ['b']], ['three', ['d']]]
      assert.deepEqual(inside(first), expected)
      assert.deepEqual([first.has('a'), first.has('b'), first.size()], [false, true, 2])
      await first.close()
      await first.close()
      await assert.rejects(first.append(batch('late'), ['e']), { code: 'OUTBOX_CLOSED' })
      const second = await openOutbox(dir)
      assert.deepEqual(inside(second), expected)
      await second.append(batch('four'), ['e'])
      await second.close()
      const third = await openOutbox(dir)
      assert.deepEqual(inside(third), [...expected, ['four', ['e']]])
      await third.close()
    })
  })

  it('is some earlier state of itself after its file was cut at any byte, or any byte of it was flipped', async () => {
    await withTempDir(async dir => {
      const file = path.join(dir, 'receipts.log')
      const outbox = await openOutbox(dir)
      const history: string[] = [JSON.stringify([])]
      const ends = [0]
      const note = async (): Promise<void> => { history.push(JSON.stringify(inside(outbox))); ends.push((await fs.stat(file)).size) }
      await outbox.append(batch('one'), ['a', 'b'])
      await note()
      await outbox.append(batch('two'), ['c'])
      await note()
      await outbox.remove('a')
      await note()
      await outbox.remove('c')
      await note()
      await outbox.append(batch('three'), ['d'])
      await note()
      await outbox.close()
      const whole = await fs.readFile(file)
      assert.equal(ends.at(-1), whole.length)
      const open = async (bytes: Uint8Array): Promise<{ state: string, events: LogEvent[] }> => {
        await fs.writeFile(file, bytes)
        const events: LogEvent[] = []
        const found = await openOutbox(dir, { log: event => { events.push(event) } })
        const state = JSON.stringify(inside(found))
        await found.close()
        return { state, events }
      }
      for (let length = 0; length <= whole.length; length++) {
        const complete = ends.findLastIndex(end => end <= length)
        const { state, events } = await open(whole.subarray(0, length))
        assert.equal(state, history[complete], `cut at ${length}`)
        assert.equal(events.length, ends.includes(length) ? 0 : 1)
      }
      for (let at = 0; at < whole.length; at++) {
        const wrong = Buffer.from(whole)
        wrong[at]! ^= 1 << (at % 8)
        const before = ends.findLastIndex(end => end <= at)
        assert.equal((await open(wrong)).state, history[before], `byte ${at} flipped`)
      }
    })
  })

  it('refuses with OUTBOX_FULL past its limits, and takes more when there is room', async () => {
    await withTempDir(async dir => {
      const outbox = await openOutbox(dir, { limits: { maxBytes: 10, maxKeys: 3 } })
      await outbox.append(batch('12345678'), ['a'])
      await assert.rejects(outbox.append(batch('123'), ['b']), { code: 'OUTBOX_FULL' })
      await outbox.append(batch('1'), ['c'])
      await assert.rejects(outbox.append(batch(''), ['d', 'e']), { code: 'OUTBOX_FULL' })
      await outbox.remove('a')
      await outbox.append(batch('12'), ['d', 'e'])
      assert.equal(outbox.size(), 3)
      await assert.rejects(outbox.append(batch(''), []), /invariant/)
      await outbox.close()
    })
  })

  it('keeps its file small however much goes through it', async () => {
    await withTempDir(async dir => {
      const outbox = await openOutbox(dir, { limits: { compactBytes: 4096 } })
      await outbox.append(batch('stays'), ['first'])
      let largest = 0
      for (let i = 0; i < 300; i++) {
        await outbox.append(new Uint8Array(100).fill(i), [`k${i}`])
        await outbox.remove(`k${i}`)
        largest = Math.max(largest, (await fs.stat(path.join(dir, 'receipts.log'))).size)
      }
      assert.ok(largest < 5000, String(largest))
      await outbox.close()
      assert.deepEqual(inside(await openOutbox(dir)), [['stays', ['first']]])
    })
  })

  it('does not keep what did not fit on a full disk, and goes on with what it had', async function fullDisk () {
    await withTempDir(async dir => {
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', dir], { stdio: 'ignore' })
      } catch {
        console.log('      (skipped: a small file system can be mounted by root only)')
        this.skip()
      }
      try {
        const outbox = await openOutbox(path.join(dir, 'outbox'))
        await outbox.append(batch('kept'), ['a'])
        await assert.rejects(outbox.append(new Uint8Array(100_000), ['b']), { code: 'DISK_FULL' })
        assert.deepEqual(inside(outbox), [['kept', ['a']]])
        await outbox.append(batch('next'), ['c'])
        await outbox.close()
        const again = await openOutbox(path.join(dir, 'outbox'))
        assert.deepEqual(inside(again), [['kept', ['a']], ['next', ['c']]])
        await again.close()
      } finally {
        execFileSync('umount', [dir])
      }
    })
  })
})

describe('outbox records', () => {
  it('come back as they were written, and stop at what is none', () => {
    const records = [{ kind: 'add' as const, keys: ['j/0/1/1', 'j/0/2/1'], batch: batch('x\n') }, { kind: 'remove' as const, keys: ['j/0/1/1'] }]
    const bytes = Uint8Array.from(Buffer.concat(records.map(encodeRecord)))
    assert.deepEqual(decodeRecords(bytes), { records, goodBytes: bytes.length })
    assert.deepEqual(decodeRecords(new Uint8Array(100)), { records: [], goodBytes: 0 })
    assert.deepEqual(decodeRecords(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0)), { records: [], goodBytes: 0 })
  })
})
