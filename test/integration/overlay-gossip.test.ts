import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { reject } from '../../keys/verdict.ts'
import { join, listen, Mesh, publish } from './overlay-fixture.ts'

describe('overlay gossip', () => {
  const mesh = new Mesh()
  afterEach(async () => { await mesh.stop() })

  it('reaches everybody, also over a neighbour, with its author and term', async () => {
    const [hub, a, b, c] = await mesh.star(4)
    assert.ok(hub !== undefined && a !== undefined && b !== undefined && c !== undefined)
    const heard = await Promise.all([hub, b, c].map(async overlay => await listen(overlay, 'tasks')))
    await publish(hub, 'tasks', 'ready?', 3)
    for (const { next } of heard.slice(1)) await next()
    await publish(a, 'tasks', 'hello')
    for (const { next } of heard) assert.deepEqual(await next('ready?'), { text: 'hello', author: a.peerId, term: 1 })
  })

  it('delivers each message once and none to its author', async () => {
    const overlays = await mesh.star(3)
    const [a, b, c] = overlays
    assert.ok(a !== undefined && b !== undefined && c !== undefined)
    await join(b, c) // a triangle: every message arrives twice
    const heard = await Promise.all(overlays.map(async overlay => await listen(overlay, 'results')))
    await publish(a, 'results', 'first', 2)
    for (let count = 0; count < 50; count++) await a.publish('results', Buffer.from(`m${count}`), 1)
    await b.publish('results', Buffer.from('last'), 1)
    const texts = async (index: number, until: string): Promise<string[]> => {
      const all: string[] = []
      do all.push((await heard[index]?.next())?.text ?? ''); while (all.at(-1) !== until)
      return all
    }
    assert.deepEqual(await texts(0, 'last'), ['last'])
    const atC = new Set<string | undefined>()
    for (let count = 0; count < 52; count++) atC.add((await heard[2]?.next())?.text)
    assert.equal(atC.size, 52)
  })

  it('reaches sixteen neighbours behind one address: that is no misbehaviour (trap 8)', async () => {
    const [hub, ...others] = await mesh.star(17, { limits: { gossipHeartbeatMs: 100 } })
    assert.ok(hub !== undefined)
    const heard = await Promise.all(others.map(async overlay => await listen(overlay, 'tasks')))
    await publish(hub, 'tasks', 'ready?', 16)
    const startMs = performance.now()
    for (let round = 0; performance.now() - startMs < 500; round++) { // several heartbeats, in which a score could fall
      assert.equal((await hub.publish('tasks', Buffer.from(`round ${round}`), 1)).recipients, 16)
      for (const { next } of heard) assert.equal((await next('ready?')).text, `round ${round}`)
    }
  })

  it('keeps the topics apart', async () => {
    const [a, b] = await mesh.pair()
    const [tasks, results] = [await listen(b, 'tasks'), await listen(b, 'results')]
    await publish(a, 'tasks', 'task')
    await publish(a, 'results', 'result')
    assert.equal((await tasks.next()).text, 'task')
    assert.equal((await results.next()).text, 'result')
  })

  it('takes 64 KiB and refuses more with a code', async () => {
    const [a, b] = await mesh.pair()
    const heard = await listen(b, 'tasks')
    const largest = 'x'.repeat(64 * 1024)
    await publish(a, 'tasks', largest)
    assert.equal((await heard.next()).text, largest)
    await assert.rejects(a.publish('tasks', new Uint8Array(64 * 1024 + 1), 1), { code: 'GOSSIP_TOO_LARGE' })
  })

  it('is no error when nobody hears it', async () => {
    const a = await mesh.start()
    assert.deepEqual(await a.publish('tasks', new Uint8Array(1), 1), { recipients: 0 })
    await a.stop()
    await assert.rejects(a.publish('tasks', new Uint8Array(1), 1), { code: 'NODE_STOPPED' })
  })

  it('of an author without the capability is dropped, and not passed on', async () => {
    const author = await mesh.start()
    const strict = await mesh.start({ can: peer => peer !== author.peerId })
    const behind = await mesh.start()
    await join(author, strict)
    await join(behind, strict)
    const heard = await listen(behind, 'tasks')
    await listen(strict, 'tasks')
    const dropped = strict.logged('gossip:drop')
    await publish(strict, 'tasks', 'ready?', 2)
    await heard.next()
    await publish(author, 'tasks', 'forbidden')
    assert.equal((await dropped).code, 'GOSSIP_NOT_ALLOWED')
    await publish(strict, 'tasks', 'allowed')
    assert.equal((await heard.next('ready?')).text, 'allowed')
  })

  it('is judged by its subscriber before it is passed on', async () => {
    const [hub, a, b] = await mesh.star(3)
    assert.ok(hub !== undefined && a !== undefined && b !== undefined)
    const heard = await listen(b, 'tasks')
    await hub.subscribe('tasks', () => undefined, payload => payload[0] === 'n'.charCodeAt(0) ? reject('BAD', 'no') : { verdict: 'accept', value: undefined })
    await publish(hub, 'tasks', 'ready?', 2)
    await heard.next()
    const dropped = hub.logged('gossip:drop')
    await publish(a, 'tasks', 'no')
    assert.equal((await dropped).code, 'BAD')
    await publish(a, 'tasks', 'yes')
    assert.equal((await heard.next('ready?')).text, 'yes')
  })

  it('of a restarted author is taken from its first message on', async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-overlay-'))
    try {
      const b = await mesh.start()
      const heard = await listen(b, 'tasks')
      let identity
      for (let round = 0; round < 3; round++) {
        const a = await mesh.start({ datastoreDir: dir, ...(identity === undefined ? {} : { identity }) })
        identity = a.identity
        await join(a, b)
        await publish(a, 'tasks', `round ${round}`)
        assert.equal((await heard.next()).text, `round ${round}`)
        await a.stop()
      }
    } finally {
      await mesh.stop()
      await fs.rm(dir, { recursive: true, force: true })
    }
  })

  it('goes on where the marks on disk are damaged, and says so', async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-overlay-'))
    try {
      await fs.writeFile(path.join(dir, 'gossip-marks.json'), '{"version":1,"incarnation":')
      const a = await mesh.start({ datastoreDir: dir })
      assert.ok(a.log.some(({ event }) => event === 'gossip:marks-corrupt'))
    } finally {
      await mesh.stop()
      await fs.rm(dir, { recursive: true, force: true })
    }
  })
})
