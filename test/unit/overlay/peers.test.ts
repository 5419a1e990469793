import assert from 'node:assert/strict'
import { Peers } from '../../../src/overlay/peers.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'
import type { PeersInit } from '../../../src/overlay/peers.ts'
import type { Connection } from '@libp2p/interface'

const peer = 'p' as PeerIdStr
const signal = new AbortController().signal

/** A connection as far as Peers looks at one; closing it is told as libp2p tells it. */
function connect (peers: Peers): Connection & { status: string } {
  const connection = {
    status: 'open',
    remotePeer: { toString: () => peer },
    abort () {
      connection.status = 'aborted'
      peers.closed(connection as unknown as Connection)
    }
  }
  peers.opened(connection as unknown as Connection)
  return connection as unknown as Connection & { status: string }
}

function make (init: Partial<PeersInit> = {}): { peers: Peers, events: string[] } {
  const events: string[] = []
  const peers = new Peers({ greet: async () => undefined, onGone: () => { events.push('gone') }, log: () => undefined, ...init })
  peers.onPeer(({ type }) => { events.push(type) })
  return { peers, events }
}

describe('Peers', () => {
  it('counts a peer as connected when it has answered, not before', async () => {
    const answer = Promise.withResolvers<void>()
    const { peers, events } = make({ greet: async () => { await answer.promise } })
    connect(peers)
    assert.equal(peers.isConnected(peer), false)
    assert.ok(peers.connection(peer) !== undefined)
    answer.resolve()
    await peers.usable(peer, signal)
    assert.equal(peers.isConnected(peer), true)
    assert.deepEqual(events, ['peer:connect'])
  })

  it('tells of a peer once, however many connections it has', async () => {
    const { peers, events } = make()
    const first = connect(peers)
    const second = connect(peers)
    await peers.usable(peer, signal)
    peers.closed(first)
    peers.closed(first)
    assert.equal(peers.connection(peer), second)
    assert.deepEqual(events, ['peer:connect'])
    peers.closed(second)
    assert.deepEqual(events, ['peer:connect', 'gone', 'peer:disconnect'])
  })

  it('says that it was refused where the connection goes before the answer', async () => {
    const { peers, events } = make({ greet: async () => { await new Promise(() => undefined) } })
    const connection = connect(peers)
    const waiting = assert.rejects(peers.usable(peer, signal), { code: 'PEER_REFUSED' })
    peers.closed(connection)
    await waiting
    assert.deepEqual(events, ['gone'])
    await assert.rejects(peers.usable(peer, signal), { code: 'PEER_REFUSED' })
  })

  it('drops a peer that will not answer', async () => {
    const { peers, events } = make({ greet: async () => { throw new Error('no') } })
    const connection = connect(peers)
    await assert.rejects(peers.usable(peer, signal), { code: 'PEER_REFUSED' })
    assert.equal(connection.status, 'aborted')
    assert.deepEqual(events, ['gone'])
  })

  it('takes no late answer of an earlier connection for one of the present', async () => {
    const answers: Array<PromiseWithResolvers<void>> = []
    const { peers, events } = make({ greet: async () => { const answer = Promise.withResolvers<void>(); answers.push(answer); await answer.promise } })
    peers.closed(connect(peers))
    connect(peers)
    answers[0]?.resolve()
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(peers.isConnected(peer), false)
    answers[1]?.resolve()
    await peers.usable(peer, signal)
    assert.deepEqual(events, ['gone', 'peer:connect'])
  })

  it('keeps the newest connection of a silent peer, and the only one of none', async () => {
    const { peers } = make()
    const [old, fresh] = [connect(peers), connect(peers)]
    peers.abortSilent(peer, new Error('silent'))
    assert.deepEqual([old.status, fresh.status], ['aborted', 'open'])
    peers.abortSilent(peer, new Error('silent'))
    assert.equal(fresh.status, 'aborted')
  })

  it('survives a listener that throws, and tells the others', async () => {
    const { peers } = make()
    peers.onPeer(() => { throw new Error('listener') })
    const heard = new Promise<void>(resolve => { peers.onPeer(() => { resolve() }) })
    connect(peers)
    await heard
  })

  it('stops waiting when the signal aborts', async () => {
    const { peers } = make({ greet: async () => { await new Promise(() => undefined) } })
    connect(peers)
    const controller = new AbortController()
    const waiting = assert.rejects(peers.usable(peer, controller.signal), { message: 'enough' })
    controller.abort(new Error('enough'))
    await waiting
  })
})
