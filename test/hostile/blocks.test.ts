/**
 * A member that breaks `/conclave/blocks/1` in every way we could think of: whoever fetches from it or serves it neither stores anything
 * wrong, nor hangs, nor grows; and knows who it was.
 */
import assert from 'node:assert/strict'
import { cidBytes, cidOf } from '../../src/blocks/cid.ts'
import { CAR_END, CAR_HEADER, sectionHead, withLength } from '../../src/blocks/car.ts'
import { createExchange } from '../../src/blocks/exchange.ts'
import type { Exchange } from '../../src/blocks/exchange.ts'
import { encodeReply, encodeRequest } from '../../src/blocks/messages.ts'
import { putObject } from '../../src/blocks/object.ts'
import { openBlockStore } from '../../src/blocks/store.ts'
import type { BlockStore } from '../../src/blocks/store.ts'
import { createMemoryNet } from '../support/memory-streams.ts'
import type { MemoryNet, StreamHandler } from '../support/memory-streams.ts'
import { withTempDir } from '../support/temp-dir.ts'
import type { BoundedStream } from '../../src/overlay/overlay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

const EVIL = 'evil' as PeerIdStr
const HONEST = 'honest' as PeerIdStr
const STALL_MS = 150
const never = new AbortController().signal

const block = new TextEncoder().encode('what was asked for')
const cid = cidOf(block)
const agreed = withLength(encodeReply({}))
const section = (name: string, bytes: Uint8Array): Uint8Array => Buffer.concat([sectionHead(name, bytes.length), bytes])

interface Scene { store: BlockStore, exchange: Exchange, net: MemoryNet, bad: Array<{ sender: PeerIdStr, cid: string }> }

async function onScene (work: (scene: Scene) => Promise<void>): Promise<void> {
  await withTempDir(async dir => {
    const net = createMemoryNet()
    const store = await openBlockStore(dir, { maxBytes: 50e6 })
    const bad: Scene['bad'] = []
    const exchange = createExchange({ overlay: net.overlay(HONEST), store, limits: { stallMs: STALL_MS, idleMs: STALL_MS }, onBadBlock: event => { bad.push(event) } })
    await exchange.serve()
    try {
      await work({ store, exchange, net, bad })
    } finally {
      exchange.stop()
      await store.close()
    }
  })
}

/** Reads what comes for ever; a hostile peer may be polite there. */
const drain = async (stream: BoundedStream): Promise<void> => { for await (const chunk of stream.source) assert.ok(chunk.length > 0) }

/** A holder that answers every request with these bytes and then does nothing. */
const answers = (...parts: Uint8Array[]): StreamHandler => async stream => {
  for (const part of parts) await stream.write(part)
  await drain(stream)
}

describe('a hostile holder', () => {
  const cases: Array<{ does: string, handler: StreamHandler, reason: string }> = [
    { does: 'sends other bytes for the block', handler: answers(agreed, CAR_HEADER, section(cid, new TextEncoder().encode('something else'))), reason: 'BLOCK_BAD' },
    { does: 'sends a block that nobody asked for', handler: answers(agreed, CAR_HEADER, section(cidOf(Uint8Array.of(1)), Uint8Array.of(1))), reason: 'BLOCKS_PROTOCOL' },
    { does: 'sends a block under an identity CID', handler: answers(agreed, CAR_HEADER, withLength(Uint8Array.of(1, 0x55, 0, 2, 1, 1))), reason: 'BLOCKS_PROTOCOL' },
    { does: 'says nothing', handler: drain, reason: 'BLOCKS_STALLED' },
    { does: 'stops within a block', handler: answers(agreed, CAR_HEADER, section(cid, block).subarray(0, 45)), reason: 'BLOCKS_STALLED' },
    { does: 'ends the stream within a block', handler: async stream => { await stream.write(Buffer.concat([agreed, CAR_HEADER, section(cid, block).subarray(0, 45)])) }, reason: 'STREAM_CLOSED' },
    { does: 'ends the stream at once', handler: async () => {}, reason: 'STREAM_CLOSED' },
    { does: 'resets the stream', handler: async stream => { stream.abort(new Error('bang')) }, reason: 'STREAM_RESET' },
    { does: 'announces a huge frame', handler: answers(Uint8Array.of(0xff, 0xff, 0xff, 0x7f)), reason: 'BLOCKS_PROTOCOL' },
    { does: 'announces a huge CAR header', handler: answers(agreed, Uint8Array.of(0x81, 0x08)), reason: 'BLOCKS_PROTOCOL' },
    { does: 'announces a huge section', handler: answers(agreed, CAR_HEADER, Uint8Array.of(0xff, 0xff, 0xff, 0x7f)), reason: 'BLOCKS_PROTOCOL' },
    { does: 'announces a length that never ends', handler: answers(agreed, CAR_HEADER, new Uint8Array(100).fill(0xff)), reason: 'BLOCKS_PROTOCOL' },
    { does: 'sends a CAR header that is noise', handler: answers(agreed, withLength(new Uint8Array(10).fill(0xff))), reason: 'BLOCKS_PROTOCOL' },
    { does: 'sends a CAR v2', handler: answers(agreed, Buffer.from('0aa16776657273696f6e02', 'hex')), reason: 'BLOCKS_PROTOCOL' },
    { does: 'neither sends the block nor says that it is missing', handler: answers(agreed, CAR_HEADER, CAR_END, agreed), reason: 'BLOCKS_PROTOCOL' },
    { does: 'answers with noise', handler: answers(withLength(Uint8Array.of(0xff, 0xff))), reason: 'BLOCKS_PROTOCOL' },
    { does: 'refuses', handler: answers(withLength(encodeReply({ code: 'BLOCKS_BUSY', message: 'no' }))), reason: 'PEER_REFUSED' }
  ]

  for (const { does, handler, reason } of cases) {
    it(`that ${does} is told apart (${reason}), and the next holder is asked`, async () => {
      await onScene(async ({ store, exchange, net, bad }) => {
        await net.overlay(EVIL).handleStream('', 'blocks', handler)
        await assert.rejects(exchange.fetch(cid, [EVIL], never), { code: 'BLOCK_MISSING', details: { cid, object: cid, tried: [EVIL], reasons: { [EVIL]: reason } } })
        assert.equal(store.usage().count, 0)
        assert.deepEqual(bad, reason === 'BLOCK_BAD' ? [{ sender: EVIL, cid }] : [])
        await withTempDir(async dir => {
          const good = await openBlockStore(dir, { maxBytes: 1e6 })
          await good.put(block)
          const other = createExchange({ overlay: net.overlay('good' as PeerIdStr), store: good })
          await other.serve()
          await exchange.fetch(cid, [EVIL, 'good' as PeerIdStr], never)
          other.stop()
        })
        assert.deepEqual(await store.get(cid), Buffer.from(block))
      })
    })
  }

  it('that sends without end is cut off after what was asked for', async () => {
    await onScene(async ({ store, exchange, net }) => {
      let isCut = false
      await net.overlay(EVIL).handleStream('', 'blocks', async stream => {
        await stream.write(Buffer.concat([agreed, CAR_HEADER]))
        try {
          for (let i = 0; ; i++) await stream.write(i === 0 ? section(cid, block) : section(cidOf(Uint8Array.of(i, i >> 8)), Uint8Array.of(i, i >> 8)))
        } catch {
          isCut = true
        }
      })
      await exchange.fetch(cid, [EVIL], never)
      assert.equal(store.usage().count, 1)
      await assert.rejects(exchange.fetch(cidOf(Uint8Array.of(9)), [EVIL], never), { code: 'BLOCK_MISSING' })
      assert.equal(isCut, true)
    })
  })

  it('that drips a block byte by byte does not hold the fetch', async () => {
    await onScene(async ({ exchange, net }) => {
      const large = new Uint8Array(1 << 20)
      const slow = cidOf(large)
      await net.overlay(EVIL).handleStream('', 'blocks', async stream => {
        await stream.write(Buffer.concat([agreed, CAR_HEADER, sectionHead(slow, large.length)]))
        try {
          for (let i = 0; i < 100; i++) {
            await stream.write(Uint8Array.of(0))
            await new Promise(resolve => { setTimeout(resolve, 10) })
          }
        } catch { /* cut off: as it should be */ }
      })
      const before = performance.now()
      await assert.rejects(exchange.fetch(slow, [EVIL], never), { code: 'BLOCK_MISSING', details: { cid: slow, object: slow, tried: [EVIL], reasons: { [EVIL]: 'BLOCKS_STALLED' } } })
      assert.ok(performance.now() - before < 10 * STALL_MS)
    })
  })

  it('cannot make a fetch walk a DAG without end', async () => {
    await onScene(async ({ store, net }) => {
      const exchange = createExchange({ overlay: net.overlay('small' as PeerIdStr), store, limits: { maxObjectBlocks: 3 } })
      const object = await putObject(store, Buffer.concat(Array.from({ length: 4 }, (_, i) => new Uint8Array(1 << 20).fill(i))))
      await assert.rejects(exchange.fetch(object.cid, [], never), { code: 'OBJECT_TOO_LARGE' })
      exchange.stop()
    })
  })
})

describe('a hostile requester', () => {
  async function send (net: MemoryNet, ...parts: Uint8Array[]): Promise<{ bytes: Uint8Array, error: unknown }> {
    const stream = await net.overlay(EVIL).openStream(HONEST, '', never)
    const chunks: Uint8Array[] = []
    const reading = (async () => { for await (const chunk of stream.source) chunks.push(chunk) })()
    let error: unknown
    try {
      for (const part of parts) await stream.write(part)
      await reading
    } catch (cause) {
      error = cause
      await reading.catch(() => undefined)
    }
    return { bytes: Buffer.concat(chunks), error }
  }
  const request = (kind: 'want' | 'put', cids: string[], bytes = 0): Uint8Array => withLength(encodeRequest(kind === 'want' ? { kind, cids } : { kind, cids, bytes }))

  const cases: Array<{ does: string, parts: Uint8Array[] }> = [
    { does: 'sends noise', parts: [new Uint8Array(1000).fill(0x41)] },
    { does: 'sends a huge frame', parts: [Uint8Array.of(0xff, 0xff, 0x7f), new Uint8Array(100_000)] },
    { does: 'asks for nothing', parts: [withLength(new Uint8Array(0))] },
    { does: 'says nothing', parts: [] },
    { does: 'stops within a request', parts: [request('want', [cid]).subarray(0, 10)] },
    { does: 'announces a put and sends nothing', parts: [request('put', [cid], block.length)] },
    { does: 'puts other bytes', parts: [request('put', [cid], block.length), CAR_HEADER, section(cid, new TextEncoder().encode('what was not asked')), CAR_END] },
    { does: 'puts another block', parts: [request('put', [cid], block.length), CAR_HEADER, section(cidOf(Uint8Array.of(1)), Uint8Array.of(1)), CAR_END] },
    { does: 'puts more than it announced', parts: [request('put', [cid], 1), CAR_HEADER, section(cid, block), CAR_END] },
    { does: 'puts less than it announced', parts: [request('put', [cid], block.length), CAR_HEADER, CAR_END] },
    { does: 'puts dag-pb that is none', parts: [request('put', [cidOf(block, 'dag-pb')], block.length), CAR_HEADER, section(cidOf(block, 'dag-pb'), block), CAR_END] }
  ]

  for (const { does, parts } of cases) {
    it(`that ${does} is cut off, stores nothing, and keeps nobody else waiting`, async () => {
      await onScene(async ({ store, net, bad }) => {
        await send(net, ...parts)
        assert.equal(store.usage().count, 0)
        assert.equal(store.room(), 50e6, 'nothing stays pinned')
        if (does.startsWith('puts other') || does.startsWith('puts dag-pb')) assert.equal(bad[0]?.sender, EVIL)
        await store.put(block)
        await withTempDir(async dir => {
          const other = createExchange({ overlay: net.overlay('good' as PeerIdStr), store: await openBlockStore(dir, { maxBytes: 1e6 }) })
          await other.fetch(cid, [HONEST], never)
          other.stop()
        })
      })
    })
  }

  it('that asks and does not read is cut off, whatever it asked for', async () => {
    await onScene(async ({ store, net }) => {
      const cids = []
      for (let i = 0; i < 10; i++) cids.push(await store.put(new Uint8Array(1 << 20).fill(i)))
      const stream = await net.overlay(EVIL).openStream(HONEST, '', never)
      await stream.write(request('want', cids))
      await new Promise(resolve => { setTimeout(resolve, 3 * STALL_MS) })
      await assert.rejects(drain(stream), { code: 'STREAM_RESET' })
    })
  })

  it('that asks for what is not there is told so', async () => {
    await onScene(async ({ net }) => {
      const { bytes } = await send(net, request('want', [cid]))
      assert.deepEqual(bytes, Buffer.concat([agreed, CAR_HEADER, CAR_END, withLength(encodeReply({ cids: [cid] }))]))
      assert.ok(Buffer.from(bytes).includes(Buffer.from(cidBytes(cid))))
    })
  })
})
