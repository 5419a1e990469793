/**
 * Blocks on real disks and real connections: what a kill leaves behind, a disk that is full, bulk between overlays.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { cidOf } from '../../src/blocks/cid.ts'
import { createExchange } from '../../src/blocks/exchange.ts'
import { getObject, putObject } from '../../src/blocks/object.ts'
import { openBlockStore } from '../../src/blocks/store.ts'
import { withTempDir } from '../support/temp-dir.ts'
import { Mesh, addrOf, join } from './overlay-fixture.ts'
import type { LogEvent } from '../../src/overlay/overlay.ts'

/** Bytes without two equal blocks. */
function numbers (length: number, first = 0): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i += 4) bytes.writeUInt32LE(first + i, i)
  return bytes
}

const CHILD = path.join(import.meta.dirname, '../support/blocks-child.ts')

describe('block store on disk', () => {
  it('has every acknowledged block and no wrong one after kill -9 in the middle of puts, five times', async () => {
    await withTempDir(async dir => {
      const acknowledged = new Set<number>()
      const started = new Set<number>()
      for (let round = 0; round < 5; round++) {
        const child = spawn(process.execPath, [CHILD, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
        const exited = once(child, 'exit')
        const target = acknowledged.size + 20 + 7 * round
        for await (const line of createInterface({ input: child.stdout })) {
          if (line.startsWith('=')) acknowledged.add(Number(line.slice(1)))
          else started.add(Number(line.slice(1)))
          if (acknowledged.size >= target || (round > 0 && line === `=${20 + 5 * round}`)) child.kill('SIGKILL')
        }
        await exited
        const events: LogEvent[] = []
        const store = await openBlockStore(dir, { maxBytes: 1e9, log: event => { events.push(event) } })
        for (const i of started) {
          const bytes = Buffer.alloc(50_000, `${i},`)
          const found = await store.get(cidOf(bytes))
          if (acknowledged.has(i)) assert.ok(found !== undefined, `block ${i} was acknowledged`)
          if (found !== undefined) assert.equal(Buffer.compare(found, bytes), 0)
        }
        assert.deepEqual(events, [], 'nothing had to be quarantined')
        assert.deepEqual(await fs.readdir(path.join(dir, 'tmp')), [])
        await store.close()
      }
    })
  })

  it('says DISK_FULL on a full disk, keeps what it had, and goes on when there is room', async function fullDisk () {
    await withTempDir(async dir => {
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', dir], { stdio: 'ignore' })
      } catch {
        console.log('      (skipped: a small file system can be mounted by root only)')
        this.skip()
      }
      try {
        const store = await openBlockStore(path.join(dir, 'blocks'), { maxBytes: 1e9 })
        const kept = await store.put(Buffer.alloc(200_000, 'kept'), { durable: true })
        const failures = await Promise.allSettled(Array.from({ length: 10 }, async (_, i) => await store.put(Buffer.alloc(300_000, `${i}`), { durable: true })))
        const refused = failures.filter(result => result.status === 'rejected')
        assert.ok(refused.length >= 7)
        for (const { reason } of refused) {
          assert.equal(reason.code, 'DISK_FULL')
          assert.match(reason.next, /Free some space/)
        }
        assert.deepEqual(await fs.readdir(path.join(dir, 'blocks/tmp')), [])
        assert.deepEqual(await store.get(kept), Buffer.alloc(200_000, 'kept'))
        await assert.rejects(putObject(store, Buffer.alloc(3_000_000, 'dag'), { owner: 'job' }), { code: 'DISK_FULL' })
        for (const result of failures) if (result.status === 'fulfilled') await store.delete(result.value)
        store.unpin('job')
        for (let i = 0; i < 2; i++) await store.delete(cidOf(Buffer.alloc(1 << 20, 'dag')))
        assert.ok(store.has(await store.put(Buffer.alloc(300_000, 'again'), { durable: true })))
        await store.close()
      } finally {
        execFileSync('umount', [dir])
      }
    })
  })
})

describe('block exchange between overlays', () => {
  const mesh = new Mesh()
  afterEach(async () => { await mesh.stop() })

  it('moves objects both ways, from two holders at once, and refuses a store that is full', async () => {
    await withTempDir(async dir => {
      const overlays = await mesh.star(3)
      await join(overlays[1]!, overlays[2]!)
      const members = []
      for (const [i, overlay] of overlays.entries()) {
        const store = await openBlockStore(path.join(dir, String(i)), { maxBytes: i === 0 ? 1e9 : 60e6 })
        const exchange = createExchange({ overlay, store })
        await exchange.serve()
        members.push({ peer: overlay.peerId, store, exchange })
      }
      const [a, b, c] = members
      const signal = AbortSignal.timeout(15_000)
      const bytes = numbers(20_000_000)
      const { cid } = await putObject(a!.store, bytes)
      await a!.exchange.push(cid, b!.peer, signal)
      assert.equal(Buffer.compare(await getObject(b!.store, cid), bytes), 0)
      await c!.exchange.fetch(cid, [a!.peer, b!.peer], signal)
      assert.equal(Buffer.compare(await getObject(c!.store, cid), bytes), 0)

      const small = []
      for (let i = 0; i < 500; i++) small.push((await putObject(c!.store, Buffer.from(`block ${i}`))).cid)
      await Promise.all(small.map(async name => { await a!.exchange.fetch(name, [c!.peer, b!.peer], signal) }))
      for (const name of small) assert.equal(await a!.store.check(name), true)

      const huge = await putObject(a!.store, numbers(50_000_000, 7))
      await assert.rejects(a!.exchange.push(huge.cid, b!.peer, signal), { code: 'PEER_REFUSED' })
      for (const { exchange } of members) exchange.stop()
    })
  })

  it('gives up a holder that dies in the middle, and ends with the other', async () => {
    await withTempDir(async dir => {
      const overlays = await mesh.star(3)
      const members = []
      for (const [i, overlay] of overlays.entries()) {
        const store = await openBlockStore(path.join(dir, String(i)), { maxBytes: 1e9 })
        const exchange = createExchange({ overlay, store })
        await exchange.serve()
        members.push({ peer: overlay.peerId, overlay, store, exchange })
      }
      const [a, b, c] = members
      assert.ok(addrOf(a!.overlay) !== '')
      const bytes = numbers(60_000_000)
      const { cid } = await putObject(b!.store, bytes)
      await putObject(c!.store, bytes)
      await join(b!.overlay, c!.overlay)
      const fetching = a!.exchange.fetch(cid, [b!.peer, c!.peer], AbortSignal.timeout(15_000))
      while (a!.store.usage().count < 5) await new Promise(resolve => { setImmediate(resolve) })
      await b!.overlay.stop()
      await fetching
      assert.equal(Buffer.compare(await getObject(a!.store, cid), bytes), 0)
      for (const { exchange } of members) exchange.stop()
    })
  })
})
