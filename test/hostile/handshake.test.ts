import assert from 'node:assert/strict'
import net from 'node:net'
import { noise } from '@chainsafe/libp2p-noise'
import { multiaddr } from '@multiformats/multiaddr'
import { attest } from '../../keys/attestation.ts'
import { issueCertificate } from '../../keys/certificate.ts'
import { rootChain } from '../../keys/network.ts'
import { judgePeer } from '../../keys/roster.ts'
import { Answer, Hello } from '../../protocols/sealed/messages.js'
import { MAX_FRAME_BYTES } from '../../protocols/sealed/constants.ts'
import { encodeAnswer, encodeHello } from '../../protocols/sealed/codec.ts'
import { refusalIn } from '../../src/overlay/sealed-errors.ts'
import { founder, inviteKey, member, memberChain, network, NOW, person, stranger, TICKET } from '../unit/keys/fixture.ts'
import { closed, ECHO, eventually, friend, honest, roster, scripted, startNode, stopAll, victim } from './handshake-fixture.ts'
import type { Credentials } from '../../keys/roster.ts'
import type { ConclaveError } from '../../keys/conclave-error.ts'
import type { Script, TestNode } from './handshake-fixture.ts'

/** The times of the real thing, shortened: who says nothing is refused after 300 ms. */
const SHORT = { openingMs: 300, exchangeMs: 800, judgeMs: 500, lingerMs: 200 }
const DAY = 24 * 3_600_000

/** An attacker who is let in by its own judge, so that only the victim's counts. */
const careless = { judge: async () => ({ verdict: 'accept', value: undefined }) as const }
const otherRoot = person(70)

async function attack (attacker: TestNode, target: TestNode): Promise<ConclaveError | Error> {
  try {
    const stream = await attacker.libp2p.dialProtocol(multiaddr(target.addr), ECHO, { signal: AbortSignal.timeout(10_000) })
    stream.abort(new Error('the attack succeeded'))
  } catch (error) {
    assert.ok(error instanceof Error)
    return refusalIn(error) ?? error
  }
  return assert.fail('a stream was opened')
}

/** The target saw no connection, and still serves its friends. */
async function assertUnharmed (target: TestNode): Promise<void> {
  assert.deepEqual(target.opened, [])
  assert.equal(target.libp2p.getConnections().length, 0)
  const visitor = await friend()
  const stream = await visitor.libp2p.dialProtocol(multiaddr(target.addr), ECHO)
  let isEchoed = false
  stream.addEventListener('message', () => { isEchoed = true })
  stream.send(new Uint8Array(10))
  await eventually(() => isEchoed, 'a friend is served')
  assert.deepEqual(target.opened, [member.peerId])
}

describe('handshake with who is no member', () => {
  afterEach(stopAll)

  const forged = issueCertificate(stranger, {
    kind: 'member', network, subject: stranger.peerId, capabilities: TICKET, notBeforeMs: NOW, notAfterMs: NOW + DAY, uses: 0
  })
  const liar = attest(stranger, { chain: [forged] }, { network, peer: stranger.peerId, grant: inviteKey.peerId, index: 99, term: 9 })

  const cases: Array<[string, string, Credentials]> = [
    ['a stranger without a certificate', 'CERT_CHAIN_LENGTH', { chain: [] }],
    ['a stranger with a certificate of another network', 'CERT_WRONG_NETWORK', { chain: rootChain(otherRoot, { subject: stranger.peerId, nowMs: NOW }) }],
    ["a stranger with a member's certificate", 'CERT_WRONG_HOLDER', { chain: memberChain }],
    ["a stranger with a member's certificate and an attestation", 'CERT_WRONG_HOLDER', { chain: memberChain, attestation: liar }],
    ['a stranger that signed its own certificate', 'CERT_WRONG_SIGNER', { chain: [forged] }],
    ['a stranger whose chain is cut', 'CERT_MALFORMED', { chain: [memberChain[0] ?? new Uint8Array(), new Uint8Array(50)] }]
  ]
  for (const [who, code, credentials] of cases) {
    it(`lets ${who} open nothing, and tells both sides why: ${code}`, async () => {
      const target = await victim()
      const attacker = await honest(stranger, credentials, careless)
      const refusal = await attack(attacker, target)
      assert.equal('code' in refusal && refusal.code, code)
      await eventually(() => target.refusals.length === 1, 'the victim notes it')
      assert.deepEqual(target.refusals.map(({ by, code, direction, remote }) => ({ by, code, direction, remote })), [{ by: 'us', code, direction: 'inbound', remote: stranger.peerId }])
      assert.deepEqual(attacker.opened, [])
      await assertUnharmed(target)
    })
  }

  it('refuses who was revoked, with the reason on both sides', async () => {
    const revoking = roster([founder.peerId], [member.peerId])
    const target = await victim({ judge: async (remote, theirs) => judgePeer(revoking, remote, theirs, NOW) })
    const refusal = await attack(await friend(), target)
    assert.equal('code' in refusal && refusal.code, 'REVOKED')
    await eventually(() => target.refusals.length === 1, 'the victim notes it')
    assert.deepEqual([target.opened, target.refusals[0]?.code, target.refusals[0]?.remote], [[], 'REVOKED', member.peerId])
  })

  it('does not even speak with a plain Noise client', async () => {
    const target = await victim()
    const attacker = await startNode(stranger, noise())
    await attack(attacker, target)
    assert.deepEqual(attacker.opened, [])
    await assertUnharmed(target)
  })

  it('ends Noise itself with who has another fence', async () => {
    const target = await victim()
    const attacker = await honest(member, { chain: memberChain }, { ...careless, fence: new Uint8Array(16).fill(8) })
    const refusal = await attack(attacker, target)
    assert.equal('code' in refusal && refusal.code, 'FENCE_MISMATCH')
    await eventually(() => target.refusals.length === 1, 'the victim notes it')
    assert.equal(target.refusals[0]?.code, 'HANDSHAKE_CLOSED', target.refusals[0]?.reason)
    assert.equal(target.refusals[0]?.remote, undefined)
    await assertUnharmed(target)
  })

  it('protects a dialler from a stranger that listens', async () => {
    const trap = await honest(stranger, { chain: [] }, careless)
    const dialler = await friend()
    const refusal = await attack(dialler, trap)
    assert.equal('code' in refusal && refusal.code, 'CERT_CHAIN_LENGTH')
    assert.deepEqual(dialler.refusals.map(({ by }) => by), ['us'])
    await eventually(() => trap.refusals.length === 1, 'the trap is told')
    assert.deepEqual([trap.refusals[0]?.by, trap.refusals[0]?.code], ['them', 'CERT_CHAIN_LENGTH'])
    assert.deepEqual([...dialler.opened, ...trap.opened], [])
  })
})

describe('handshake with who breaks its rules', () => {
  afterEach(stopAll)

  /** Reads frames until the connection ends. @returns the victim's answer, where one came */
  const answerOf = (told: Array<{ code: string }>): Script => async frames => {
    await frames.read({ signal: AbortSignal.timeout(5000) }) // the victim's Hello
    told.push(Answer.decode(await frames.read({ signal: AbortSignal.timeout(5000) })))
    throw new Error('refused')
  }

  const cases: Array<[string, string, Script]> = [
    ['sends garbage for a Hello', 'HELLO_MALFORMED', async frames => { await frames.write(new Uint8Array(64).fill(0xff)) }],
    ['sends an empty Hello', 'HELLO_VERSION', async frames => { await frames.write(new Uint8Array()) }],
    ['sends a Hello of another version', 'HELLO_VERSION', async frames => { await frames.write(Hello.encode({ version: 2, chain: memberChain, attestation: new Uint8Array() })) }],
    ['sends more certificates than a chain may have', 'HELLO_MALFORMED', async frames => {
      await frames.write(Hello.encode({ version: 1, chain: Array.from({ length: 500 }, () => new Uint8Array(1)), attestation: new Uint8Array() }))
    }],
    ['sends a Hello that is too large', 'HELLO_TOO_LARGE', async frames => { await frames.write(new Uint8Array(MAX_FRAME_BYTES + 1)) }],
    ['announces a Hello of 64 KiB', 'HELLO_TOO_LARGE', async (_, connection) => { connection.send(Uint8Array.of(0xff, 0xff)) }],
    ['says nothing after Noise', 'HANDSHAKE_TIMEOUT', async () => undefined],
    ['begins a Hello and goes silent', 'HANDSHAKE_TIMEOUT', async (_, connection) => { connection.send(Uint8Array.of(0, 100, 1, 2, 3)) }]
  ]
  for (const [what, code, script] of cases) {
    it(`refuses who ${what}: ${code}`, async () => {
      const target = await victim({ timeouts: SHORT })
      const told: Array<{ code: string }> = []
      const attacker = await scripted(member, async (frames, connection) => {
        await script(frames, connection)
        await answerOf(told)(frames, connection)
      })
      await attack(attacker, target)
      assert.deepEqual(told.map(answer => answer.code), [code])
      await eventually(() => target.refusals.length === 1, 'the victim notes it')
      assert.deepEqual([target.refusals[0]?.by, target.refusals[0]?.code], ['us', code])
      await assertUnharmed(target)
    })
  }

  it('gives up on who goes silent after a good Hello', async () => {
    const target = await victim({ timeouts: SHORT })
    const attacker = await scripted(member, async (frames, connection) => {
      await frames.write(encodeHello({ chain: memberChain }))
      await closed(connection)
      throw new Error('silent')
    })
    const attacking = attack(attacker, target)
    await eventually(() => target.refusals.length === 1, 'the victim gives up', 2500)
    assert.equal(target.refusals[0]?.code, 'HANDSHAKE_TIMEOUT')
    await assertUnharmed(target)
    await stopAll()
    await attacking
  })

  it('opens nothing for who does not wait for the answer', async () => {
    const target = await victim({ timeouts: SHORT })
    const attacker = await scripted(stranger, async (frames, connection) => {
      await frames.write(encodeHello({ chain: memberChain }))
      await frames.write(encodeAnswer({ accepted: true }))
      connection.send(Uint8Array.of(0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0)) // yamux: open stream 1
    })
    await attack(attacker, target).catch(() => undefined)
    await eventually(() => target.refusals.length === 1, 'the victim notes it')
    assert.equal(target.refusals[0]?.code, 'CERT_WRONG_HOLDER')
    await assertUnharmed(target)
  })

  it('aborts who floods it while its judge thinks', async () => {
    const target = await victim({ judge: async () => await new Promise(() => undefined), timeouts: { ...SHORT, judgeMs: 5000, exchangeMs: 5000 } })
    const attacker = await scripted(member, async (frames, connection) => {
      await frames.write(encodeHello({ chain: memberChain }))
      connection.send(Uint8Array.of(0x40, 0x00)) // an answer of 16 KiB
      for (let i = 0; i < 64; i++) connection.send(new Uint8Array(16 * 1024))
      await closed(connection)
      throw new Error('thrown out')
    })
    const attacking = attack(attacker, target)
    await eventually(() => target.refusals.length === 1, 'the victim ends it', 2500)
    assert.deepEqual(target.opened, [])
    await stopAll()
    await attacking
  })

  it('serves its friends while others hold their connections open and say nothing', async () => {
    const target = await victim()
    const silent = Array.from({ length: 40 }, () => {
      return net.connect({ host: '127.0.0.1', port: Number(/tcp\/(\d+)/.exec(target.addr)?.[1]) }).on('error', () => undefined)
    })
    try {
      const attacker = await scripted(member, async (_, connection) => {
        await closed(connection)
        throw new Error('silent')
      })
      const attacking = attack(attacker, target)
      const visitor = await friend()
      const started = performance.now()
      await visitor.libp2p.dial(multiaddr(target.addr))
      assert.ok(performance.now() - started < 1500, 'a friend waits for nobody')
      await stopAll()
      await attacking
    } finally {
      for (const socket of silent) socket.destroy()
    }
  })
})
