import assert from 'node:assert/strict'
import { backoffMs, RedialSchedule } from '../../../src/overlay/redial.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'

const limits = { baseMs: 200, capMs: 5_000, maxPeers: 3 }
const [a, b, c, d, m] = ['a', 'b', 'c', 'd', 'm'] as [PeerIdStr, PeerIdStr, PeerIdStr, PeerIdStr, PeerIdStr]
const nobody = (): boolean => false
const half = (): number => 0.5

describe('backoffMs', () => {
  const table = [[0, 100, 200], [1, 200, 400], [2, 400, 800], [3, 800, 1_600], [4, 1_600, 3_200], [5, 2_500, 5_000], [50, 2_500, 5_000], [1e9, 2_500, 5_000]] as const
  for (const [failures, lowest, highest] of table) {
    it(`waits ${lowest} to ${highest} ms after ${failures} failures`, () => {
      assert.equal(backoffMs(failures, limits, 0), lowest)
      assert.ok(backoffMs(failures, limits, 0.999999) <= highest)
      assert.ok(backoffMs(failures, limits, 0.999999) > highest * 0.99)
    })
  }
})

describe('RedialSchedule', () => {
  it('dials a peer with a larger id at once, one with a smaller id a little later', () => {
    const schedule = new RedialSchedule(b, limits)
    schedule.keep([a, c], nobody, 0, half)
    assert.deepEqual(schedule.due(0), [c])
    assert.equal(schedule.nextDueMs(), 150)
    assert.deepEqual(schedule.due(150), [a])
  })

  it('never dials itself, nor a peer that is connected', () => {
    const schedule = new RedialSchedule(a, limits)
    schedule.keep([a, b], peer => peer === b, 0, half)
    assert.deepEqual(schedule.due(1e9), [])
    assert.equal(schedule.nextDueMs(), undefined)
  })

  it('dials a peer once until it hears how that went', () => {
    const schedule = new RedialSchedule(a, limits)
    schedule.keep([b], nobody, 0, half)
    assert.deepEqual(schedule.due(0), [b])
    assert.deepEqual(schedule.due(1e9), [])
  })

  it('never gives up: the wait grows to its cap and stays there', () => {
    const schedule = new RedialSchedule(a, limits)
    schedule.keep([b], nobody, 0, half)
    let nowMs = 0
    const waits: number[] = []
    for (let round = 0; round < 100; round++) {
      assert.deepEqual(schedule.due(nowMs), [b])
      schedule.failed(b, nowMs, 1)
      const dueMs = schedule.nextDueMs() ?? assert.fail('gave up')
      waits.push(dueMs - nowMs)
      nowMs = dueMs
    }
    assert.deepEqual(waits.slice(0, 6), [400, 800, 1_600, 3_200, 5_000, 5_000])
    assert.equal(waits.at(-1), 5_000)
  })

  it('begins anew after a connection', () => {
    const schedule = new RedialSchedule(a, limits)
    schedule.keep([b], nobody, 0, half)
    for (let round = 0; round < 5; round++) {
      schedule.due(1e9)
      schedule.failed(b, 0, 0)
    }
    schedule.due(1e9)
    schedule.connected(b)
    schedule.disconnected(b, 1_000, 0)
    assert.equal(schedule.nextDueMs(), 1_100)
  })

  it('ignores the failure of a dial whose peer came in by itself', () => {
    const schedule = new RedialSchedule(a, limits)
    schedule.keep([b], nobody, 0, half)
    schedule.due(0)
    schedule.connected(b)
    schedule.failed(b, 0, 0)
    assert.equal(schedule.nextDueMs(), undefined)
  })

  it('forgets peers that left the set and keeps the backoff of those that stay', () => {
    const schedule = new RedialSchedule(a, limits)
    schedule.keep([b, c], nobody, 0, half)
    schedule.due(0)
    schedule.failed(b, 0, 0)
    schedule.keep([b], nobody, 0, half)
    assert.equal(schedule.nextDueMs(), 200)
    assert.deepEqual(schedule.due(200), [b])
  })

  it('takes at most maxPeers and says how many it left out', () => {
    const schedule = new RedialSchedule(m, limits)
    assert.equal(schedule.keep([a, b, c, d], nobody, 0, half), 1)
    assert.equal(schedule.due(1e9).length, 3)
  })
})
