import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { encodeFrames } from '../../src/overlay/framer.ts'
import { encodeRequest } from '../../protocols/rpc/codec.ts'
import { Envelope, SignedEnvelope } from '../../protocols/gossip/messages.js'
import { wireTopic } from '../../protocols/gossip/constants.ts'
import { addrOf, join, listen, Mesh, publish, soon } from '../integration/overlay-fixture.ts'
import { rawPeer } from './overlay-raw.ts'
import type { RawPeer } from './overlay-raw.ts'
import type { TestOverlay } from '../integration/overlay-fixture.ts'
import type { Stream } from '@libp2p/interface'

const ECHO = '/conclave/test-echo/1'
const FRAMES = '/conclave/test-frames/1'
const BULK = '/conclave/test-bulk/1'

/** Why the overlay ended the stream; the bad peer only learns that it was reset. */
async function reset (stream: Stream): Promise<void> {
  if (stream.status === 'open' || stream.status === 'closing') await once(stream, 'close', { signal: soon() })
  assert.equal(stream.status, 'reset')
}

describe('an overlay with a bad peer', () => {
  const mesh = new Mesh()
  const raws: RawPeer[] = []
  const sockets: net.Socket[] = []

  async function bad (overlay: TestOverlay): Promise<RawPeer> {
    const raw = await rawPeer(mesh.network)
    raws.push(raw)
    await raw.connect(overlay)
    return raw
  }

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await Promise.all(raws.splice(0).map(async ({ libp2p }) => { await libp2p.stop() }))
    await mesh.stop()
  })

  it('lets an honest peer join while idle sockets are held open', async () => {
    const victim = await mesh.start()
    const [, port] = /tcp\/(\d+)/.exec(addrOf(victim)) ?? []
    for (let count = 0; count < 300; count++) {
      const socket = net.connect(Number(port), '127.0.0.1')
      socket.on('error', () => undefined)
      sockets.push(socket)
    }
    await Promise.all(sockets.map(async socket => { if (socket.connecting) await Promise.race([once(socket, 'connect'), once(socket, 'close')]) }))
    const honest = await mesh.start({ limits: { redialBaseMs: 50, redialCapMs: 500 } })
    const startMs = performance.now()
    const connected = new Promise<void>(resolve => { honest.onPeer(() => { resolve() }) })
    honest.keepConnected([{ peerId: victim.peerId, addrs: victim.addrs() }])
    await connected
    assert.ok(performance.now() - startMs < 5_000)
  })

  it('hangs up on sockets that do not finish the handshake', async () => {
    const victim = await mesh.start({ limits: { inboundUpgradeTimeoutMs: 300 } })
    const [, port] = /tcp\/(\d+)/.exec(addrOf(victim)) ?? []
    const socket = net.connect(Number(port), '127.0.0.1').on('error', () => undefined).resume()
    sockets.push(socket)
    await new Promise<void>(resolve => { socket.on('close', () => { resolve() }) })
  })

  it('resets a stream that announces too large a request', async () => {
    const victim = await mesh.start()
    await victim.handle(ECHO, 'member', async request => request)
    const raw = await bad(victim)
    const stream = await raw.stream(victim, ECHO)
    const refused = victim.logged('rpc:peer-refused')
    stream.send(Uint8Array.of(0x7f, 0xff, 0xff, 0xff))
    await reset(stream)
    assert.equal((await refused).code, 'FRAME_TOO_LARGE')
  })

  for (const [what, bytes] of [
    ['a request that does not decode', encodeFrames([Uint8Array.of(0xff, 0xff)])],
    ['the same request id twice', encodeFrames([encodeRequest(1, new Uint8Array(0), 5_000), encodeRequest(1, new Uint8Array(0), 5_000)])]
  ] as const) {
    it(`resets a stream that carries ${what}, and its handlers hear of it`, async () => {
      const victim = await mesh.start()
      let open = 0
      await victim.handle(ECHO, 'member', async (_, { signal }) => {
        open++
        await once(signal, 'abort')
        open--
        return new Uint8Array(0)
      })
      const raw = await bad(victim)
      const stream = await raw.stream(victim, ECHO)
      const refused = victim.logged('rpc:peer-refused')
      stream.send(bytes)
      await reset(stream)
      assert.equal((await refused).code, 'RPC_MALFORMED')
      assert.equal(open, 0)
    })
  }

  it('stops reading requests whose answers are not taken', async () => {
    const victim = await mesh.start()
    let answered = 0
    await victim.handle(ECHO, 'member', async () => { answered++; return new Uint8Array(2 ** 20) })
    const raw = await bad(victim)
    const stream = await raw.stream(victim, ECHO)
    stream.addEventListener('message', () => undefined)
    stream.pause()
    const requests = Array.from({ length: 5_000 }, (_, index) => encodeRequest(index + 1, new Uint8Array(0), 60_000))
    stream.send(encodeFrames(requests))
    const echo = await mesh.start()
    await join(echo, victim)
    for (let round = 0; round < 50; round++) await echo.request(victim.peerId, ECHO, new Uint8Array(0), { timeoutMs: 5_000 })
    assert.ok(answered - 50 < 256, `${answered - 50} answers of 1 MiB are kept for a peer that takes none`)
  })

  it('refuses more streams than it serves, without harm to others', async () => {
    const victim = await mesh.start({ limits: { maxStreamsPerConnection: 32 } })
    await victim.handleStream(BULK, 'blocks', async stream => { for await (const _ of stream.source) ; })
    const raw = await bad(victim)
    const streams = await Promise.allSettled(Array.from({ length: 100 }, async () => await raw.stream(victim, BULK)))
    assert.ok(streams.filter(({ status }) => status === 'fulfilled').length <= 32)
    const honest = await mesh.start()
    await join(honest, victim)
    const stream = await honest.openStream(victim.peerId, BULK, soon())
    await stream.close()
  })

  it('resets a bulk stream whose opener says nothing', async () => {
    const victim = await mesh.start()
    await victim.handleStream(BULK, 'blocks', async () => { assert.fail('the handler ran') })
    const raw = await bad(victim)
    await reset(await raw.stream(victim, BULK))
  })

  it('resets a frame stream that is cut in the middle, and takes the next one', async () => {
    const victim = await mesh.start()
    const frames: number[] = []
    const got = Promise.withResolvers<void>()
    await victim.handleFrames(FRAMES, 'raft', (_, frame) => { frames.push(frame.byteLength); if (frames.length === 2) got.resolve() })
    const raw = await bad(victim)
    const first = await raw.stream(victim, FRAMES)
    first.send(encodeFrames([new Uint8Array(3)]))
    first.send(encodeFrames([new Uint8Array(9)]).subarray(0, 8))
    await first.close()
    await reset(first)
    const second = await raw.stream(victim, FRAMES)
    second.send(encodeFrames([new Uint8Array(5)]))
    await got.promise
    assert.deepEqual(frames, [3, 5])
  })

  it('opens a frame stream anew that the peer reset', async () => {
    const victim = await mesh.start()
    const raw = await bad(victim)
    let streams = 0
    const third = Promise.withResolvers<void>()
    await raw.libp2p.handle(FRAMES, stream => {
      if (++streams === 3) third.resolve()
      stream.addEventListener('message', () => { stream.abort(new Error('no')) })
    })
    const timer = setInterval(() => { victim.sendFrame(raw.peerId, FRAMES, new Uint8Array(10)) }, 20)
    try {
      await third.promise
    } finally {
      clearInterval(timer)
    }
  })

  it('drops gossip that is forged, and keeps taking honest gossip', async () => {
    const victim = await mesh.start()
    const heard = await listen(victim, 'tasks')
    const raw = await bad(victim)
    const honest = await mesh.start()
    await join(honest, victim)
    await publish(honest, 'tasks', 'first')
    assert.equal((await heard.next()).text, 'first')
    while (raw.heard.length === 0) await once(raw.pubsub, 'message', { signal: soon() })
    const { envelope, signature } = SignedEnvelope.decode(raw.heard[0] ?? new Uint8Array(0))
    const forged = Envelope.encode({ ...Envelope.decode(envelope), sequence: 1_000_000, payload: Buffer.from('forged') })
    const dropped = victim.logged('gossip:drop')
    await raw.pubsub.publish(wireTopic(mesh.network, 'tasks'), SignedEnvelope.encode({ envelope: forged, signature }))
    assert.equal((await dropped).code, 'ENVELOPE_FORGED')
    await publish(honest, 'tasks', 'second')
    assert.equal((await heard.next()).text, 'second')
  })

  it('drops gossip that is replayed after it forgot all but its marks', async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-overlay-'))
    try {
      const honest = await mesh.start()
      const before = await mesh.start({ datastoreDir: dir })
      const raw = await bad(before)
      const heardBefore = await listen(before, 'tasks')
      await join(honest, before)
      await publish(honest, 'tasks', 'once')
      await heardBefore.next()
      while (raw.heard.length === 0) await once(raw.pubsub, 'message', { signal: soon() })
      await before.stop()

      // a restart empties gossipsub's cache as two minutes would
      const after = await mesh.start({ datastoreDir: dir, identity: before.identity })
      await listen(after, 'tasks')
      const again = await bad(after)
      const dropped = after.logged('gossip:drop')
      const topic = wireTopic(mesh.network, 'tasks')
      while (again.pubsub.getSubscribers(topic).length === 0) await once(again.pubsub, 'subscription-change', { signal: soon() })
      await again.pubsub.publish(topic, raw.heard[0])
      assert.equal((await dropped).code, 'GOSSIP_REPLAYED')
    } finally {
      await mesh.stop()
      await fs.rm(dir, { recursive: true, force: true })
    }
  })

  it('opens its gossip stream anew when it was reset, while the connection lives (trap 6)', async () => {
    const victim = await mesh.start({ limits: { gossipWatchdogMs: 100 } })
    const raw = await bad(victim)
    await publish(victim, 'tasks', 'before')
    while (raw.heard.length < 1) await once(raw.pubsub, 'message', { signal: soon() })
    let losses = 0
    victim.onPeer(() => { losses++ })
    for (const connection of raw.libp2p.getConnections()) {
      for (const stream of connection.streams) if (stream.protocol.startsWith('/meshsub/') && stream.direction === 'inbound') stream.abort(new Error('reset'))
    }
    await victim.logged('gossip:reopen')
    await publish(victim, 'tasks', 'after')
    while (raw.heard.length < 2) await once(raw.pubsub, 'message', { signal: soon() })
    assert.equal(losses, 0)
  })

  it('gives up a peer that answers no ping', async () => {
    const victim = await mesh.start({ limits: { pingIntervalMs: 100, pingTimeoutMs: 500 } })
    const raw = await bad(victim)
    await raw.libp2p.unhandle('/conclave/ping/1')
    for (const connection of raw.libp2p.getConnections()) {
      for (const stream of connection.streams) if (stream.protocol === '/conclave/ping/1') stream.abort(new Error('reset'))
    }
    await new Promise<void>(resolve => { if (!victim.isConnected(raw.peerId)) resolve(); else victim.onPeer(({ type }) => { if (type === 'peer:disconnect') resolve() }) })
  })
})
