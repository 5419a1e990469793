import assert from 'node:assert/strict'
import { createRaft } from '../../src/consensus/raft.ts'
import { minimize } from './minimize.ts'
import { simulate, SimulationFailure } from './simulation.ts'

/** Steps of one seed; a longer run: `npm run simulate -- --seed S --steps N`. */
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

  it('a failure names its seed and rule, and can be reduced to the faults that it needs', () => {
    const options = { seed: 7, steps: STEPS, core: { createRaft, mayPrecedeSync: () => true } }
    let failure: unknown
    try {
      simulate(options)
    } catch (error) {
      failure = error
    }
    assert.ok(failure instanceof SimulationFailure)
    assert.match(failure.message, /^seed 7, step \d+: vote on disk before it is given/)
    const least = minimize(options, failure)
    assert.equal(least.rule, failure.rule)
    assert.ok(least.acts.length < failure.acts.length && least.step <= failure.step, `${least.acts.length} of ${failure.acts.length} acts`)
  })
})
