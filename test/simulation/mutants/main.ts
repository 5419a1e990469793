/**
 * `npm run mutants [-- --update] [--only TEXT]`: every mutant of `list.ts` against the unit tests of the core and against the
 * simulation. Prints by what each is caught. Fails if one is not, if the simulation misses one that breaks safety, or if that differs
 * from CAUGHT.md; `--update` writes it.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { MUTANTS } from './list.ts'
import type { Mutant } from './list.ts'
import { build, unitTests } from './workshop.ts'

/** at most; some mistakes show only where much comes together */
const SEEDS = 600
/** for one that cannot break safety */
const FEW_SEEDS = 60
/** for one that a unit test has caught, and the simulation need not */
const VERY_FEW_SEEDS = 10
const STEPS = 50_000
/** a mutant that is not done by then hangs */
const TIMEOUT_MS = 300_000
const WORKERS = 2

interface Result { mutant: Mutant, unit: string, simulation: string }

const run = promisify(execFile)
const root = path.join(import.meta.dirname, '../../..')
const record = path.join(import.meta.dirname, 'CAUGHT.md')

/** @returns the name of the first unit test that fails; '' if none does */
async function byUnitTest (folder: string, tests: readonly string[]): Promise<string> {
  const mocha = path.join(root, 'node_modules/mocha/bin/mocha.js')
  const args = [mocha, '--no-config', '--no-package', '--bail', '--timeout', '20000', '--reporter', 'json', ...tests]
  const output = await run(process.execPath, args, { cwd: folder, timeout: TIMEOUT_MS, maxBuffer: 1 << 26 }).then(({ stdout }) => stdout, outputOf)
  if (output === undefined) return 'hangs'
  const { failures } = JSON.parse(output.slice(output.indexOf('{\n'))) as { failures: Array<{ fullTitle: string }> }
  return failures[0]?.fullTitle ?? ''
}

/** @returns seed and broken rule; '' if none is */
async function bySimulation (folder: string, seeds: number): Promise<string> {
  const args = [path.join(import.meta.dirname, 'simulate-mutant.ts'), path.join(folder, 'src/consensus/raft.ts'), `${seeds}`, `${STEPS}`]
  const output = await run(process.execPath, args, { timeout: TIMEOUT_MS }).then(({ stdout }) => stdout, outputOf)
  if (output === undefined) return 'hangs'
  const caught = JSON.parse(output) as { seed: number, rule: string } | null
  return caught === null ? '' : `seed ${caught.seed}: ${caught.rule}`
}

/** What a process that failed has printed; undefined where it was ended for taking too long. */
function outputOf (error: { killed?: boolean, stdout?: string, stderr?: string }): string | undefined {
  if (error.killed === true) return undefined
  if (error.stdout === undefined || error.stdout === '') throw new Error(`a mutant could not be tested: ${error.stderr ?? String(error)}`)
  return error.stdout
}

const mustBeSimulated = ({ kind, onlyUnit }: Mutant): boolean => kind === 'safety' && onlyUnit === undefined

async function test (mutant: Mutant, folder: string, tests: readonly string[]): Promise<Result> {
  await build(folder, mutant)
  const unit = await byUnitTest(folder, tests)
  const simulation = await bySimulation(folder, mustBeSimulated(mutant) ? SEEDS : unit === '' ? FEW_SEEDS : VERY_FEW_SEEDS)
  await rm(folder, { recursive: true })
  return { mutant, unit, simulation }
}

const cell = (text: string): string => text === '' ? '–' : text.replaceAll('|', '\\|').replaceAll('\n', ' ')

function table (results: readonly Result[]): string {
  const rows = results.map(({ mutant: { name, breaks, kind, onlyUnit }, unit, simulation }) =>
    `| ${[name, breaks, kind, unit, simulation === '' && onlyUnit !== undefined ? `cannot: ${onlyUnit}` : simulation].map(cell).join(' | ')} |`)
  return `# Mutants and what catches them

Written by \`npm run mutants -- --update\`; the CI run compares. Each is the core with one mistake (\`list.ts\`), and is given to the unit
tests of the core and to the simulation, until a rule breaks: up to ${SEEDS} seeds of ${STEPS} steps for what can break safety, which
must be caught there; up to ${FEW_SEEDS} for others, or ${VERY_FEW_SEEDS} where a unit test catches them.

| The core … | against | can break | unit test | simulation |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`
}

const { values } = parseArgs({ options: { update: { type: 'boolean' }, only: { type: 'string' } } })
const mutants = MUTANTS.filter(({ name }) => name.includes(values.only ?? ''))
const base = await mkdtemp(path.join(os.tmpdir(), 'mutants-'))
const started = performance.now()
const results: Result[] = []
try {
  const tests = await unitTests()
  let next = 0
  await Promise.all(Array.from({ length: WORKERS }, async (_, worker) => {
    while (next < mutants.length) {
      const at = next++
      const result = results[at] = await test(mutants[at]!, path.join(base, `${worker}`, `${at}`), tests)
      process.stdout.write(`${cell(result.mutant.name)} (${result.mutant.kind})\n  unit: ${cell(result.unit)}\n  simulation: ${cell(result.simulation)}\n`)
    }
  }))
} finally {
  await rm(base, { recursive: true, force: true })
}

const fail = (message: string): void => {
  process.stderr.write(`${message}\n`)
  process.exitCode = 1
}
for (const { mutant, unit, simulation } of results) {
  if (unit === '' && simulation === '') fail(`NOT CAUGHT: ${mutant.name}`)
  else if (mustBeSimulated(mutant) && simulation === '') fail(`NOT CAUGHT BY THE SIMULATION: ${mutant.name}`)
}
if (values.update === true) await writeFile(record, table(results))
else if (values.only === undefined && await readFile(record, 'utf8') !== table(results)) {
  fail(`${path.relative(root, record)} is out of date: look at what changed, then npm run mutants -- --update`)
}
const bySim = results.filter(({ simulation }) => simulation !== '').length
process.stdout.write(`${results.length} mutants, ${bySim} caught by the simulation, in ${Math.round((performance.now() - started) / 1000)} s\n`)
