/**
 * npm run bench [-- NAME…] [--rounds N] [--peers] [--write] [--minutes N]
 *
 * Runs the named workloads, or all that are run by default, and prints a Markdown table for each; with --write the tables replace those of
 * the same workloads in bench/README.md.
 */
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { calm } from './calm.ts'
import { consensus } from './consensus.ts'
import { markdown } from './measure.ts'
import type { Context, Workload } from './measure.ts'
import { w1 } from './w1.ts'
import { w2 } from './w2.ts'
import { w3 } from './w3.ts'

const WORKLOADS: readonly Workload[] = [consensus, w1, w2, w3, calm]
const README = path.join(import.meta.dirname, 'README.md')
const DEFAULT_ROUNDS = 5

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: String(DEFAULT_ROUNDS) },
    minutes: { type: 'string', default: '10' },
    peers: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false }
  }
})

if (values.help) {
  console.log(`npm run bench [-- NAME…] [--rounds N] [--peers] [--write] [--minutes N]\n\n${WORKLOADS.map(({ name, title, isDefault }) => `  ${name.padEnd(10)} ${title}${isDefault ? '' : ' (only by name)'}`).join('\n')}`)
  process.exit(0)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { process.exit(130) })

const context: Context = {
  rounds: count('rounds', values.rounds),
  minutes: count('minutes', values.minutes),
  withPeers: values.peers,
  log: (line) => { process.stderr.write(`${line}\n`) }
}
for (const workload of chosen()) {
  context.log(`# ${workload.name}: ${workload.title}`)
  const startMs = performance.now()
  const table = markdown(await workload.run(context))
  const text = `${machine(workload, context)}\n\n${table}`
  console.log(`\n## ${workload.title}\n\n${text}\n`)
  context.log(`${workload.name} took ${((performance.now() - startMs) / 1000).toFixed(0)} s`)
  if (values.write) await write(workload.name, text)
}

function count (name: string, text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`--${name} is a whole number from 1 on, not ${text}`)
  return number
}

function chosen (): readonly Workload[] {
  if (positionals.length === 0) return WORKLOADS.filter(({ isDefault }) => isDefault)
  return positionals.map((name) => {
    const workload = WORKLOADS.find((candidate) => candidate.name === name)
    if (workload === undefined) throw new Error(`there is no workload ${name}; there are ${WORKLOADS.map((candidate) => candidate.name).join(', ')}`)
    return workload
  })
}

function machine ({ name }: Workload, { rounds, withPeers }: Context): string {
  const [load] = os.loadavg() as [number, number, number]
  return `${new Date().toISOString().slice(0, 10)}, ${os.availableParallelism()} cores (${os.cpus()[0]?.model ?? 'unknown'}), ${os.type()}, Node ${process.versions.node}, load ${load.toFixed(1)} at the end; ` +
    `\`npm run bench -- ${name} --rounds ${rounds}${withPeers ? ' --peers' : ''}\`, medians [min–max].`
}

/** Puts a table between its markers. */
async function write (name: string, table: string): Promise<void> {
  const text = await fs.readFile(README, 'utf8')
  const [begin, end] = [`<!-- figures:${name} -->`, `<!-- /figures:${name} -->`]
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) throw new Error(`bench/README.md has no ${begin} … ${end}`)
  await fs.writeFile(README, `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`)
}
