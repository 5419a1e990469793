import assert from 'node:assert/strict'
import { encode, prepare } from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { cidOf, linksOf } from '../../../src/blocks/cid.ts'
import { getObject, putObject } from '../../../src/blocks/object.ts'
import { openBlockStore } from '../../../src/blocks/store.ts'
import { withTempDir } from '../../support/temp-dir.ts'

/** The same bytes in every run, all different. */
function bytesOf (length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0, x = 1; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0
    bytes[i] = x >>> 24
  }
  return bytes
}

describe('objects', () => {
  it('are one raw block up to 1 MiB and a DAG of raw 1 MiB leaves beyond', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e8 })
      for (const [length, blocks] of [[0, 1], [1, 1], [1 << 20, 1], [(1 << 20) + 1, 3], [3_000_000, 4]] as const) {
        const bytes = bytesOf(length)
        const before = store.usage().count
        const object = await putObject(store, bytes)
        assert.equal(object.bytes, length)
        assert.equal(object.cid.startsWith(blocks === 1 ? 'bafkrei' : 'bafybei'), true)
        assert.equal(Buffer.compare(await getObject(store, object.cid), bytes), 0)
        // The first MiB is the same leaf every time.
        assert.ok(store.usage().count - before <= blocks)
      }
    })
  })

  it('have the CID that `ipfs add` with the profile unixfs-v1-2025 gives', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e8 })
      const leaves = [new Uint8Array(1 << 20), new Uint8Array(10)]
      const file = new UnixFS({ type: 'file', blockSizes: leaves.map(leaf => BigInt(leaf.length)) })
      const root = encode(prepare({ Data: file.marshal(), Links: leaves.map(leaf => ({ Name: '', Hash: CID.parse(cidOf(leaf)), Tsize: leaf.length })) }))
      assert.equal((await putObject(store, new Uint8Array((1 << 20) + 10))).cid, cidOf(root, 'dag-pb'))
    })
  })

  it('pin all their blocks for their owner as they are written', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 4e6 })
      await putObject(store, bytesOf(3_000_000), { owner: 'job', durable: true })
      assert.ok(store.room() < 1_000_000)
      await assert.rejects(putObject(store, new Uint8Array(2_000_000).fill(9), { owner: 'other' }), { code: 'BLOCK_STORE_FULL' })
      store.unpin('job')
      store.unpin('other')
      assert.equal(store.room(), 4e6)
    })
  })

  it('are refused above a limit, on the way in and on the way out', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e8 })
      await assert.rejects(putObject(store, bytesOf(11), { maxBytes: 10 }), { code: 'OBJECT_TOO_LARGE' })
      for (const length of [11, 2_000_000]) {
        const { cid } = await putObject(store, bytesOf(length))
        await assert.rejects(getObject(store, cid, length - 1), { code: 'OBJECT_TOO_LARGE' })
        assert.equal((await getObject(store, cid, length)).length, length)
      }
    })
  })

  it('say which block is missing', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e8 })
      const { cid } = await putObject(store, bytesOf(2_000_000))
      const links = linksOf(cid, (await store.get(cid))!)
      assert.ok(links.verdict === 'accept')
      await store.delete(links.value[1]!)
      await assert.rejects(getObject(store, cid), { code: 'BLOCK_MISSING', details: { cid: links.value[1]!, object: cid } })
      await assert.rejects(getObject(store, cidOf(bytesOf(3))), { code: 'BLOCK_MISSING' })
      await assert.rejects(getObject(store, 'bogus'), { code: 'OBJECT_MALFORMED' })
    })
  })

  it('that lie about their size or are no file are refused, not read', async () => {
    await withTempDir(async dir => {
      const store = await openBlockStore(dir, { maxBytes: 1e8 })
      const leaf = bytesOf(100)
      await store.put(leaf)
      const link = { Name: '', Hash: CID.parse(cidOf(leaf)), Tsize: 100 }
      const lies = [
        new UnixFS({ type: 'file', blockSizes: [500n] }),
        new UnixFS({ type: 'directory' })
      ]
      for (const lie of lies) {
        const cid = await store.put(encode(prepare({ Data: lie.marshal(), Links: [link] })), { codec: 'dag-pb' })
        await assert.rejects(getObject(store, cid, 1000), { code: 'OBJECT_MALFORMED' })
      }
      const huge = new UnixFS({ type: 'file', blockSizes: [1n << 60n] })
      const cid = await store.put(encode(prepare({ Data: huge.marshal(), Links: [link] })), { codec: 'dag-pb' })
      await assert.rejects(getObject(store, cid, 1000), { code: 'OBJECT_TOO_LARGE' })
    })
  })
})
