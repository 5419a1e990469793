import assert from 'node:assert/strict'
import { createRandom } from '../../simulation/random.ts'
import { createOrder, gapOf, ingest, jump, learnHead } from '../../../src/observer/order.ts'
import type { LedgerEntry } from '../../../src/ledger/apply.ts'

const entry = (index: number, bytes = 1): LedgerEntry => ({ index, term: 1, data: new Uint8Array(bytes).fill(index) })
const range = (from: number, to: number): LedgerEntry[] => Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => entry(from + n))
const indexes = (entries: readonly LedgerEntry[]): number[] => entries.map(({ index }) => index)

describe('observer order', () => {
  it('gives out entries in order, once, and names the first hole', () => {
    const order = createOrder(1)
    assert.equal(gapOf(order), undefined)
    assert.deepEqual(indexes(ingest(order, [entry(1), entry(3), entry(4), entry(7)])), [1])
    assert.deepEqual(gapOf(order), { from: 2, to: 2 })
    assert.deepEqual(indexes(ingest(order, [entry(1), entry(3), entry(2)])), [2, 3, 4])
    assert.deepEqual(gapOf(order), { from: 5, to: 6 })
    assert.equal(order.stats.duplicates, 2)
  })

  it('learns from a head that it lags', () => {
    const order = createOrder(1)
    learnHead(order, 9)
    assert.deepEqual(gapOf(order), { from: 1, to: 9 })
    assert.deepEqual(indexes(ingest(order, range(1, 9))), indexes(range(1, 9)))
    assert.equal(gapOf(order), undefined)
  })

  it('jumps forward with a snapshot and never back', () => {
    const order = createOrder(1)
    ingest(order, [entry(5), entry(8), entry(9)])
    assert.deepEqual(indexes(jump(order, 7)), [8, 9])
    assert.deepEqual(jump(order, 3), [])
    assert.equal(order.next, 10)
    assert.equal(order.waitingBytes, 0)
  })

  it('is bounded: what has no room is dropped, farthest first, and is part of the gap again', () => {
    const order = createOrder(1, { maxEntries: 10, maxBytes: 25 })
    ingest(order, [entry(500), entry(4, 10), entry(3, 10), entry(2, 10)])
    assert.deepEqual([...order.waiting.keys()].sort(), [2, 3])
    assert.equal(order.stats.dropped, 2)
    assert.equal(order.waitingBytes, 20)
    assert.deepEqual(indexes(ingest(order, [entry(1)])), [1, 2, 3])
    assert.deepEqual(gapOf(order), { from: 4, to: 500 })
  })

  for (let seed = 1; seed <= 20; seed++) {
    it(`misses nothing and repeats nothing, whatever is shuffled, repeated or lost (seed ${seed})`, () => {
      const random = createRandom(seed)
      const total = 400
      const order = createOrder(1, { maxEntries: random.between(1, 60), maxBytes: random.between(20, 4_000) })
      const seen: number[] = []
      let sent = 0
      for (let round = 0; round < 4_000 && order.next <= total; round++) {
        const batch: LedgerEntry[] = []
        if (sent < total && random.chance(0.6)) {
          const until = Math.min(total, sent + random.between(1, 12))
          for (const { index } of range(sent + 1, until)) {
            if (random.chance(0.8)) batch.splice(random.int(batch.length + 1), 0, entry(index, random.int(9)))
            if (random.chance(0.2)) batch.splice(random.int(batch.length + 1), 0, entry(random.between(1, until)))
          }
          sent = until
        } else {
          learnHead(order, sent)
          const gap = gapOf(order)
          if (gap !== undefined && random.chance(0.7)) batch.push(...range(gap.from, Math.min(gap.to, gap.from + random.int(30))))
        }
        if (random.chance(0.01)) {
          const to = random.between(1, Math.max(1, sent))
          // a snapshot holds everything up to its index
          while (seen.length < to) seen.push(seen.length + 1)
          seen.push(...indexes(jump(order, to)))
        }
        seen.push(...indexes(ingest(order, batch)))
        assert.ok(order.waiting.size <= order.limits.maxEntries && order.waitingBytes <= order.limits.maxBytes)
        const gap = gapOf(order)
        assert.equal(gap === undefined, order.next > order.head)
        assert.equal(gap?.from ?? order.next, order.next)
      }
      assert.deepEqual(seen, Array.from({ length: total }, (_, n) => n + 1))
    })
  }
})
