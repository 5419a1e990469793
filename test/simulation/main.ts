/**
 * `npm run simulate -- --seed S --steps N`: N steps (1,000,000) in runs of at most 100,000, from seed S (1) on. Prints what it saw and
 * its speed; the first failure prints its seed and a trace with the faults it needs, and exits with 1.
 */
import { parseArgs } from 'node:util'
import { minimize } from './minimize.ts'
import { simulate, SimulationFailure } from './simulation.ts'

/** What a seed settles (size of the group, limits) is drawn anew often. */
const RUN_STEPS = 100_000

const { values } = parseArgs({ options: { seed: { type: 'string' }, steps: { type: 'string' } } })
const first = Number(values.seed ?? 1)
const wanted = Number(values.steps ?? 1_000_000)
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(wanted) || wanted < 1) throw new Error('--seed and --steps are whole numbers')

const sum = { steps: 0, elections: 0, committed: 0, acknowledged: 0, healed: 0 }
const started = performance.now()
let seed = first
for (; sum.steps < wanted; seed++) {
  const options = { seed, steps: Math.min(RUN_STEPS, wanted - sum.steps) }
  try {
    const report = simulate(options)
    for (const key of Object.keys(sum) as Array<keyof typeof sum>) sum[key] += report[key]
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error
    const least = minimize(options, error)
    process.stderr.write(`${least.trace.join('\n')}\n`)
    process.stderr.write(`with ${least.acts.length} of ${error.acts.length} faults and commands: ${least.message}\n`)
    process.stderr.write(`${error.cause instanceof Error ? error.cause.stack : ''}\n`)
    process.stderr.write(`${error.message}\nagain: npm run simulate -- --seed ${seed} --steps ${error.step + 1}\n`)
    process.exit(1)
  }
}
const seconds = (performance.now() - started) / 1000
process.stdout.write(`seeds ${first} to ${seed - 1}: ${Object.entries(sum).map(([name, count]) => `${count} ${name}`).join(', ')}; ${Math.round(sum.steps / seconds)} steps/s\n`)
