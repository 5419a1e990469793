import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { encode, prepare } from '@ipld/dag-pb'
import { CID } from 'multiformats/cid'
import { cidOf } from '../../../src/blocks/cid.ts'
import { MAX_BLOCK_BYTES, openBlockStore } from '../../../src/blocks/store.ts'
import type { LogEvent } from '../../../src/overlay/overlay.ts'
import { withTempDir } from '../../support/temp-dir.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const fill = (byte: number, length = 100): Uint8Array => new Uint8Array(length).fill(byte)
const fileOf = (dir: string, cid: string): string => path.join(dir, cid.at(-2)!, cid)

describe('block store', () => {
  it('gives back what was put, by the CID that ipfs would give it', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e6 })
      const cid = await store.put(text('hello world'))
      assert.equal(cid, 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e')
      assert.deepEqual(await store.get(cid), Buffer.from('hello world'))
      assert.equal(store.has(cid), true)
      assert.deepEqual(store.usage(), { bytes: 11, count: 1, maxBytes: 1e6 })
    })
  })

  it('says absent for what it does not have, whatever the name', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e6 })
      for (const name of [cidOf(text('x')), '', '../../etc/passwd', 'tmp']) {
        assert.equal(await store.get(name), undefined)
        assert.equal(store.has(name), false)
        await store.delete(name)
      }
    })
  })

  it('finds its blocks again after a restart, and cleans up what was being written', async () => {
    await withTempDir(async dir => {
      const first = await openBlockStore(dir, { maxBytes: 1e6 })
      const cid = await first.put(text('kept'))
      await first.close()
      await fs.writeFile(path.join(dir, 'tmp', '7'), 'half a blo')
      await fs.writeFile(path.join(dir, 'a', 'not-a-cid'), 'x')
      const second = await openBlockStore(dir, { maxBytes: 1e6 })
      assert.deepEqual(await second.get(cid), Buffer.from('kept'))
      assert.deepEqual(second.usage(), { bytes: 4, count: 1, maxBytes: 1e6 })
      assert.deepEqual(await fs.readdir(path.join(dir, 'tmp')), [])
    })
  })

  it('treats a stored block as absent, never as something else, after any one of its bytes flipped', async () => {
    await withTempDir(async dir => {
      const block = text('every single byte of this matters')
      const events: LogEvent[] = []
      const store = await openBlockStore(dir, { maxBytes: 1e6, log: event => { events.push(event) } })
      const cid = await store.put(block)
      for (let at = 0; at < block.length; at++) {
        const wrong = Uint8Array.from(block)
        wrong[at]! ^= 1 << (at % 8)
        await fs.writeFile(fileOf(dir, cid), wrong)
        assert.equal(await store.get(cid), undefined, `byte ${at}`)
        assert.equal(store.has(cid), false)
        assert.deepEqual(store.usage(), { bytes: 0, count: 0, maxBytes: 1e6 })
        assert.equal(await store.put(block), cid)
        assert.deepEqual(await store.get(cid), Buffer.from(block))
      }
      assert.equal(events.filter(event => event.event === 'block:quarantine').length, block.length)
      assert.deepEqual(await fs.readdir(path.join(dir, 'quarantine')), [cid])
    })
  })

  it('treats a block cut at any length, or gone, as absent', async () => {
    await withTempDir(async dir => {
      const block = text('0123456789')
      const store = await openBlockStore(dir, { maxBytes: 1e6 })
      const cid = await store.put(block)
      for (let length = 0; length < block.length; length++) {
        await fs.writeFile(fileOf(dir, cid), block.subarray(0, length))
        assert.equal(await store.get(cid), undefined)
        await store.put(block)
      }
      await fs.rm(fileOf(dir, cid))
      assert.equal(await store.get(cid), undefined)
      assert.equal(store.has(cid), false)
    })
  })

  it('does not believe a block of an earlier run before it is acknowledged again', async () => {
    await withTempDir(async dir => {
      const first = await openBlockStore(dir, { maxBytes: 1e6 })
      const cid = await first.put(text('precious'))
      await first.close()
      await fs.writeFile(fileOf(dir, cid), 'precioux')
      const second = await openBlockStore(dir, { maxBytes: 1e6 })
      await second.put(text('precious'), { durable: true })
      assert.deepEqual(await second.get(cid), Buffer.from('precious'))
    })
  })

  it('evicts the least recently used unpinned blocks past its budget', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 300 })
      const [a, b, c] = [await store.put(fill(1)), await store.put(fill(2)), await store.put(fill(3))]
      await store.get(a)
      store.pin(b, 'job')
      const d = await store.put(fill(4))
      assert.deepEqual([a, b, c, d].map(cid => store.has(cid)), [true, true, false, true])
      await assert.rejects(fs.stat(fileOf(dir, c)))
      assert.equal(store.usage().bytes, 300)
    })
  })

  it('refuses with BLOCK_STORE_FULL when all is pinned, and goes on when an owner lets go', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 200 })
      for (const byte of [1, 2]) {
        const cid = await store.put(fill(byte))
        store.pin(cid, 'one')
        store.pin(cid, 'two')
      }
      assert.equal(store.room(), 0)
      await assert.rejects(store.put(fill(3)), { code: 'BLOCK_STORE_FULL' })
      store.unpin('one')
      await assert.rejects(store.put(fill(3)), { code: 'BLOCK_STORE_FULL' })
      store.unpin('two')
      store.unpin('two')
      assert.equal(store.room(), 200)
      await store.put(fill(3))
      assert.equal(store.usage().count, 2)
    })
  })

  it('keeps the budget while many are put at once, and stores the same block once', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1000 })
      await Promise.all(Array.from({ length: 200 }, async (_, i) => await store.put(fill(i % 50))))
      assert.ok(store.usage().bytes <= 1000)
      assert.equal(store.usage().count, 10)
      let onDisk = 0
      for (const entry of await fs.readdir(dir, { recursive: true, withFileTypes: true })) if (entry.isFile()) onDisk++
      assert.equal(onDisk, 10)
    })
  })

  it('pins what a pinned block links to, whichever comes first, after a restart too', async () => {
    await withTempDir(async dir => {
      const leaves = [fill(1), fill(2)]
      const node = encode(prepare({ Data: new Uint8Array(0), Links: leaves.map((leaf, i) => ({ Name: String(i), Hash: CID.parse(cidOf(leaf)), Tsize: 100 })) }))
      const root = cidOf(node, 'dag-pb')
      const first = await openBlockStore(dir, { maxBytes: 1000 })
      await first.put(leaves[0]!)
      first.pin(root, 'job')
      await first.put(node, { codec: 'dag-pb' })
      await first.put(leaves[1]!)
      assert.equal(first.room(), 1000 - 200 - node.length)
      await first.close()
      const second = await openBlockStore(dir, { maxBytes: 1000 })
      second.pin(root, 'job')
      assert.equal(second.room(), 1000 - 200 - node.length)
      second.unpin('job')
      assert.equal(second.room(), 1000)
    })
  })

  it('refuses what is no block: too large, other bytes than expected, dag-pb that is none', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e8 })
      await store.put(new Uint8Array(MAX_BLOCK_BYTES))
      await assert.rejects(store.put(new Uint8Array(MAX_BLOCK_BYTES + 1)), { code: 'BLOCK_TOO_LARGE' })
      await assert.rejects(store.put(text('a'), { expect: cidOf(text('b')) }), { code: 'BLOCK_BAD' })
      await assert.rejects(store.put(text('not protobuf'), { codec: 'dag-pb' }), { code: 'BLOCK_MALFORMED' })
      assert.equal(store.usage().count, 1)
    })
  })

  it('refuses every put after close', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e6 })
      const pending = store.put(text('in flight'), { durable: true })
      await store.close()
      await store.close()
      assert.equal(store.has(await pending), true)
      await assert.rejects(store.put(text('late')), { code: 'BLOCK_STORE_CLOSED' })
    })
  })

  it('makes a block durable that was put in passing before', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e6 })
      const cid = await store.put(text('x'))
      assert.equal(await store.put(text('x'), { durable: true }), cid)
      assert.deepEqual(await store.get(cid), Buffer.from('x'))
    })
  })
})
