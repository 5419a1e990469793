import assert from 'node:assert/strict'
import { createBatcher } from '../../../src/participant/batcher.ts'

describe('a batcher', () => {
  it('handles a lone item at once, and what gathers meanwhile together, in order', async () => {
    const batches: number[][] = []
    const gates: Array<() => void> = []
    const batcher = createBatcher<number>(3, async (batch) => {
      batches.push(batch)
      await new Promise<void>((resolve) => { gates.push(resolve) })
    })
    for (let i = 0; i < 6; i++) batcher.push(i)
    assert.deepEqual(batches, [[0]])
    for (let n = 0; n < 3; n++) {
      gates[n]?.()
      for (let turn = 0; turn < 5; turn++) await Promise.resolve()
    }
    await batcher.idle()
    assert.deepEqual(batches, [[0], [1, 2, 3], [4, 5]])
  })

  for (let turns = 0; turns < 12; turns++) {
    it(`leaves no item behind that comes ${turns} turns after a batch was handled`, async () => {
      const handled: string[] = []
      const batcher = createBatcher<string>(8, async (batch) => { handled.push(...batch) })
      batcher.push('first')
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      batcher.push('second')
      for (let turn = 0; turn < 20; turn++) await Promise.resolve()
      assert.deepEqual(handled, ['first', 'second'])
    })
  }
})
