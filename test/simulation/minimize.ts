/** From a failure to the few faults and commands that it needs. Source: Zeller & Hildebrandt, "Simplifying and isolating failure-inducing input" (ddmin). */
import { simulate, SimulationFailure } from './simulation.ts'
import type { SimulationOptions } from './simulation.ts'

/** What all attempts together may take. */
const MAX_STEPS = 10_000_000

/**
 * Leave out acts of chaos and clients as long as the same rule breaks, no later than before.
 *
 * @returns the failure with the fewest acts that was found
 */
export function minimize (options: SimulationOptions, failure: SimulationFailure): SimulationFailure {
  let best = failure
  let spent = 0
  const skipped = new Set(options.skipped)
  for (let size = Math.ceil(best.acts.length / 2); size >= 1 && spent < MAX_STEPS; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = best.acts.length - size; from > -size && spent < MAX_STEPS; from -= size) {
      const without = best.acts.slice(Math.max(from, 0), from + size)
      for (const act of without) skipped.add(act)
      const next = attempt({ ...options, steps: best.step + 1, skipped }, best.rule)
      spent += next?.step ?? best.step
      if (next !== undefined) best = next
      else for (const act of without) skipped.delete(act)
      from = Math.min(from, best.acts.length)
    }
  }
  return best
}

function attempt (options: SimulationOptions, rule: string): SimulationFailure | undefined {
  try {
    simulate(options)
  } catch (error) {
    if (error instanceof SimulationFailure && error.rule === rule) return error
    if (!(error instanceof SimulationFailure)) throw error
  }
  return undefined
}
