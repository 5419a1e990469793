/**
 * `node simulate-mutant.ts CORE SEEDS STEPS`: the simulation with the core at the path CORE, until it fails. Prints the seed and the
 * broken rule as JSON, or null. A process of its own, because a mutant may never return.
 */
import { pathToFileURL } from 'node:url'
import { simulate, SimulationFailure } from '../simulation.ts'
import type { CoreUnderTest } from '../sim-node.ts'

const [file, seeds, steps] = process.argv.slice(2)
const core = await import(pathToFileURL(file!).href) as CoreUnderTest

let caught: { seed: number, rule: string } | null = null
for (let seed = 1; seed <= Number(seeds) && caught === null; seed++) {
  try {
    simulate({ seed, steps: Number(steps), core })
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error
    caught = { seed, rule: error.rule }
  }
}
process.stdout.write(JSON.stringify(caught))
