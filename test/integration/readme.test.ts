/**
 * The README, executed: every line of its `sh` blocks runs here, in order, against real daemons; a command that this test does not know
 * fails it. What differs from a reader's two machines, and nothing else does:
 *
 * - the machines are two data directories, by CONCLAVE_DATA_DIR; `up` listens on loopback (`--listen` is added)
 * - the shell stands in a copy of the files that the commands name, so that outputs land in a temporary directory
 * - `npm ci && npm start` and `npm ci && npm test` are run by `.ci/run`, in a fresh clone
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { TOPIC_NAMES, wireTopic } from '../../protocols/gossip/constants.ts'
import { MESSAGE_KINDS, requiredFor } from '../../protocols/policy.ts'
import type { MessageKind } from '../../protocols/policy.ts'
import { PING_PROTOCOL } from '../../protocols/rpc/constants.ts'
import { SEALED_PROTOCOL } from '../../protocols/sealed/constants.ts'
import { BLOCKS_PROTOCOL } from '../../src/blocks/messages.ts'
import { PROTOCOL } from '../../src/config.ts'
import { conclave, ROOT } from '../support/daemons.ts'
import { exitTable, limitsTable } from '../support/readme-tables.ts'

const README = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')
const UP_MS = 60_000

type Machine = 'first' | 'second'

/** How a command of the README is run. */
type How =
  /** by .ci/run */
  | { by: 'ci', script: string }
  /** it defines the command for all that follow, and runs in the clone */
  | { by: 'preamble' }
  /** a daemon: it is left running once it says that it is up */
  | { by: 'daemon', on: Machine, takesTicket?: true }
  | { by: 'shell', on: readonly Machine[], says: RegExp }
  /** by the test of this name beside this file */
  | { by: 'test', file: string }

const KNOWN: Readonly<Record<string, How>> = {
  'npm ci && npm start': { by: 'ci', script: 'start' },
  'npm ci && npm test': { by: 'ci', script: 'test' },
  'alias conclave="$PWD/node_modules/.bin/node $PWD/src/cli/main.ts"': { by: 'preamble' },
  'conclave up': { by: 'daemon', on: 'first' },
  'conclave invite': { by: 'shell', on: ['first'], says: /^conclave1[a-z2-7a-z0-9]+\n$/ },
  'conclave up -': { by: 'daemon', on: 'second', takesTicket: true },
  'conclave run examples/word-count.mjs --input \'*.md\' --output counts.ndjson': { by: 'shell', on: ['second'], says: /^$/ },
  'conclave watch': { by: 'shell', on: ['first', 'second'], says: /^(\{"word":"[a-z]+","count":\d+\}\n)+$/ },
  'conclave jobs': { by: 'shell', on: ['first', 'second'], says: /word-count\.mjs +succeeded/ },
  'conclave peers': { by: 'shell', on: ['first', 'second'], says: /12D3KooW\w+ +yes/ },
  'conclave status --json': { by: 'shell', on: ['first', 'second'], says: /^\{"schemaVersion":\d+,.*"members":2,/ },
  'conclave down': { by: 'shell', on: ['first', 'second'], says: /^$/ },
  'npm run --silent example': { by: 'test', file: 'embed.test.ts' }
}

const commands = [...README.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, block = '']) => block.split('\n').filter((line) => line.trim() !== ''))

interface Ran { code: number | null, stdout: string, stderr: string }

describe('the README', function () {
  this.timeout(120_000)
  let dir = ''
  let preamble = ''
  let ticket = ''
  const running: ChildProcess[] = []
  const ran = new Map<string, Ran>()
  const dataDir = (machine: Machine): string => path.join(dir, machine)

  before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-readme-'))
    const work = path.join(dir, 'clone')
    fs.mkdirSync(path.join(work, 'examples'), { recursive: true })
    for (const file of ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'examples/word-count.mjs']) fs.copyFileSync(path.join(ROOT, file), path.join(work, file))
  })
  after(async () => {
    for (const machine of ['first', 'second'] as const) killDaemon(dataDir(machine))
    await Promise.all(running.map(async (child) => { if (child.exitCode === null && child.signalCode === null) await once(child, 'exit') }))
    fs.rmSync(dir, { recursive: true, force: true })
  })

  function shell (command: string, machine: Machine): ChildProcess {
    const script = `shopt -s expand_aliases\n${preamble}\ncd "$WORK"\n${command}\n`
    const child = spawn('bash', ['-e', '-c', script], { cwd: ROOT, stdio: 'pipe', env: { ...process.env, WORK: path.join(dir, 'clone'), CONCLAVE_DATA_DIR: dataDir(machine) } })
    child.stdin?.on('error', () => {}) // it may not want its input
    return child
  }

  async function startDaemon (command: string, machine: Machine, input: string): Promise<void> {
    const child = shell(`${command} --listen /ip4/127.0.0.1/tcp/0`, machine)
    running.push(child)
    child.stdin?.end(input)
    let said = ''
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text
      if (said.includes('another machine joins with: conclave invite')) resolve()
    })
    child.once('exit', (code) => { reject(new Error(`${command} ended with ${code}: ${said}`)) })
    const timer = setTimeout(() => { reject(new Error(`${command} is not up after ${UP_MS} ms: ${said}`)) }, UP_MS)
    await promise.finally(() => { clearTimeout(timer) })
  }

  it('has commands, each of them known here, and none is known that it has not', () => {
    assert.ok(commands.length > 0)
    assert.deepEqual(commands.filter((command) => !Object.hasOwn(KNOWN, command)), [], 'the README names commands that this test does not run: teach it how')
    assert.deepEqual(Object.keys(KNOWN).filter((command) => !commands.includes(command)), [])
  })

  for (const command of commands) {
    const how = KNOWN[command]
    if (how === undefined) continue
    it(`$ ${command}`, async () => {
      if (how.by === 'ci') {
        const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
        const ci = fs.readFileSync(path.join(ROOT, '.ci/run'), 'utf8')
        assert.ok(scripts[how.script] !== undefined)
        assert.match(ci, /\bstep install \d+ npm ci\b/)
        assert.match(ci, new RegExp(`\\bstep ${how.script} \\d+ npm ${how.script}\\n`))
      } else if (how.by === 'preamble') {
        preamble = command
      } else if (how.by === 'daemon') {
        await startDaemon(command, how.on, how.takesTicket === true ? ticket : '')
      } else if (how.by === 'test') {
        assert.ok(fs.readFileSync(path.join(import.meta.dirname, how.file), 'utf8').includes(`'${command}'`), `${how.file} does not run it`)
      } else {
        for (const machine of how.on) {
          const result = await finished(shell(command, machine))
          assert.equal(result.code, 0, result.stderr)
          assert.match(result.stdout, how.says)
          if (command === 'conclave invite') ticket = result.stdout
          ran.set(command, result)
        }
      }
    })
  }

  it('shows what run says, and the records are where it says', () => {
    const run = [...ran].find(([command]) => command.startsWith('conclave run '))?.[1]
    assert.ok(run)
    // The number of splits and the seconds are another machine's; the words are not.
    const shape = (text: string): string => text.replace(/\bj[a-z2-7]{25}\b/g, 'JOB').replace(/[\d.,]+ m?s\b/g, 'TIME').replace(/\d+/g, 'N').trim()
    const shown = README.split(/^```.*$/m).map((part) => shape(part))
    assert.ok(shown.includes(shape(run.stderr)), `the README does not show:\n${run.stderr}`)
    assert.match(fs.readFileSync(path.join(dir, 'clone/counts.ndjson'), 'utf8'), /^\{"word":"conclave","count":\d+\}$/m)
  })

  it('says of limits and exit codes what the code says', () => {
    assert.ok(README.includes(limitsTable()), `the table of limits should be:\n${limitsTable()}`)
    assert.ok(README.includes(exitTable()), `the table of exit codes should be:\n${exitTable()}`)
  })

  it('names commands and options that there are, in its text too', async () => {
    const overview = (await conclave(['--help'])).stdout
    const names = [...overview.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name = '']) => name)
    const prose = README.replaceAll(/^```.*?^```$/gms, '')
    const inline = [...prose.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)
    for (const text of inline) {
      const word = /^conclave ([a-z]+)/.exec(text)?.[1]
      if (word !== undefined) assert.ok(names.includes(word), `conclave ${word} is no command`)
    }
    const helps = (await Promise.all(names.map(async (name) => (await conclave([name, '--help'])).stdout))).join('') + overview
    const foreign = new Set(['--permission', '--pdeathsig'])
    for (const option of inline.flatMap((text) => text.match(/--[a-z][a-z-]+/g) ?? [])) assert.ok(foreign.has(option) || helps.includes(option), `${option} is no option`)
  })

  for (const name of ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'protocols/README.md', 'keys/README.md']) {
    it(`${name} links to files and headings that exist`, () => {
      const text = fs.readFileSync(path.join(ROOT, name), 'utf8')
      for (const [, target = ''] of text.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
        const [file = '', anchor] = target.split('#')
        const at = file === '' ? path.join(ROOT, name) : path.resolve(ROOT, path.dirname(name), file)
        assert.ok(fs.existsSync(at), `${target} does not exist`)
        if (anchor !== undefined) assert.ok(headings(fs.readFileSync(at, 'utf8')).includes(anchor), `${target} is no heading`)
      }
    })
  }
})

describe('the registry of protocols', () => {
  const registry = fs.readFileSync(path.join(ROOT, 'protocols/README.md'), 'utf8')
  const rows = [...registry.matchAll(/^\| `(\/conclave\/[^`]+)` \| [^|]+ \| (\w+) \| ([^|]+) \|/gm)].map(([, id = '', kind = '', who = '']) => ({ id, kind, who }))

  it('lists every id that the code speaks, and no other', () => {
    const spoken = [...Object.values(PROTOCOL), PING_PROTOCOL, SEALED_PROTOCOL, BLOCKS_PROTOCOL, ...TOPIC_NAMES.map((topic) => wireTopic('<network>', topic))]
    assert.deepEqual(rows.map(({ id }) => id).sort(), spoken.sort())
  })

  it('says who may speak as the table of policy does', () => {
    const named = new Set(rows.map(({ kind }) => kind))
    for (const kind of MESSAGE_KINDS) assert.ok(named.has(kind), `no row has the kind ${kind}`)
    for (const { kind, who } of rows) {
      if (kind === 'none') continue
      const required = requiredFor(kind as MessageKind)
      assert.ok(who.startsWith(required === 'membership' ? 'any member' : required), `${kind}: ${who} is not ${required}`)
    }
  })
})

const headings = (text: string): string[] => [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-'))

async function finished (child: ChildProcess): Promise<Ran> {
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  child.stdin?.end()
  const [code] = await once(child, 'close') as [number | null]
  return { code, stdout, stderr }
}

/** What `conclave down` left: only where a test above failed. */
function killDaemon (dataDir: string): void {
  try {
    const { pid } = JSON.parse(fs.readFileSync(path.join(dataDir, 'control.json'), 'utf8')) as { pid: number }
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ESRCH') throw error
  }
}
