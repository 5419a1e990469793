/**
 * `node test/simulation/main.ts --seed S --steps N [--runs R]`: R runs (1) of N steps (1,000,000) from seed S (1) on. Prints seeds and
 * speed; the first failure prints its trace and exits with 1.
 */
import { parseArgs } from 'node:util'
import { simulate, SimulationFailure } from './simulation.ts'

const { values } = parseArgs({ options: { seed: { type: 'string' }, steps: { type: 'string' }, runs: { type: 'string' } } })
const first = Number(values.seed ?? 1)
const steps = Number(values.steps ?? 1_000_000)
const runs = Number(values.runs ?? 1)

let total = 0
const started = performance.now()
for (let seed = first; seed < first + runs; seed++) {
  try {
    const report = simulate({ seed, steps })
    total += report.steps
    process.stdout.write(`seed ${seed}: ${JSON.stringify(report)}\n`)
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error
    process.stderr.write(`${error.trace.join('\n')}\n${error.message}\n${error.cause instanceof Error ? error.cause.stack : ''}\n`)
    process.stderr.write(`again: node test/simulation/main.ts --seed ${seed} --steps ${error.step + 1}\n`)
    process.exitCode = 1
    break
  }
}
const seconds = (performance.now() - started) / 1000
process.stdout.write(`${total} steps, ${Math.round(total / seconds)} steps/s\n`)
