import assert from 'node:assert/strict'
import { once } from 'node:events'
import { ConclaveError } from '../../keys/conclave-error.ts'
import { Mesh, SOON_MS } from './overlay-fixture.ts'
import type { TestOverlay } from './overlay-fixture.ts'

const ECHO = '/conclave/test-echo/1'
const NOTHING = new Uint8Array(0)
const timeoutMs = SOON_MS

describe('overlay requests', () => {
  const mesh = new Mesh()
  let server: TestOverlay
  let client: TestOverlay

  beforeEach(async () => { [server, client] = await mesh.pair({ limits: { maxRpcQueued: 1_200 } }) })
  afterEach(async () => { await mesh.stop() })

  it('answers 1000 requests in flight at once, each with its own answer', async () => {
    await server.handle(ECHO, 'member', async request => {
      if (request[0] === 7) await new Promise(resolve => setImmediate(resolve)) // overtaken by others
      return request
    })
    const replies = await Promise.all(Array.from({ length: 1_000 }, async (_, index) =>
      await client.request(server.peerId, ECHO, Uint8Array.of(index & 255, index >> 8), { timeoutMs })))
    assert.deepEqual(replies.map(reply => (reply[0] ?? 0) + 256 * (reply[1] ?? 0)), Array.from({ length: 1_000 }, (_, index) => index))
  })

  it('runs at most 128 handlers of one peer at once', async () => {
    let running = 0
    let most = 0
    await server.handle(ECHO, 'member', async request => {
      most = Math.max(most, ++running)
      await new Promise(resolve => setImmediate(resolve))
      running--
      return request
    })
    await Promise.all(Array.from({ length: 1_000 }, async () => await client.request(server.peerId, ECHO, NOTHING, { timeoutMs })))
    assert.ok(most > 1 && most <= 128, `${most}`)
  })

  it('tells the handler who asks', async () => {
    await server.handle(ECHO, 'member', async (_, { from }) => Buffer.from(from))
    assert.equal(Buffer.from(await client.request(server.peerId, ECHO, NOTHING, { timeoutMs })).toString(), client.peerId)
  })

  it('works both ways at the same time', async () => {
    for (const overlay of [server, client]) await overlay.handle(ECHO, 'member', async request => request)
    await Promise.all([client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), server.request(client.peerId, ECHO, NOTHING, { timeoutMs })])
  })

  it('brings a ConclaveError of the handler with code, message, next and details', async () => {
    await server.handle(ECHO, 'member', async () => { throw new ConclaveError('NOT_LEADER', 'another leads', { next: 'ask it', details: { leader: 'x' } }) })
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), { code: 'NOT_LEADER', message: 'another leads', next: 'ask it', details: { leader: 'x' } })
  })

  it('tells nothing of a handler that fails otherwise, but logs it there', async () => {
    await server.handle(ECHO, 'member', async () => { throw new Error('a secret') })
    const logged = server.logged('rpc:handler-failed')
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), (error: ConclaveError) => error.code === 'INTERNAL' && !error.message.includes('secret'))
    assert.match(String((await logged).error), /a secret/)
  })

  it('gives up on a slow handler in time, and tells it', async () => {
    const aborted = new Promise<unknown>(resolve => {
      void server.handle(ECHO, 'member', async (_, { signal }) => {
        await once(signal, 'abort')
        resolve(signal.reason)
        return NOTHING
      })
    })
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs: 100 }), { code: 'REQUEST_TIMEOUT' })
    assert.ok(['REQUEST_TIMEOUT', 'REQUEST_CANCELLED'].includes((await aborted as ConclaveError).code))
  })

  it('aborts the handler when the requester aborts, and goes on with the next request', async () => {
    const started = Promise.withResolvers<void>()
    const aborted = Promise.withResolvers<unknown>()
    await server.handle(ECHO, 'member', async (request, { signal }) => {
      if (request.byteLength > 0) return request
      started.resolve()
      await once(signal, 'abort')
      aborted.resolve(signal.reason)
      return NOTHING
    })
    const controller = new AbortController()
    const asked = client.request(server.peerId, ECHO, NOTHING, { timeoutMs, signal: controller.signal })
    await started.promise
    controller.abort(new Error('changed my mind'))
    await assert.rejects(asked, { message: 'changed my mind' })
    assert.equal((await aborted.promise as ConclaveError).code, 'REQUEST_CANCELLED')
    assert.deepEqual([...await client.request(server.peerId, ECHO, Uint8Array.of(1), { timeoutMs })], [1])
  })

  it('says what is wrong with a request that cannot be made', async () => {
    await server.handle(ECHO, 'member', async request => request)
    await assert.rejects(client.request(server.peerId, '/conclave/nobody/1', NOTHING, { timeoutMs }), { code: 'PROTOCOL_UNSUPPORTED' })
    await assert.rejects(client.request(mesh.network as never, ECHO, NOTHING, { timeoutMs }), { code: 'PEER_UNREACHABLE' })
    await assert.rejects(client.request(server.peerId, ECHO, new Uint8Array(2 ** 21), { timeoutMs }), { code: 'REQUEST_TOO_LARGE' })
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs, signal: AbortSignal.abort(new Error('no')) }), { message: 'no' })
  })

  it('refuses an answer that is too large, and keeps the stream', async () => {
    await server.handle(ECHO, 'member', async request => new Uint8Array(request.byteLength === 0 ? 2 ** 21 : 1))
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), { code: 'REPLY_TOO_LARGE' })
    assert.equal((await client.request(server.peerId, ECHO, Uint8Array.of(1), { timeoutMs })).byteLength, 1)
  })

  it('carries requests and answers up to the limit, many at once', async () => {
    await server.handle(ECHO, 'member', async request => request)
    const large = new Uint8Array(2 ** 21 - 64).fill(7)
    const replies = await Promise.all(Array.from({ length: 20 }, async () => await client.request(server.peerId, ECHO, large, { timeoutMs: 20_000 })))
    assert.ok(replies.every(reply => Buffer.compare(reply, large) === 0))
  })

  it('answers BUSY when too many requests wait, and none is lost', async () => {
    const gate = Promise.withResolvers<void>()
    await server.handle(ECHO, 'member', async request => { await gate.promise; return request })
    const asked = Array.from({ length: 1_500 }, async () => await client.request(server.peerId, ECHO, NOTHING, { timeoutMs }))
    const results = Promise.allSettled(asked)
    gate.resolve()
    const refused = (await results).filter(result => result.status === 'rejected')
    assert.equal(refused.length, 300)
    assert.ok(refused.every(({ reason }) => (reason as ConclaveError).code === 'BUSY'))
  })

  it('fails what is open when the connection goes, and what comes after it at once', async () => {
    await server.handle(ECHO, 'member', async (_, { signal }) => { await once(signal, 'abort'); return NOTHING })
    const asked = client.request(server.peerId, ECHO, NOTHING, { timeoutMs })
    const failed = assert.rejects(asked, { code: 'STREAM_CLOSED' })
    await server.stop()
    await failed
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), (error: ConclaveError) => ['PEER_UNREACHABLE', 'STREAM_CLOSED'].includes(error.code))
  })

  it('fails what is open when it is stopped itself', async () => {
    await server.handle(ECHO, 'member', async (_, { signal }) => { await once(signal, 'abort'); return NOTHING })
    const failed = assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), { code: 'NODE_STOPPED' })
    await client.stop()
    await failed
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), { code: 'NODE_STOPPED' })
  })

  it('refuses two handlers for one protocol', async () => {
    await server.handle(ECHO, 'member', async request => request)
    await assert.rejects(server.handle(ECHO, 'member', async request => request), { code: 'ALREADY_HANDLED' })
  })
})

describe('overlay requests of a peer without the capability', () => {
  const mesh = new Mesh()
  afterEach(async () => { await mesh.stop() })

  it('are refused with a reason, and let through once it has it', async () => {
    let mayWork = false
    const [server, client] = await mesh.pair({ can: (_, kind) => kind !== 'work' || mayWork })
    await server.handle(ECHO, 'work', async request => request)
    await assert.rejects(client.request(server.peerId, ECHO, NOTHING, { timeoutMs }), { code: 'NOT_ALLOWED', details: { kind: 'work' } })
    mayWork = true
    await client.request(server.peerId, ECHO, NOTHING, { timeoutMs })
  })
})
