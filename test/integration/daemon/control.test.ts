/** The control API over a real socket, with a node whose jobs the test drives. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { once } from 'node:events'
import { connectControl } from '../../../src/daemon/client.ts'
import { startDaemon } from '../../../src/daemon/daemon.ts'
import type { Daemon } from '../../../src/daemon/daemon.ts'
import { serveControl } from '../../../src/daemon/server.ts'
import { readControl } from '../../../src/daemon/socket-path.ts'
import { FakeNode, PEER } from '../../support/fake-node.ts'

const body = { code: 'export function map () {}', inputs: ['/tmp/a'] }

describe('the control API', () => {
  let dir = ''
  let node: FakeNode
  let daemon: Daemon

  beforeEach(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-test-'))
    node = new FakeNode(dir)
    daemon = await startDaemon({ dataDir: dir, version: '1.2.3', join: async () => node, stopMs: 5000 })
    // the daemon itself listens for the node's failure
    assert.equal(node.listeners.size, 1)
  })
  afterEach(async () => {
    await daemon.stop()
    fs.rmSync(dir, { recursive: true, force: true })
  })

  /** A request as somebody else's program might make it. */
  async function raw (method: string, target: string, text?: string, headers: http.OutgoingHttpHeaders = {}): Promise<{ status: number, body: { error?: { code: string, message: string } } }> {
    const request = http.request({ socketPath: daemon.socket, method, path: target, headers, agent: false })
    request.on('error', () => request.destroy())
    const answered = once(request, 'response')
    request.end(text)
    const [response] = await answered as [http.IncomingMessage]
    let reply = ''
    for await (const chunk of response) reply += String(chunk)
    return { status: response.statusCode ?? 0, body: JSON.parse(reply) as { error?: { code: string, message: string } } }
  }

  it('is open to its owner only', () => {
    assert.equal(fs.statSync(daemon.socket).mode & 0o777, 0o600)
    assert.equal(fs.statSync(path.join(dir, 'control.json')).mode & 0o777, 0o600)
  })

  it('tells the node, its peers and its jobs', async () => {
    const client = await connectControl(dir)
    const status = await client.status()
    assert.deepEqual([status.peerId, status.pid, status.version, status.dataDir, status.role], [PEER, process.pid, '1.2.3', dir, 'leader'])
    assert.equal((await client.peers())[0]?.peerId, PEER)
    assert.deepEqual(await client.jobs(), [])
    const { id } = await client.submit({ ...body, name: 'n', limits: { timeoutMs: 5 } })
    assert.deepEqual(node.submitted[0]?.request, { ...body, name: 'n', limits: { timeoutMs: 5 } })
    assert.equal((await client.job('last')).id, id)
    assert.deepEqual((await client.jobs()).map((job) => job.id), [id])
  })

  it('hands out tickets with the options that were asked for', async () => {
    const client = await connectControl(dir)
    assert.equal(await client.invite({ uses: 2, ttlMs: 1000, capabilities: ['work'] }), 'conclave1fakefakefake')
    assert.deepEqual(node.invites, [{ uses: 2, ttlMs: 1000, capabilities: ['work'] }])
  })

  it('streams records as they come, and the facts and progress of a job to its end', async () => {
    const client = await connectControl(dir)
    const { id } = await client.submit(body)
    const job = node.submitted[0]
    assert.ok(job)
    const results = client.results(id, 'ledger')
    const first = results.next()
    job.push([{ a: 1 }], [{ type: 'task:done', job: id, stage: 0, task: 0, attempt: 1, participant: PEER }])
    assert.deepEqual((await first).value, { a: 1 })
    const follow = client.follow(id)
    const lines: string[] = []
    for await (const line of follow) {
      lines.push(line.event)
      if (line.event === 'fact') { job.push(['two']); job.end('succeeded') }
    }
    assert.deepEqual(lines, ['progress', 'fact', 'end'])
    assert.deepEqual(await Array.fromAsync(results), ['two'])
  })

  it('ends the records of a failed job with its code and reason', async () => {
    const client = await connectControl(dir)
    const { id } = await client.submit(body)
    node.submitted[0]?.push([1])
    node.submitted[0]?.end('failed', 'THROW', 'record 7: boom')
    const results = client.results(id, 'ledger')
    assert.equal((await results.next()).value, 1)
    await assert.rejects(results.next(), { name: 'THROW', message: 'record 7: boom' })
  })

  it('cancels', async () => {
    const client = await connectControl(dir)
    const { id } = await client.submit(body)
    assert.equal((await client.cancel(id)).status, 'cancelled')
  })

  it('knows when its node cannot go on, and why', async () => {
    node.emit({ type: 'node:fail', code: 'LOG_DISK_FULL', reason: 'no space left to write the log' })
    await assert.rejects(daemon.failed, { code: 'LOG_DISK_FULL', message: 'no space left to write the log', next: /free some space/ })
  })

  it('streams the events of the node, and stops listening when the client goes', async () => {
    const client = await connectControl(dir)
    const events = client.events()
    const first = events.next()
    while (node.listeners.size === 1) await new Promise(setImmediate)
    node.emit({ type: 'leader:change', term: 4, leader: null })
    assert.deepEqual((await first).value, { type: 'leader:change', term: 4, leader: null })
    await events.return(undefined)
    while (node.listeners.size > 1) await new Promise(setImmediate)
  })

  it('keeps a bounded number of events for a client that does not read, and says how many it lost', async () => {
    const client = await connectControl(dir)
    const events = client.events()
    const first = events.next()
    while (node.listeners.size === 1) await new Promise(setImmediate)
    for (let term = 1; term <= 1500; term++) node.emit({ type: 'leader:change', term, leader: null })
    assert.deepEqual((await first).value, { type: 'events:lost', count: 476 })
    assert.deepEqual((await events.next()).value, { type: 'leader:change', term: 477, leader: null })
    await events.return(undefined)
  })

  it('lets go of the node when a client vanishes in the middle of a stream', async () => {
    const client = await connectControl(dir)
    const { id } = await client.submit(body)
    const job = node.submitted[0]
    assert.ok(job)
    const socket = net.connect(daemon.socket)
    socket.write(`GET /v1/jobs/${id}/results HTTP/1.1\r\nhost: x\r\n\r\n`)
    job.push(['x'.repeat(100)])
    await once(socket, 'data')
    assert.equal(job.readers, 1)
    socket.destroy()
    await job.unread()
    assert.equal((await client.status()).peerId, PEER)
  })

  it('holds the node back while a client does not read', async () => {
    const client = await connectControl(dir)
    const { id } = await client.submit(body)
    const job = node.submitted[0]
    assert.ok(job)
    let taken = 0
    const record = 'x'.repeat(1 << 20)
    job.results = async function * () { for (; taken < 200; taken++) yield record }
    const socket = net.connect(daemon.socket)
    socket.write(`GET /v1/jobs/${id}/results HTTP/1.1\r\nhost: x\r\n\r\n`)
    await once(socket, 'readable')
    // Whatever the daemon was going to take, it has taken once it has answered somebody else several times.
    for (let i = 0; i < 20; i++) await client.status()
    assert.ok(taken < 50, `${taken} MiB were taken`)
    socket.destroy()
  })

  it('is told when the daemon goes away in the middle of a stream', async () => {
    const client = await connectControl(dir)
    const { id } = await client.submit(body)
    const follow = client.follow(id)
    await follow.next()
    const rest = Array.fromAsync(follow)
    const stopped = assert.rejects(rest, { name: 'DAEMON_STOPPING' })
    await daemon.stop()
    await stopped
    await assert.rejects(client.status(), { name: 'NOT_RUNNING' })
    await assert.rejects(connectControl(dir), { name: 'NOT_RUNNING' })
  })

  describe('bad requests', () => {
    const cases: [name: string, method: string, target: string, text: string | undefined, status: number, code: string][] = [
      ['another version', 'GET', '/v9/status', undefined, 400, 'BAD_REQUEST'],
      ['no such route', 'GET', '/v1/nothing', undefined, 404, 'NOT_FOUND'],
      ['a name that every object has', 'GET', '/v1/constructor', undefined, 404, 'NOT_FOUND'],
      ['the wrong method', 'DELETE', '/v1/jobs', undefined, 404, 'NOT_FOUND'],
      ['a badly encoded id', 'GET', '/v1/jobs/%zz', undefined, 400, 'BAD_REQUEST'],
      ['an unknown job', 'GET', '/v1/jobs/jnone', undefined, 404, 'JOB_UNKNOWN'],
      ['results of an unknown job', 'GET', '/v1/jobs/jnone/results', undefined, 404, 'JOB_UNKNOWN'],
      ['a body that is no JSON', 'POST', '/v1/jobs', '{', 400, 'BAD_REQUEST'],
      ['a body that is a list', 'POST', '/v1/jobs', '[]', 400, 'BAD_REQUEST'],
      ['no code', 'POST', '/v1/jobs', JSON.stringify({ inputs: ['/a'] }), 400, 'BAD_REQUEST'],
      ['no inputs', 'POST', '/v1/jobs', JSON.stringify({ code: 'x', inputs: [] }), 400, 'BAD_REQUEST'],
      ['a relative input', 'POST', '/v1/jobs', JSON.stringify({ code: 'x', inputs: ['a'] }), 400, 'BAD_REQUEST'],
      ['an encoding that does not exist', 'POST', '/v1/jobs', JSON.stringify({ ...body, encoding: 'utf9' }), 400, 'BAD_REQUEST'],
      ['a fractional count', 'POST', '/v1/jobs', JSON.stringify({ ...body, partitions: 1.5 }), 400, 'BAD_REQUEST'],
      ['limits that are null', 'POST', '/v1/jobs', JSON.stringify({ ...body, limits: null }), 400, 'BAD_REQUEST'],
      ['a limit that is text', 'POST', '/v1/jobs', JSON.stringify({ ...body, limits: { timeoutMs: '5' } }), 400, 'BAD_REQUEST'],
      ['a capability that does not exist', 'POST', '/v1/invites', JSON.stringify({ capabilities: ['root'] }), 400, 'BAD_REQUEST']
    ]
    for (const [name, method, target, text, status, code] of cases) {
      it(`${name}: ${status} ${code}`, async () => {
        const reply = await raw(method, target, text)
        assert.deepEqual([reply.status, reply.body.error?.code], [status, code])
        assert.equal(node.submitted.length, 0)
      })
    }

    it('a body above the limit is refused by its announced length', async () => {
      const reply = await raw('POST', '/v1/jobs', undefined, { 'content-length': 1 << 30 })
      assert.deepEqual([reply.status, reply.body.error?.code], [413, 'BODY_TOO_LARGE'])
    })

    it('a body above the limit is refused while it arrives, and the daemon lives on', async () => {
      const socket = path.join(dir, 'small.sock')
      const server = await serveControl({ node, socket, version: '1', onStop: () => {}, limits: { maxBodyBytes: 1000 } })
      try {
        const request = http.request({ socketPath: socket, method: 'POST', path: '/v1/jobs', agent: false })
        request.on('error', () => request.destroy())
        const answered = once(request, 'response')
        request.write('x'.repeat(600))
        request.write('x'.repeat(600))
        const [response] = await answered as [http.IncomingMessage]
        assert.equal(response.statusCode, 413)
        assert.equal(response.headers.connection, 'close')
        request.destroy()
      } finally {
        await server.stop()
      }
      assert.equal((await (await connectControl(dir)).status()).peerId, PEER)
    })

    it('what is no HTTP is refused, and the daemon lives on', async () => {
      const socket = net.connect(daemon.socket)
      socket.end(Buffer.from([0, 1, 2, 255, 10, 10]))
      let reply = ''
      for await (const chunk of socket) reply += String(chunk)
      assert.match(reply, /^HTTP\/1.1 400 /)
      assert.equal((await (await connectControl(dir)).status()).peerId, PEER)
    })
  })
})

describe('a daemon', () => {
  let dir = ''
  beforeEach(() => { dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-test-')) })
  afterEach(() => { fs.rmSync(dir, { recursive: true, force: true }) })
  const start = async (dataDir: string, node = new FakeNode(dataDir)): Promise<Daemon> => await startDaemon({ dataDir, version: '1', join: async () => node, stopMs: 5000 })

  it('is asked to stop by a client, and leaves no socket behind', async () => {
    const daemon = await start(dir)
    const client = await connectControl(dir)
    assert.equal(await client.stop(), process.pid)
    await daemon.stopAsked
    await daemon.stop()
    await daemon.stop()
    assert.deepEqual(fs.readdirSync(dir), [])
  })

  it('takes the place of a socket that a killed one left behind', async () => {
    fs.writeFileSync(path.join(dir, 'control.sock'), '')
    fs.writeFileSync(path.join(dir, 'control.json'), JSON.stringify({ pid: 1, socket: path.join(dir, 'control.sock') }))
    const daemon = await start(dir)
    assert.equal((await (await connectControl(dir)).status()).peerId, PEER)
    await daemon.stop()
  })

  it('listens elsewhere when its data directory is too deep for a socket, and removes that too', async () => {
    const deep = path.join(dir, 'd'.repeat(60), 'e'.repeat(60))
    fs.mkdirSync(deep, { recursive: true })
    const daemon = await start(deep)
    const folder = path.dirname(daemon.socket)
    assert.ok(Buffer.byteLength(daemon.socket) <= 103, daemon.socket)
    assert.equal(fs.statSync(folder).mode & 0o777, 0o700)
    assert.equal((await (await connectControl(deep)).status()).peerId, PEER)
    await daemon.stop()
    assert.equal(fs.existsSync(folder), false)
  })

  it('never removes what a forged record names', async () => {
    const victim = path.join(dir, 'precious', 'file.txt')
    fs.mkdirSync(path.dirname(victim))
    fs.writeFileSync(victim, 'x')
    for (const text of [JSON.stringify({ pid: 1, socket: victim }), '{', 'null', '[]', '{"pid":"1"}']) {
      fs.writeFileSync(path.join(dir, 'control.json'), text)
      await (await start(dir)).stop()
      assert.ok(fs.existsSync(victim))
    }
  })

  it('stops the node where the socket cannot be opened', async () => {
    const node = new FakeNode(path.join(dir, 'absent'))
    await assert.rejects(start(dir, node))
    assert.equal(node.stops, 1)
  })

  it('gives up a node that does not stop', async () => {
    const node = new FakeNode(dir)
    node.stopping = new Promise(() => {})
    const daemon = await startDaemon({ dataDir: dir, version: '1', join: async () => node, stopMs: 50 })
    await assert.rejects(daemon.stop(), { name: 'STOP_TIMEOUT' })
  })

  it('is not running where no record is', async () => {
    await assert.rejects(connectControl(path.join(dir, 'absent')), { name: 'NOT_RUNNING' })
    assert.equal(await readControl(dir), undefined)
  })
})
