/**
 * Prove that what `npm pack` ships works where nothing of this repository is: installed into an empty folder, the command answers,
 * the library joins and runs a job. Needs the registry (or npm's cache) for the dependencies.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const root = path.join(import.meta.dirname, '..')
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-pack-'))
/** The Node of this repository first: the folder that it is installed into has none of its own. */
const env = { ...process.env, PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env['PATH'] ?? ''}` }
/** npm hands its own settings down; the install below must not inherit those of this one. */
for (const name of Object.keys(env)) if (/^npm_(package|lifecycle|config_local_prefix|command|execpath)/.test(name)) delete (env as Record<string, unknown>)[name]

function run (command: string, args: string[], cwd: string, timeoutMs: number): string {
  process.stderr.write(`$ ${command} ${args.join(' ')}\n`)
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', timeout: timeoutMs, stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Lines of this are run by the installed package, not by this repository. */
const PROGRAM = `
import { join } from 'conclave'
import { createRaft } from 'conclave/consensus'
import fs from 'node:fs'

if (typeof createRaft !== 'function') throw new Error('conclave/consensus does not export createRaft')
fs.writeFileSync('in.txt', 'b a\\nb\\n')
await using node = await join({ dataDir: './data', listen: ['/ip4/127.0.0.1/tcp/0'] })
const job = await node.submit({
  code: 'export function map (line, emit) { for (const word of line.split(" ")) emit(word, 1) }\\n' +
    'export function reduce (word, counts) { return [word, counts.reduce((a, b) => a + b, 0)] }\\n',
  inputs: ['in.txt'],
  partitions: 1
}, { signal: AbortSignal.timeout(60_000) })
const records = []
for await (const record of job.results({ signal: AbortSignal.timeout(60_000) })) records.push(record)
const got = JSON.stringify(records)
if (got !== '[["a",1],["b",2]]') throw new Error('the job gave ' + got)
`

try {
  const packed = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', dir], root, 180_000).replace(/^[^[{]*/, '')) as { filename: string, files: { path: string }[] }[]
  const [tarball] = packed
  if (tarball === undefined) throw new Error('npm pack made nothing')
  const strangers = tarball.files.map((file) => file.path).filter((file) => !/^(dist|examples)\/|^(README|CHANGELOG|ARCHITECTURE)\.md$|^LICENSE$|^package\.json$/.test(file))
  if (strangers.length > 0) throw new Error(`packed, but should not be: ${strangers.join(', ')}`)

  const home = path.join(dir, 'home')
  fs.mkdirSync(home)
  fs.writeFileSync(path.join(home, 'package.json'), '{ "name": "home", "private": true, "type": "module" }\n')
  run('npm', ['install', '--no-fund', '--no-audit', '--omit=dev', path.join(dir, tarball.filename)], home, 240_000)

  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
  const said = run('npx', ['--no-install', 'conclave', '--version'], home, 30_000).trim()
  if (said !== version) throw new Error(`conclave --version said "${said}", not "${version}"`)
  fs.writeFileSync(path.join(home, 'program.js'), PROGRAM)
  run('node', ['program.js'], home, 120_000)
  process.stdout.write(`packed install works: ${tarball.files.length} files, conclave ${version}\n`)
} finally {
  fs.rmSync(dir, { recursive: true, force: true })
}
