import assert from 'node:assert/strict'
import { Liveness } from '../../../src/overlay/liveness.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'

const peer = 'p' as PeerIdStr
const limits = { intervalMs: 1_000, timeoutMs: 5_000 }
/** Ticks each 250 ms from `fromMs` to `toMs`; everything that was said on the way. */
const run = (liveness: Liveness, fromMs: number, toMs: number): { pings: number[], deaths: number[] } => {
  const pings: number[] = []
  const deaths: number[] = []
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 250) {
    const { ping, dead } = liveness.tick(nowMs)
    if (ping.length > 0) pings.push(nowMs)
    if (dead.length > 0) deaths.push(nowMs)
  }
  return { pings, deaths }
}

describe('Liveness', () => {
  it('pings a new peer at once and then once an interval', () => {
    const liveness = new Liveness(limits)
    liveness.add(peer, 0)
    assert.deepEqual(liveness.tick(0).ping, [peer])
    liveness.pong(peer, 10)
    assert.deepEqual(run(liveness, 250, 1_000).pings, [1_000])
  })

  it('declares a peer dead that does not answer for the timeout, once', () => {
    const liveness = new Liveness(limits)
    liveness.add(peer, 0)
    assert.deepEqual(run(liveness, 0, 20_000), { pings: [0], deaths: [5_000] })
  })

  it('keeps a peer that answers late but in time', () => {
    const liveness = new Liveness(limits)
    liveness.add(peer, 0)
    run(liveness, 0, 4_750)
    liveness.pong(peer, 4_900)
    assert.deepEqual(run(liveness, 5_000, 9_750).deaths, [])
  })

  it('pings again when a ping was lost with its stream, and lets the time run on', () => {
    const liveness = new Liveness(limits)
    liveness.add(peer, 0)
    let deaths: number[] = []
    for (let nowMs = 0; nowMs <= 6_000 && deaths.length === 0; nowMs += 250) {
      const { ping, dead } = liveness.tick(nowMs)
      if (ping.length > 0) liveness.lost(peer)
      if (dead.length > 0) deaths = [nowMs]
    }
    assert.deepEqual(deaths, [5_000])
  })

  it('does not hold its own standstill against a peer', () => {
    const liveness = new Liveness(limits)
    liveness.add(peer, 0)
    run(liveness, 0, 1_000)
    assert.deepEqual(run(liveness, 60_000, 64_750).deaths, [])
    assert.deepEqual(liveness.tick(65_000).dead, [peer])
  })

  it('smooths round trips as TCP does (RFC 6298)', () => {
    const liveness = new Liveness(limits)
    liveness.add(peer, 0)
    assert.equal(liveness.rttMs(peer), undefined)
    liveness.tick(0)
    liveness.pong(peer, 80)
    assert.equal(liveness.rttMs(peer), 80)
    liveness.tick(1_000)
    liveness.pong(peer, 1_000)
    assert.equal(liveness.rttMs(peer), 70)
  })

  it('ignores answers that nobody waits for', () => {
    const liveness = new Liveness(limits)
    liveness.pong(peer, 5)
    liveness.lost(peer)
    assert.deepEqual(liveness.tick(10), { ping: [], dead: [] })
  })
})
