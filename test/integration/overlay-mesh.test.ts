import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { addrOf, join, LOOPBACK, Mesh, peerEvent, soon } from './overlay-fixture.ts'
import { identityFromSeed } from '../../keys/identity.ts'
import type { ChildProcess } from 'node:child_process'
import type { PeerEvent } from '../../src/overlay/overlay.ts'

const ECHO = '/conclave/test-echo/1'
const CHILD = path.join(import.meta.dirname, 'overlay-child.ts')

describe('overlay peers', () => {
  const mesh = new Mesh()
  const children: ChildProcess[] = []
  const dirs: string[] = []

  afterEach(async () => {
    for (const child of children.splice(0)) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await mesh.stop()
    for (const dir of dirs.splice(0)) await fs.rm(dir, { recursive: true, force: true })
  })

  async function tempDir (): Promise<string> {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-overlay-'))
    dirs.push(dir)
    return dir
  }

  /** @returns the child and the address that it printed */
  async function spawnChild (seed: number, port = 0): Promise<{ child: ChildProcess, addr: string }> {
    const child = spawn(process.execPath, [CHILD, mesh.network, String(seed), String(port)], { stdio: ['pipe', 'pipe', 'inherit'] })
    children.push(child)
    const [addr] = await once(readline.createInterface({ input: child.stdout }), 'line', { signal: soon() }) as [string]
    return { child, addr }
  }

  const idOf = (seed: number): ReturnType<typeof identityFromSeed>['peerId'] => identityFromSeed(new Uint8Array(32).fill(seed)).peerId

  it('are told of once, when the peer answers over the connection, and once when it is gone', async () => {
    const [a, b] = [await mesh.start(), await mesh.start()]
    const events: PeerEvent[] = []
    a.onPeer(event => { events.push(event) })
    assert.equal(await a.connect(addrOf(b), soon()), b.peerId)
    assert.ok(a.isConnected(b.peerId))
    assert.equal(await a.connect(addrOf(b), soon()), b.peerId)
    const [peer] = a.peers()
    assert.deepEqual([peer?.peerId, peer?.direction, peer?.addr], [b.peerId, 'outbound', addrOf(b)])
    await b.stop()
    await peerEvent(a, 'peer:disconnect', b.peerId)
    assert.deepEqual(events, [{ type: 'peer:connect', peerId: b.peerId }, { type: 'peer:disconnect', peerId: b.peerId }])
    assert.deepEqual(a.peers(), [])
  })

  it('have a round trip time', async () => {
    const [a, b] = await mesh.pair({ limits: { pingIntervalMs: 100 } })
    const signal = soon()
    while (a.peers().find(peer => peer.peerId === b.peerId)?.rttMs === undefined) {
      signal.throwIfAborted()
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    const rttMs = a.peers()[0]?.rttMs ?? NaN
    assert.ok(rttMs > 0 && rttMs < 500, `${rttMs}`)
  })

  it('that dial each other at the same moment are connected once for their users', async () => {
    const [a, b] = [await mesh.start(), await mesh.start()]
    const events: PeerEvent[] = []
    a.onPeer(event => { events.push(event) })
    await Promise.all([a.connect(addrOf(b), soon()), b.connect(addrOf(a), soon())])
    assert.equal(events.length, 1)
    assert.equal(a.peers().length, 1)
    await b.stop()
    await peerEvent(a, 'peer:disconnect', b.peerId)
    assert.equal(events.length, 2)
  })

  it('that are kept connected find each other, and again after every loss', async () => {
    const overlays = await Promise.all(Array.from({ length: 4 }, async () => await mesh.start({ limits: { redialBaseMs: 20 } })))
    const roster = overlays.map(({ peerId, addrs }) => ({ peerId, addrs: addrs() }))
    for (const overlay of overlays) overlay.keepConnected(roster)
    const everybody = async (): Promise<void> => {
      await Promise.all(overlays.flatMap(one => overlays.filter(other => other !== one).map(async other => { await peerEvent(one, 'peer:connect', other.peerId) })))
    }
    await everybody()
    const [a, b] = overlays
    assert.ok(a !== undefined && b !== undefined)
    const lost = [new Promise<void>(resolve => { const off = a.onPeer(({ type }) => { if (type === 'peer:disconnect') { off(); resolve() } }) })]
    await a.disconnect(b.peerId)
    await Promise.all(lost)
    await everybody()
  })

  it('that are killed and come back are dialled again', async () => {
    const a = await mesh.start({ limits: { redialBaseMs: 20, redialCapMs: 200 } })
    const first = await spawnChild(41)
    const port = Number(/tcp\/(\d+)/.exec(first.addr)?.[1])
    a.keepConnected([{ peerId: idOf(41), addrs: [first.addr] }])
    await peerEvent(a, 'peer:connect', idOf(41))
    for (let round = 0; round < 2; round++) {
      children.at(-1)?.kill('SIGKILL')
      await peerEvent(a, 'peer:disconnect', idOf(41))
      await spawnChild(41, port)
      await peerEvent(a, 'peer:connect', idOf(41))
    }
    assert.equal((await a.request(idOf(41), ECHO, Uint8Array.of(5), { timeoutMs: 5_000 }))[0], 5)
  })

  it('that fall silent without closing are found out in time, and taken back when they wake', async () => {
    const a = await mesh.start({ limits: { redialBaseMs: 50, pingIntervalMs: 200, pingTimeoutMs: 1_000 } })
    const { child, addr } = await spawnChild(42)
    a.keepConnected([{ peerId: idOf(42), addrs: [addr] }])
    await peerEvent(a, 'peer:connect', idOf(42))
    child.kill('SIGSTOP')
    const stoppedMs = performance.now()
    await peerEvent(a, 'peer:disconnect', idOf(42))
    const tookMs = performance.now() - stoppedMs
    assert.ok(tookMs > 700 && tookMs < 3_000, `${tookMs} ms`)
    child.kill('SIGCONT')
    await peerEvent(a, 'peer:connect', idOf(42))
  })

  it('are found after a restart by addresses from before it', async () => {
    const dir = await tempDir()
    const b = await mesh.start()
    const before = await mesh.start({ datastoreDir: dir })
    before.keepConnected([{ peerId: b.peerId, addrs: b.addrs() }])
    await peerEvent(before, 'peer:connect', b.peerId)
    await before.stop()
    const after = await mesh.start({ datastoreDir: dir, identity: before.identity })
    after.keepConnected([{ peerId: b.peerId, addrs: [] }])
    await peerEvent(after, 'peer:connect', b.peerId)
  })

  it('twenty at once get in', async () => {
    const hub = await mesh.start()
    const others = await Promise.all(Array.from({ length: 20 }, async () => await mesh.start({ listen: [] })))
    await Promise.all(others.map(async overlay => { await join(overlay, hub) }))
    assert.equal(hub.peers().length, 20)
  })

  it('that are no members get no connection, whichever side dials', async () => {
    const strict = await mesh.start({ isMember: () => false })
    const other = await mesh.start()
    await assert.rejects(other.connect(addrOf(strict), soon()), (error: { code: string }) => ['PEER_REFUSED', 'DIAL_FAILED'].includes(error.code))
    await assert.rejects(strict.connect(addrOf(other), soon()), { code: 'DIAL_FAILED' })
    assert.deepEqual([strict.peers(), other.peers()], [[], []])
  })

  it('cannot be dialled by nonsense, and nobody listens at a dead address', async () => {
    const a = await mesh.start()
    await assert.rejects(a.connect('here', soon()), { code: 'ADDRESS_INVALID' })
    await assert.rejects(a.connect('/ip4/127.0.0.1/tcp/1', soon()), { code: 'DIAL_FAILED' })
    await assert.rejects(a.connect(addrOf(a), soon()), { code: 'DIAL_FAILED' })
    await assert.rejects(a.connect('/ip4/127.0.0.1/tcp/1', AbortSignal.abort(new Error('no'))), { message: 'no' })
  })
})

describe('an overlay', () => {
  const mesh = new Mesh()
  afterEach(async () => { await mesh.stop() })

  it('says which address it cannot listen on, and leaves nothing behind', async () => {
    const a = await mesh.start()
    const taken = addrOf(a).replace(/\/p2p\/.*/, '')
    const b = mesh.make({ listen: [taken] })
    await assert.rejects(b.start(), { code: 'LISTEN_FAILED', details: { listen: [taken] } })
    await assert.rejects(b.connect(addrOf(a), soon()), { code: 'NODE_STOPPED' })
  })

  it('refuses a peer store that another node uses', async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-overlay-'))
    try {
      await mesh.start({ datastoreDir: dir })
      await assert.rejects(mesh.start({ datastoreDir: dir }), { code: 'PEER_STORE_FAILED' })
      await mesh.stop()
    } finally {
      await fs.rm(dir, { recursive: true, force: true })
    }
  })

  it('stops twice, before it started, and while it starts', async () => {
    const a = mesh.make()
    await a.stop()
    await a.stop()
    await assert.rejects(a.start(), { code: 'NODE_STOPPED' })
    const b = mesh.make({ listen: [LOOPBACK] })
    const starting = b.start()
    await b.stop()
    await starting
    assert.deepEqual(b.addrs(), [])
  })

  it('lets its process end once it is stopped', async () => {
    const a = await mesh.start()
    const child = spawn(process.execPath, [CHILD, mesh.network, '43'], { stdio: ['pipe', 'pipe', 'inherit'] })
    try {
      const [addr] = await once(readline.createInterface({ input: child.stdout }), 'line', { signal: soon() }) as [string]
      const peer = await a.connect(addr, soon())
      await a.request(peer, ECHO, new Uint8Array(1), { timeoutMs: 5_000 })
      child.stdin.end()
      const [code] = await once(child, 'exit', { signal: soon() }) as [number | null]
      assert.equal(code, 0)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
