import assert from 'node:assert/strict'
import path from 'node:path'
import { linksOf } from '../../../src/blocks/cid.ts'
import { createExchange } from '../../../src/blocks/exchange.ts'
import type { Exchange, ExchangeLimits } from '../../../src/blocks/exchange.ts'
import { getObject, putObject } from '../../../src/blocks/object.ts'
import { openBlockStore } from '../../../src/blocks/store.ts'
import type { BlockStore } from '../../../src/blocks/store.ts'
import { createMemoryNet } from '../../support/memory-streams.ts'
import type { MemoryNet } from '../../support/memory-streams.ts'
import { withTempDir } from '../../support/temp-dir.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'

interface Member { peer: PeerIdStr, store: BlockStore, exchange: Exchange }
const never = new AbortController().signal

async function withMembers (names: string[], work: (members: Member[], net: MemoryNet) => Promise<void>, options: { limits?: Partial<ExchangeLimits>, maxBytes?: number[] } = {}): Promise<void> {
  await withTempDir(async dir => {
    const net = createMemoryNet()
    const members: Member[] = []
    for (const [i, name] of names.entries()) {
      const store = await openBlockStore(path.join(dir, name), { maxBytes: options.maxBytes?.[i] ?? 1e9 })
      const peer = name as PeerIdStr
      const exchange = createExchange({ overlay: net.overlay(peer), store, limits: { stallMs: 2000, ...options.limits } })
      await exchange.serve()
      members.push({ peer, store, exchange })
    }
    try {
      await work(members, net)
    } finally {
      for (const { exchange, store } of members) {
        exchange.stop()
        await store.close()
      }
    }
  })
}

function bytesOf (length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0, x = seed; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0
    bytes[i] = x >>> 24
  }
  return bytes
}

describe('block exchange', () => {
  it('fetches a block, and a whole DAG, byte for byte', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      for (const length of [0, 10, 5_000_000]) {
        const { cid } = await putObject(a!.store, bytesOf(length))
        await b!.exchange.fetch(cid, [a!.peer, b!.peer], never)
        assert.equal(Buffer.compare(await getObject(b!.store, cid), bytesOf(length)), 0)
      }
    })
  })

  it('does not ask for what is here already', async () => {
    await withMembers(['a', 'b'], async ([a, b], net) => {
      const { cid } = await putObject(a!.store, bytesOf(3_000_000))
      await b!.exchange.fetch(cid, [a!.peer], never)
      const links = linksOf(cid, (await b!.store.get(cid))!)
      assert.ok(links.verdict === 'accept')
      await b!.store.delete(links.value[1]!)
      const before = net.bytes
      await b!.exchange.fetch(cid, [a!.peer], never)
      assert.ok(net.bytes - before > 1 << 20 && net.bytes - before < 1.1 * (1 << 20), 'one leaf only')
      const after = net.bytes
      await b!.exchange.fetch(cid, [], never)
      assert.equal(net.bytes, after)
    })
  })

  it('shares one transfer between concurrent fetches', async () => {
    await withMembers(['a', 'b'], async ([a, b], net) => {
      const { cid } = await putObject(a!.store, bytesOf(3_000_000))
      await Promise.all(Array.from({ length: 10 }, async () => { await b!.exchange.fetch(cid, [a!.peer], never) }))
      assert.ok(net.bytes < 3_100_000, `${net.bytes} bytes for 10 fetches of 3 MB`)
    })
  })

  it('puts many small wants into few requests on at most two streams', async () => {
    await withMembers(['a', 'b'], async ([a, b], net) => {
      const cids: string[] = []
      for (let i = 0; i < 300; i++) cids.push((await putObject(a!.store, bytesOf(100, i))).cid)
      await Promise.all(cids.map(async cid => { await b!.exchange.fetch(cid, [a!.peer], never) }))
      assert.ok((net.opened.get(a!.peer) ?? 0) <= 2)
      assert.equal(b!.store.usage().count, 300)
    })
  })

  it('takes a DAG from several holders at once, each of which has a part of it only', async () => {
    await withMembers(['a', 'b', 'c'], async ([a, b, c], net) => {
      const bytes = bytesOf(8_000_000)
      const { cid } = await putObject(a!.store, bytes)
      await putObject(b!.store, bytes)
      const links = linksOf(cid, (await a!.store.get(cid))!)
      assert.ok(links.verdict === 'accept')
      for (const [i, link] of links.value.entries()) await (i % 2 === 0 ? a! : b!).store.delete(link)
      await c!.exchange.fetch(cid, [a!.peer, b!.peer], never)
      assert.equal(Buffer.compare(await getObject(c!.store, cid), bytes), 0)
      assert.ok((net.opened.get(a!.peer) ?? 0) > 0 && (net.opened.get(b!.peer) ?? 0) > 0)
    })
  })

  it('says BLOCK_MISSING with what each holder answered, at once', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      const { cid } = await putObject(b!.store, bytesOf(10))
      await b!.store.delete(cid)
      await assert.rejects(b!.exchange.fetch(cid, [a!.peer, 'nobody' as PeerIdStr, b!.peer], never),
        { code: 'BLOCK_MISSING', details: { cid, object: cid, tried: ['a', 'nobody'], reasons: { a: 'missing', nobody: 'NOT_CONNECTED' } } })
      await assert.rejects(b!.exchange.fetch(cid, [], never), { code: 'BLOCK_MISSING' })
    })
  })

  it('gives a second fetch its own holders when the shared transfer found none', async () => {
    await withMembers(['a', 'b', 'c'], async ([a, b, c]) => {
      const { cid } = await putObject(b!.store, bytesOf(10))
      const first = c!.exchange.fetch(cid, [a!.peer], never)
      const second = c!.exchange.fetch(cid, [b!.peer], never)
      await assert.rejects(first, { code: 'BLOCK_MISSING' })
      await second
      assert.equal(c!.store.has(cid), true)
    })
  })

  it('ends a fetch when its signal aborts, and not the one that shares its transfer', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      const { cid } = await putObject(a!.store, bytesOf(5_000_000))
      const stop = new AbortController()
      const aborted = b!.exchange.fetch(cid, [a!.peer], stop.signal)
      const other = b!.exchange.fetch(cid, [a!.peer], never)
      stop.abort(new Error('changed my mind'))
      await assert.rejects(aborted, { message: 'changed my mind' })
      await other
      await assert.rejects(b!.exchange.fetch(cid, [a!.peer], stop.signal), { message: 'changed my mind' })
    })
  })

  it('takes a corrupt stored block from another holder again', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      const { cid } = await putObject(a!.store, bytesOf(10))
      await b!.exchange.fetch(cid, [a!.peer], never)
      await b!.store.delete(cid)
      await b!.exchange.fetch(cid, [a!.peer], never)
      assert.equal(await b!.store.check(cid), true)
    })
  })

  it('pushes a block, and a whole DAG, and again without sending it twice', async () => {
    await withMembers(['a', 'b'], async ([a, b], net) => {
      for (const length of [0, 10, 5_000_000]) {
        const { cid } = await putObject(a!.store, bytesOf(length))
        await a!.exchange.push(cid, b!.peer, never)
        assert.equal(Buffer.compare(await getObject(b!.store, cid), bytesOf(length)), 0)
        const before = net.bytes
        await a!.exchange.push(cid, b!.peer, never)
        assert.ok(net.bytes - before < 1000)
      }
    })
  })

  it('keeps what was pushed through an eviction', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      const { cid } = await putObject(a!.store, bytesOf(900))
      await a!.exchange.push(cid, b!.peer, never)
      for (let i = 0; i < 20; i++) await b!.store.put(bytesOf(500, i + 2))
      assert.equal(b!.store.has(cid), true)
    }, { maxBytes: [1e6, 3000] })
  })

  it('refuses a push past what one sender may fill, and past its room, and still takes the next', async () => {
    await withMembers(['a', 'b', 'c'], async ([a, b, c]) => {
      const [big, half, small] = [await putObject(a!.store, bytesOf(1001)), await putObject(a!.store, bytesOf(900)), await putObject(a!.store, bytesOf(90))]
      await assert.rejects(a!.exchange.push(big.cid, b!.peer, never), { code: 'PEER_REFUSED', details: { peer: 'b', code: 'PUT_QUOTA' } })
      await a!.exchange.push(half.cid, b!.peer, never)
      await a!.exchange.push(small.cid, b!.peer, never)
      b!.store.pin((await putObject(b!.store, bytesOf(1000, 7))).cid, 'job')
      const other = await putObject(c!.store, bytesOf(500, 9))
      await assert.rejects(c!.exchange.push(other.cid, b!.peer, never), { code: 'PEER_REFUSED', details: { peer: 'b', code: 'BLOCK_STORE_FULL' } })
      b!.store.unpin('job')
      await c!.exchange.push(other.cid, b!.peer, never)
    }, { maxBytes: [1e6, 2000, 1e6] })
  })

  it('says BLOCK_MISSING on a push of what is not here', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      const { cid } = await putObject(b!.store, bytesOf(10))
      await assert.rejects(a!.exchange.push(cid, b!.peer, never), { code: 'BLOCK_MISSING' })
    })
  })

  it('names its own full store when a fetch does not fit, instead of blaming the holder', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      const { cid } = await putObject(a!.store, bytesOf(3_000_000))
      await assert.rejects(b!.exchange.fetch(cid, [a!.peer], never), { code: 'BLOCK_STORE_FULL' })
      const small = await putObject(a!.store, bytesOf(100))
      await b!.exchange.fetch(small.cid, [a!.peer], never)
    }, { maxBytes: [1e9, 2_000_000] })
  })

  it('serves more requesters than it has places, one after another', async () => {
    await withMembers(['a', 'b', 'c', 'd', 'e'], async ([a, ...others]) => {
      const cids: string[] = []
      for (let i = 0; i < 50; i++) cids.push((await putObject(a!.store, bytesOf(50_000, i))).cid)
      await Promise.all(others.flatMap(other => cids.map(async cid => { await other.exchange.fetch(cid, [a!.peer], never) })))
      for (const other of others) assert.equal(other.store.usage().count, 50)
    }, { limits: { maxServed: 1 } })
  })

  it('fails what is under way when it stops', async () => {
    await withMembers(['a', 'b'], async ([a, b]) => {
      const { cid } = await putObject(a!.store, bytesOf(8_000_000))
      const fetching = b!.exchange.fetch(cid, [a!.peer], never)
      b!.exchange.stop()
      await assert.rejects(fetching, { code: 'NODE_STOPPED' })
      await assert.rejects(b!.exchange.fetch(cid, [a!.peer], never), { code: 'NODE_STOPPED' })
    })
  })
})
