import assert from 'node:assert/strict'
import { multiaddr } from '@multiformats/multiaddr'
import { ConclaveError } from '../../keys/conclave-error.ts'
import { accept, ignore } from '../../keys/verdict.ts'
import { refusalIn } from '../../src/overlay/sealed-errors.ts'
import { ECHO, eventually, friend, stopAll, victim } from '../hostile/handshake-fixture.ts'
import { founder, member, stranger } from '../unit/keys/fixture.ts'
import type { Verdict } from '../../keys/verdict.ts'
import type { TestNode } from '../hostile/handshake-fixture.ts'

const dial = async (from: TestNode, to: TestNode): Promise<void> => { await from.libp2p.dial(multiaddr(to.addr), { signal: AbortSignal.timeout(15_000) }) }

/** @returns the handshake's refusal that this dial ended with */
async function refusalOf (from: TestNode, to: TestNode): Promise<ConclaveError> {
  try {
    await dial(from, to)
  } catch (error) {
    const refusal = refusalIn(error)
    assert.ok(refusal !== undefined, String(error))
    return refusal
  }
  return assert.fail('the dial succeeded')
}

describe('sealed handshake', () => {
  afterEach(stopAll)

  it('connects two members, who then lose no byte to it', async () => {
    const [listener, dialler] = [await victim(), await friend()]
    await dial(dialler, listener)
    assert.deepEqual(dialler.opened, [founder.peerId])
    await eventually(() => listener.opened.includes(member.peerId), 'the listener opens the connection')

    const stream = await dialler.libp2p.dialProtocol(multiaddr(listener.addr), ECHO)
    let received = 0
    stream.addEventListener('message', event => { received += event.data.byteLength })
    for (let i = 0; i < 32; i++) stream.send(new Uint8Array(8192).fill(i))
    await eventually(() => received === 32 * 8192, 'all bytes come back')
    assert.deepEqual([...listener.refusals, ...dialler.refusals], [])
  })

  it('keeps the first bytes of the muxer behind the exchange, whoever is faster', async () => {
    const pause = async (): Promise<Verdict<unknown>> => await new Promise(resolve => setTimeout(() => { resolve(accept(undefined)) }, 30))
    for (const [theirs, ours] of [[{ judge: pause }, {}], [{}, { judge: pause }], [{}, {}]]) {
      const [listener, dialler] = [await victim(theirs), await friend(ours)]
      await Promise.all(Array.from({ length: 5 }, async () => {
        const connection = await dialler.libp2p.dial(multiaddr(listener.addr), { force: true })
        const stream = await connection.newStream(ECHO)
        let received = 0
        stream.addEventListener('message', event => { received += event.data.byteLength })
        stream.send(new Uint8Array(1000))
        await eventually(() => received === 1000, 'the echo')
      }))
      await stopAll()
    }
  })

  it('lets a dialler believe that it is connected only once the other side has accepted', async () => {
    const answer = Promise.withResolvers<Verdict<unknown>>()
    const asked = Promise.withResolvers<void>()
    const listener = await victim({
      judge: async () => {
        asked.resolve()
        return await answer.promise
      }
    })
    const hasAccepted = Promise.withResolvers<void>()
    const dialler = await friend({
      judge: async () => {
        hasAccepted.resolve()
        return accept(undefined)
      }
    })
    let isDialled = false
    const dialling = dial(dialler, listener).then(() => { isDialled = true })
    await Promise.all([asked.promise, hasAccepted.promise])
    // turns enough for a dialler that believes too early
    for (let turn = 0; turn < 100; turn++) await new Promise(resolve => setImmediate(resolve))
    assert.equal(isDialled, false)
    assert.deepEqual(dialler.opened, [])
    answer.resolve(accept(undefined))
    await dialling
    assert.deepEqual(dialler.opened, [founder.peerId])
  })

  it('tells a refused dialler the code and the reason, and never opens a connection', async () => {
    const listener = await victim({ judge: async () => ignore('NO_QUORUM', 'too few voters answer') })
    const dialler = await friend()
    const refusal = await refusalOf(dialler, listener)
    assert.equal(refusal.code, 'NO_QUORUM')
    assert.match(refusal.message, /too few voters answer/)
    assert.deepEqual(dialler.refusals.map(({ by, code, direction, remote }) => ({ by, code, direction, remote })),
      [{ by: 'them', code: 'NO_QUORUM', direction: 'outbound', remote: founder.peerId }])
    await eventually(() => listener.refusals.length === 1, 'the listener notes it')
    assert.deepEqual([listener.refusals[0]?.by, listener.refusals[0]?.code, listener.refusals[0]?.remote], ['us', 'NO_QUORUM', member.peerId])
    assert.deepEqual([...listener.opened, ...dialler.opened], [])
  })

  it('tells a refused listener as well', async () => {
    const listener = await victim()
    const dialler = await friend({ judge: async () => ignore('NOT_MINE', 'I expected somebody else') })
    assert.equal((await refusalOf(dialler, listener)).code, 'NOT_MINE')
    await eventually(() => listener.refusals.length === 1, 'the listener is told')
    assert.deepEqual([listener.refusals[0]?.by, listener.refusals[0]?.code, listener.refusals[0]?.reason], ['them', 'NOT_MINE', 'I expected somebody else'])
    assert.deepEqual([...listener.opened, ...dialler.opened], [])
  })

  it('ends the work of a judge whose peer has refused', async () => {
    let wasAborted = false
    const listener = await victim({
      judge: async (_remote, _theirs, signal) => await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          wasAborted = true
          reject(signal.reason)
        })
      })
    })
    const dialler = await friend({ judge: async () => ignore('NOT_MINE', 'no') })
    assert.equal((await refusalOf(dialler, listener)).code, 'NOT_MINE')
    await eventually(() => wasAborted && listener.refusals.length === 1, 'the judge is told')
    assert.equal(listener.refusals[0]?.code, 'NOT_MINE')
  })

  it('refuses after a judge that never answers, and after one that fails', async () => {
    const slow = await victim({ judge: async () => await new Promise(() => undefined), timeouts: { judgeMs: 200 } })
    const dialler = await friend()
    assert.equal((await refusalOf(dialler, slow)).code, 'ADMISSION_TIMEOUT')
    await slow.libp2p.stop()

    const broken = await victim({ judge: async () => { throw new Error('secret of ours') } })
    const refusal = await refusalOf(dialler, broken)
    assert.equal(refusal.code, 'JUDGE_FAILED')
    assert.doesNotMatch(refusal.message, /secret/)
    await broken.libp2p.stop()

    const without = await victim({ judge: async () => { throw new ConclaveError('NO_QUORUM', 'too few voters answer') } })
    assert.equal((await refusalOf(dialler, without)).code, 'NO_QUORUM')
  })

  it('tells that another node answers than the expected', async () => {
    const [listener, dialler] = [await victim(), await friend()]
    const elsewhere = { ...listener, addr: listener.addr.replace(founder.peerId, stranger.peerId) }
    const refusal = await refusalOf(dialler, elsewhere)
    assert.equal(refusal.code, 'PEER_MISMATCH')
    assert.deepEqual([...listener.opened, ...dialler.opened], [])
  })

  it('carries bulk both ways', async () => {
    const [listener, dialler] = [await victim(), await friend()]
    const connection = await dialler.libp2p.dial(multiaddr(listener.addr))
    const stream = await connection.newStream(ECHO)
    const total = 8 * 1024 * 1024
    let received = 0
    stream.addEventListener('message', event => { received += event.data.byteLength })
    for (let sent = 0; sent < total; sent += 65536) {
      stream.send(new Uint8Array(65536))
      await eventually(() => received >= sent - 512 * 1024, 'the echo keeps up')
    }
    await eventually(() => received === total, 'all bytes come back')
  })
})
