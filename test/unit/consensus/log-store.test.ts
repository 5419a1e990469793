import assert from 'node:assert/strict'
import { crc32c } from '../../../src/consensus/crc32c.ts'
import { openLogStore, type OpenedLog } from '../../../src/consensus/log-store.ts'
import type { Entry, HardState, RestoredState, SnapshotMeta } from '../../../src/consensus/types.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'

const INCARNATION = '00112233445566778899aabbccddeeff'
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const entry = (index: number, term: number, text = `entry ${index}`): Entry => ({ index, term, kind: 'normal', data: bytes(text) })
const state = (term: number, commit: number, votedFor = 'a'): HardState => ({ term, votedFor, commit })
const meta = (index: number, term: number): SnapshotMeta =>
  ({ index, term, conf: { voters: ['a', 'b', 'c'], votersOutgoing: ['a'], learners: ['d'], learnersNext: [], autoLeave: true } })

async function open (disk: MemoryDisk, options: { id?: string, segmentBytes?: number } = {}): Promise<OpenedLog> {
  return await openLogStore({ disk, id: options.id ?? 'a', freshIncarnation: INCARNATION, segmentBytes: options.segmentBytes ?? 1 << 20 })
}

/** Comparable, whatever view of memory the data are. */
const shown = (restored: RestoredState): unknown =>
  ({ ...restored, entries: restored.entries.map(({ index, term, kind, data }) => [index, term, kind, Buffer.from(data).toString()]) })

const code = (expected: string) => (error: unknown): boolean => (error as { code?: string }).code === expected

describe('crc32c', () => {
  it('computes the vectors of RFC 3720 B.4', () => {
    assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa)
    assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
    assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e)
    assert.equal(crc32c(bytes('123456789')), 0xe3069283)
  })

  it('continues from a seed', () => {
    assert.equal(crc32c(bytes('456789'), crc32c(bytes('123'))), crc32c(bytes('123456789')))
  })
})

describe('log store', () => {
  it('starts empty, and with the founders\' configuration where one is given', async () => {
    assert.deepEqual(shown((await open(new MemoryDisk())).restored), {
      hardState: { term: 0, votedFor: '', commit: 0 },
      snapshot: { index: 0, term: 0, conf: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false } },
      entries: [],
      applied: 0
    })
    const disk = new MemoryDisk()
    const bootstrap = { meta: meta(1, 1), data: bytes('genesis') }
    for (let round = 0; round < 2; round++) {
      const { restored, snapshotData, isFresh } = await openLogStore({ disk, id: 'a', freshIncarnation: INCARNATION, segmentBytes: 1 << 20, bootstrap })
      assert.deepEqual(restored, { hardState: { term: 1, votedFor: '', commit: 1 }, snapshot: meta(1, 1), entries: [], applied: 1 })
      assert.deepEqual(Buffer.from(snapshotData!).toString(), 'genesis')
      assert.equal(isFresh, round === 0)
    }
  })

  it('gives back what was appended, with the tail of an old term overwritten', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk)
    await store.append({ hardState: state(1, 0), entries: [entry(1, 1), entry(2, 1), entry(3, 1)] }, true)
    await store.append({ hardState: state(2, 1, 'b'), entries: [entry(2, 2, 'another')], peers: new Map([['b', 'ff'], ['c', 'ee']]) }, true)
    await store.append({ peers: new Map([['c', '']]) }, true)
    for (const closed of [false, true]) {
      if (closed) await store.close()
      const { restored, peers, repaired } = await open(disk.copy())
      assert.deepEqual(shown(restored), {
        hardState: state(2, 1, 'b'),
        snapshot: restored.snapshot,
        entries: [[1, 1, 'normal', 'entry 1'], [2, 2, 'normal', 'another']],
        applied: 0
      })
      assert.deepEqual([...peers], [['b', 'ff']])
      assert.equal(repaired, undefined)
    }
  })

  it('syncs once per batch, and not for a commit index alone', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk)
    disk.trace.length = 0
    await store.append({ hardState: state(1, 0), entries: [entry(1, 1), entry(2, 1)] }, true)
    await store.append({ hardState: state(1, 2) }, false)
    assert.equal(disk.trace.length, 1)
    await store.append({ hardState: state(2, 2, 'c') }, true)
    assert.equal(disk.trace.length, 2)
    assert.deepEqual((await open(disk.copy())).restored.hardState, state(2, 2, 'c'))
  })

  it('refuses entries that leave a gap or rewrite the snapshot, before anything is written', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk)
    await assert.rejects(store.append({ entries: [entry(2, 1)] }, true), code('LOG_MISUSED'))
  })

  it('begins after a snapshot and removes what is older, keeping the tail', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk, { segmentBytes: 200 })
    for (let i = 1; i <= 20; i++) await store.append({ hardState: state(1, i), entries: [entry(i, 1)] }, true)
    await store.writeSnapshot(meta(18, 1), bytes('state at 18'))
    await store.compact(meta(18, 1))
    const { restored, snapshotData } = await open(disk.copy())
    assert.equal(Buffer.from(snapshotData!).toString(), 'state at 18')
    assert.deepEqual(restored.snapshot, meta(18, 1))
    assert.deepEqual(restored.entries.map(({ index }) => index), [19, 20])
    assert.equal((await disk.list()).length, 3)
    await store.append({ hardState: state(2, 20), entries: [entry(21, 2)] }, true)
    assert.deepEqual((await open(disk.copy())).restored.entries.map(({ index }) => index), [19, 20, 21])
  })

  it('replaces the whole log by a leader\'s snapshot, together with the hard state', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk)
    await store.append({ hardState: state(1, 0), entries: [entry(1, 1), entry(2, 1)] }, true)
    await store.writeSnapshot(meta(50, 3), bytes('state at 50'))
    await store.replace(meta(50, 3), state(4, 50, 'c'))
    const { restored } = await open(disk.copy())
    assert.deepEqual(shown(restored), { hardState: state(4, 50, 'c'), snapshot: meta(50, 3), entries: [], applied: 50 })
    await store.append({ hardState: state(4, 51, 'c'), entries: [entry(51, 4)] }, true)
    assert.equal((await open(disk.copy())).restored.entries.length, 1)
  })

  it('keeps its use of the disk bounded without any snapshot where only terms change', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk, { segmentBytes: 4096 })
    for (let term = 1; term < 2000; term++) await store.append({ hardState: state(term, 0) }, true)
    assert.ok(disk.bytes < 10_000, `${disk.bytes} bytes`)
    assert.equal((await open(disk.copy())).restored.hardState.term, 1999)
  })

  it('keeps its use of the disk bounded where the same tail is overwritten for ever', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk, { segmentBytes: 4096 })
    for (let term = 1; term < 1000; term++) await store.append({ hardState: state(term, 0), entries: [entry(1, term)] }, true)
    assert.ok(disk.bytes < 10_000, `${disk.bytes} bytes`)
  })

  it('refuses a directory of another node', async () => {
    const disk = new MemoryDisk()
    await open(disk)
    await assert.rejects(open(disk, { id: 'b' }), code('LOG_FOREIGN'))
  })

  it('does not take a log without identity, or an identity without log, for a new node', async () => {
    for (const lost of ['identity', 'log-0000000000000001.seg']) {
      const disk = new MemoryDisk()
      await open(disk)
      disk.files.delete(lost)
      await assert.rejects(open(disk), code('LOG_CORRUPT'), lost)
    }
  })

  it('starts anew where its creation was interrupted', async () => {
    for (const operation of [1, 2]) {
      const disk = new MemoryDisk()
      let count = 0
      disk.fault = () => count++ === operation ? { code: 'LOG_DISK_FULL', written: 5 } : undefined
      await assert.rejects(open(disk), code('LOG_DISK_FULL'))
      disk.fault = () => undefined
      assert.equal((await open(disk)).restored.hardState.term, 0)
    }
  })
})

describe('log store on a failing disk', () => {
  for (const operation of ['write', 'sync'] as const) {
    for (const failure of ['LOG_IO_FAILED', 'LOG_DISK_FULL']) {
      it(`is poisoned by a failed ${operation} (${failure}) and recovers what was acknowledged`, async () => {
        const disk = new MemoryDisk()
        const { store } = await open(disk)
        await store.append({ hardState: state(1, 0), entries: [entry(1, 1)] }, true)
        disk.fault = (at) => at === operation ? { code: failure, written: 9 } : undefined
        await assert.rejects(store.append({ hardState: state(2, 1), entries: [entry(2, 2)] }, true), code(failure))
        disk.fault = () => undefined
        const before = disk.bytes
        await assert.rejects(store.append({ hardState: state(3, 1) }, true), code(failure))
        await store.close()
        assert.equal(disk.bytes, before, 'nothing is written after a failure')
        const { restored } = await open(disk)
        assert.deepEqual(restored.entries[0]?.index, 1)
        assert.ok(restored.entries.length === (operation === 'write' ? 1 : 2))
      })
    }
  }

  it('recovers from a failure at any single disk operation, with all that was acknowledged and nothing that was never written', async () => {
    for (let at = 0; ; at++) {
      const disk = new MemoryDisk()
      let count = 0
      let isHit = false
      disk.fault = () => {
        if (count++ !== at) return undefined
        isHit = true
        return { code: 'LOG_DISK_FULL', written: 3 }
      }
      let acknowledged = 0
      const run = async (): Promise<void> => {
        const { store } = await open(disk, { segmentBytes: 150 })
        for (let i = 1; i <= 12; i++) {
          await store.append({ hardState: state(1, i - 1), entries: [entry(i, 1)] }, true)
          acknowledged = i
          if (i % 5 !== 0) continue
          await store.writeSnapshot(meta(i - 1, 1), bytes(`state at ${i - 1}`))
          await store.compact(meta(i - 1, 1))
        }
      }
      await run().catch(error => { assert.equal((error as { code?: string }).code, 'LOG_DISK_FULL') })
      disk.fault = () => undefined
      const { restored } = await open(disk)
      const last = restored.snapshot.index + restored.entries.length
      assert.ok(last === acknowledged || last === acknowledged + 1, `operation ${at}: ${last} after ${acknowledged}`)
      if (!isHit) return
    }
  })
})

describe('log store with damaged files', () => {
  /** A log with two segments and a snapshot; `steps[n]` is what is restored when only the first n batches of the last segment survive. */
  async function build (): Promise<{ disk: MemoryDisk, last: string, steps: string[] }> {
    const disk = new MemoryDisk()
    const { store } = await open(disk, { segmentBytes: 300 })
    await store.append({ hardState: state(1, 0), entries: [entry(1, 1), entry(2, 1)] }, true)
    await store.writeSnapshot(meta(2, 1), bytes('state at 2'))
    await store.compact(meta(2, 1))
    await store.append({ hardState: state(1, 2), entries: [entry(3, 1, 'x'.repeat(170))] }, true)
    const names = await disk.list()
    assert.equal(names.filter(name => name.startsWith('log-')).length, 2, names.join(' '))
    const steps = [JSON.stringify(shown((await open(disk.copy())).restored))]
    for (const batch of [[entry(4, 1)], [entry(5, 1), entry(6, 1)], [entry(5, 2)]]) {
      await store.append({ hardState: state(batch[0]!.term, 3), entries: batch }, true)
      steps.push(JSON.stringify(shown((await open(disk.copy())).restored)))
    }
    return { disk, last: names.findLast(name => name.startsWith('log-'))!, steps }
  }

  async function outcome (disk: MemoryDisk): Promise<string> {
    try {
      const { restored, repaired } = await open(disk)
      const again = await open(disk)
      assert.equal(again.repaired, undefined, 'repaired once')
      assert.deepEqual(shown(again.restored), shown(restored))
      return JSON.stringify(shown(restored)) + (repaired === undefined ? '' : '+repaired')
    } catch (error) {
      const { code, next, details } = error as { code?: string, next?: string, details?: { file?: string, offset?: number } }
      assert.equal(code, 'LOG_CORRUPT', String(error))
      assert.ok(next !== '' && details?.file !== undefined && details.offset !== undefined)
      return code
    }
  }

  it('cut at every byte: a prefix of the batches of the last segment, or a refusal', async () => {
    const { disk, last, steps } = await build()
    for (const [name, whole] of disk.files) {
      for (let length = 0; length < whole.length; length++) {
        const cut = disk.copy()
        cut.files.set(name, whole.slice(0, length))
        const result = await outcome(cut)
        if (name === last && length >= 44) {
          assert.ok(steps.includes(result.replace('+repaired', '')), `${name} cut at ${length}: ${result}`)
        } else assert.equal(result, 'LOG_CORRUPT', `${name} cut at ${length}`)
      }
    }
  })

  it('any byte flipped in any way: all of it, or a refusal, or the last batch cut off and reported', async () => {
    const { disk, last, steps } = await build()
    for (const [name, whole] of disk.files) {
      for (let at = 0; at < whole.length; at++) {
        for (const flip of [0x01, 0x80, 0xff]) {
          const flipped = disk.copy()
          flipped.files.get(name)![at]! ^= flip
          const result = await outcome(flipped)
          if (result === 'LOG_CORRUPT') continue
          assert.equal(name, last, `${name} flipped at ${at}`)
          assert.equal(result, `${steps.at(-2)!}+repaired`, `${name} flipped at ${at}`)
        }
      }
    }
  })

  it('any byte flipped after a clean stop: all of it, or a refusal', async () => {
    const disk = new MemoryDisk()
    const { store } = await open(disk)
    await store.append({ hardState: state(1, 0), entries: [entry(1, 1), entry(2, 1)] }, true)
    await store.append({ hardState: state(1, 1), entries: [entry(3, 1)] }, true)
    await store.close()
    const expected = JSON.stringify(shown((await open(disk.copy())).restored))
    for (const [name, whole] of disk.files) {
      for (let at = 0; at < whole.length; at++) {
        const flipped = disk.copy()
        flipped.files.get(name)![at]! ^= 0xff
        const result = await outcome(flipped)
        assert.ok(result === 'LOG_CORRUPT' || result === `${expected}+repaired`, `${name} flipped at ${at}: ${result}`)
      }
    }
  })

  it('garbage after the end: cut off and reported', async () => {
    const { disk, last, steps } = await build()
    for (const garbage of [new Uint8Array(1), new Uint8Array(4096), bytes('CFRM and so on'), Uint8Array.from({ length: 300 }, (_, i) => i * 7)]) {
      const longer = disk.copy()
      longer.files.set(last, Buffer.concat([longer.files.get(last)!, garbage]))
      assert.equal(await outcome(longer), `${steps.at(-1)!}+repaired`)
    }
  })

  it('a missing file: a refusal', async () => {
    const { disk } = await build()
    for (const name of disk.files.keys()) {
      const less = disk.copy()
      less.files.delete(name)
      const result = await outcome(less)
      // without the newest segment nothing tells that there was one; only its directory entry, which was synced, did
      if (name === (await disk.list()).findLast(file => file.startsWith('log-'))) continue
      assert.equal(result, 'LOG_CORRUPT', name)
    }
  })

  it('a segment of another directory, or a frame of another segment: a refusal', async () => {
    const { disk, last } = await build()
    const other = new MemoryDisk()
    const { store } = await openLogStore({ disk: other, id: 'a', freshIncarnation: 'ff'.repeat(16), segmentBytes: 1 << 20 })
    await store.append({ hardState: state(9, 0) }, true)
    const strayed = disk.copy()
    strayed.files.set(last, other.files.get('log-0000000000000001.seg')!)
    assert.equal(await outcome(strayed), 'LOG_CORRUPT')
    const spliced = disk.copy()
    spliced.files.set(last, Buffer.concat([disk.files.get(last)!.slice(0, 44), other.files.get('log-0000000000000001.seg')!.slice(44)]))
    assert.notEqual(await outcome(spliced), JSON.stringify(state(9, 0)))
  })

  it('a format of the future: a refusal that says so', async () => {
    const disk = new MemoryDisk()
    await open(disk)
    const identity = disk.files.get('identity')!
    identity[8] = 2
    const view = new DataView(identity.buffer, identity.byteOffset)
    view.setUint32(identity.length - 4, crc32c(identity.subarray(0, -4)), true)
    await assert.rejects(open(disk), /format version 2/)
  })
})
