import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Mesh, soon } from './overlay-fixture.ts'
import type { TestOverlay } from './overlay-fixture.ts'
import type { BoundedStream } from '../../src/overlay/overlay.ts'

const BULK = '/conclave/test-bulk/1'
const FRAMES = '/conclave/test-frames/1'
const MiB = 2 ** 20

async function readAll (source: AsyncIterable<Uint8Array>): Promise<{ bytes: number, digest: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of source) {
    hash.update(chunk)
    bytes += chunk.byteLength
  }
  return { bytes, digest: hash.digest('hex') }
}

describe('overlay bulk streams', () => {
  const mesh = new Mesh()
  let server: TestOverlay
  let client: TestOverlay

  beforeEach(async () => { [server, client] = await mesh.pair({ limits: { maxBulkStreams: 4 } }) })
  afterEach(async () => { await mesh.stop() })

  it('carry 64 MiB each way at once, unharmed', async () => {
    const block = new Uint8Array(MiB).map((_, index) => index * 31)
    const hash = createHash('sha256')
    for (let count = 0; count < 64; count++) hash.update(block)
    const sent = hash.digest('hex')
    const send = async (stream: BoundedStream): Promise<void> => {
      for (let count = 0; count < 64; count++) await stream.write(block)
      await stream.close()
    }
    const received = Promise.withResolvers<{ bytes: number, digest: string }>()
    await server.handleStream(BULK, 'blocks', async stream => {
      const [got] = await Promise.all([readAll(stream.source), send(stream)])
      received.resolve(got)
    })
    const stream = await client.openStream(server.peerId, BULK, soon())
    const [got] = await Promise.all([readAll(stream.source), send(stream)])
    assert.deepEqual(got, { bytes: 64 * MiB, digest: sent })
    assert.deepEqual(await received.promise, { bytes: 64 * MiB, digest: sent })
  })

  it('hold the writer back while the reader stands still: less than 6 MiB are on the way', async () => {
    const go = Promise.withResolvers<void>()
    const done = Promise.withResolvers<number>()
    await server.handleStream(BULK, 'blocks', async stream => {
      await go.promise
      done.resolve((await readAll(stream.source)).bytes)
    })
    const stream = await client.openStream(server.peerId, BULK, soon())
    const block = new Uint8Array(64 * 1024)
    let written = 0
    // the writer stands still once a write does not finish in a while; an event that does not come has no event
    while (await Promise.race([stream.write(block).then(() => true), new Promise<boolean>(resolve => setTimeout(resolve, 400, false))])) {
      written += block.byteLength
      assert.ok(written < 32 * MiB, 'the writer is not held back')
    }
    assert.ok(written >= 256 * 1024, `${written} bytes`)
    assert.ok(written < 6 * MiB, `${written} bytes`)
    go.resolve()
    await stream.close()
    assert.equal(await done.promise, written + block.byteLength)
  })

  it('do not hold up requests while one of them is full', async () => {
    await server.handle('/conclave/test-echo/1', 'member', async request => request)
    const over = Promise.withResolvers<void>()
    await server.handleStream(BULK, 'blocks', async () => { await over.promise })
    const stream = await client.openStream(server.peerId, BULK, soon())
    const writing = stream.write(new Uint8Array(16 * MiB)).catch(() => undefined)
    await client.request(server.peerId, '/conclave/test-echo/1', new Uint8Array(8), { timeoutMs: 2_000 })
    stream.abort(new Error('enough'))
    over.resolve()
    await writing
  })

  it('half-close: an answer follows the end of the question', async () => {
    await server.handleStream(BULK, 'blocks', async stream => {
      const { bytes } = await readAll(stream.source)
      await stream.write(Buffer.from(`${bytes} bytes`))
    })
    const stream = await client.openStream(server.peerId, BULK, soon())
    await stream.write(new Uint8Array(1_234))
    await stream.close()
    const chunks: Uint8Array[] = []
    for await (const chunk of stream.source) chunks.push(chunk)
    assert.equal(Buffer.concat(chunks).toString(), '1234 bytes')
  })

  it('end for a handler that returns without reading, and leak nothing', async () => {
    await server.handleStream(BULK, 'blocks', async stream => { await stream.write(Buffer.from('no')) })
    for (let count = 0; count < 20; count++) {
      const stream = await client.openStream(server.peerId, BULK, soon())
      await stream.write(new Uint8Array(10))
      assert.equal((await readAll(stream.source)).bytes, 2)
      await stream.close()
    }
  })

  it('fail at the reader, and end no earlier as if all were there, when the writer aborts, throws or stops', async () => {
    for (const end of ['abort', 'throw', 'stop'] as const) {
      const [from, to] = await mesh.pair()
      await from.handleStream(BULK, 'blocks', async stream => {
        await stream.write(new Uint8Array(100_000))
        if (end === 'abort') stream.abort(new Error('enough'))
        if (end === 'throw') throw new Error('broken')
        if (end === 'stop') { void from.stop(); await new Promise(() => undefined) }
      })
      const stream = await to.openStream(from.peerId, BULK, soon())
      await assert.rejects(readAll(stream.source), { code: 'STREAM_CLOSED' }, end)
    }
  })

  it('fail at the writer when the reader is gone', async () => {
    await server.handleStream(BULK, 'blocks', async stream => { stream.abort(new Error('enough')) })
    const stream = await client.openStream(server.peerId, BULK, soon())
    await assert.rejects(async () => { while (true) await stream.write(new Uint8Array(MiB)) }, { code: 'STREAM_CLOSED' })
  })

  it('tell their handler when they are gone', async () => {
    const aborted = Promise.withResolvers<unknown>()
    await server.handleStream(BULK, 'blocks', async (_, { signal }) => {
      await once(signal, 'abort')
      aborted.resolve(signal.reason)
    })
    const stream = await client.openStream(server.peerId, BULK, soon())
    stream.abort(new Error('enough'))
    assert.equal((await aborted.promise as { code: string }).code, 'STREAM_CLOSED')
  })

  it('are refused with a reason: not handled, not allowed, too many', async () => {
    await assert.rejects(client.openStream(server.peerId, BULK, soon()), { code: 'PROTOCOL_UNSUPPORTED' })
    const over = Promise.withResolvers<void>()
    await server.handleStream(BULK, 'blocks', async () => { await over.promise })
    for (let count = 0; count < 4; count++) await client.openStream(server.peerId, BULK, soon())
    await assert.rejects(client.openStream(server.peerId, BULK, soon()), { code: 'BUSY' })
    over.resolve()
    const [strict, poor] = await mesh.pair({ can: () => false })
    await strict.handleStream(BULK, 'blocks', async () => { assert.fail('the handler ran') })
    await assert.rejects(poor.openStream(strict.peerId, BULK, soon()), { code: 'NOT_ALLOWED', details: { kind: 'blocks' } })
  })
})

describe('overlay frames', () => {
  const mesh = new Mesh()
  let a: TestOverlay
  let b: TestOverlay

  beforeEach(async () => { [a, b] = await mesh.pair({ limits: { maxFrameQueueBytes: MiB, maxFrameBytes: 256 * 1024 } }) })
  afterEach(async () => { await mesh.stop() })

  it('arrive whole and in order, from the first on, both ways', async () => {
    const count = 5_000
    const all = (overlay: TestOverlay): Promise<number[]> => new Promise(resolve => {
      const got: number[] = []
      void overlay.handleFrames(FRAMES, 'raft', (_, frame) => {
        got.push(frame.byteLength)
        if (got.length === count) resolve(got)
      })
    })
    const received = [all(a), all(b)]
    const expected = Array.from({ length: count }, (_, index) => index % 97)
    for (const length of expected) {
      assert.ok(a.sendFrame(b.peerId, FRAMES, new Uint8Array(length)))
      assert.ok(b.sendFrame(a.peerId, FRAMES, new Uint8Array(length)))
    }
    assert.deepEqual(await Promise.all(received), [expected, expected])
  })

  it('are refused at once when too large, when the queue is full and when nobody is connected', async () => {
    await b.handleFrames(FRAMES, 'raft', () => undefined)
    assert.equal(a.sendFrame(b.peerId, FRAMES, new Uint8Array(256 * 1024 + 1)), false)
    const taken = Array.from({ length: 20 }, () => a.sendFrame(b.peerId, FRAMES, new Uint8Array(100_000))).filter(Boolean)
    assert.equal(taken.length, 10) // of 100,004 bytes into 1 MiB
    assert.equal(a.sendFrame(mesh.network as never, FRAMES, new Uint8Array(1)), false)
    await b.stop()
    await new Promise<void>(resolve => { if (!a.isConnected(b.peerId)) resolve(); else a.onPeer(() => { resolve() }) })
    assert.equal(a.sendFrame(b.peerId, FRAMES, new Uint8Array(1)), false)
  })

  it('of a peer without the capability never reach the handler', async () => {
    const [strict, poor] = await mesh.pair({ can: (_, kind) => kind !== 'raft' })
    await strict.handleFrames(FRAMES, 'raft', () => { assert.fail('the handler ran') })
    const refused = strict.logged('frames:peer-refused')
    assert.ok(poor.sendFrame(strict.peerId, FRAMES, new Uint8Array(1)))
    assert.equal((await refused).code, 'NOT_ALLOWED')
  })
})
