import assert from 'node:assert/strict'
import { simulate, SimulationFailure } from './simulation.ts'

/** Steps of one seed; a longer run: `node test/simulation/main.ts --seed S --steps N --runs R`. */
const STEPS = 50_000

describe('simulation: the rules of Raft hold under faults (figure 3)', function () {
  this.timeout(60_000)

  for (const seed of [1, 2, 3, 4, 5, 6, 12]) {
    it(`seed ${seed}`, () => {
      try {
        const { healed, committed, acknowledged, elections } = simulate({ seed, steps: STEPS })
        // a run in which nothing happens proves nothing
        assert.ok(healed > 0 && elections > 5 && acknowledged > 300 && committed > acknowledged, JSON.stringify({ healed, committed, acknowledged, elections }))
      } catch (error) {
        if (error instanceof SimulationFailure) error.message += `\n${error.trace.join('\n')}`
        throw error
      }
    })
  }

  it('the same seed gives the same run', () => {
    assert.deepEqual(simulate({ seed: 9, steps: 20_000 }), simulate({ seed: 9, steps: 20_000 }))
    assert.notDeepEqual(simulate({ seed: 9, steps: 20_000 }), simulate({ seed: 10, steps: 20_000 }))
  })
})
