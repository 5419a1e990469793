/**
 * `npm start` on a text of its own: what it says, how it ends, and that nothing is left behind however it ends.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { ROOT, eventually } from '../support/daemons.ts'

/** Enough splits of 256 KiB that the leader dies in the middle of many. */
const FILES = 8
const LINES = 12_000
const WORDS = ['mesh', 'leader', 'ledger', 'receipt', 'observer', 'quorum', 'ticket', 'block', 'term', 'vote']

type Child = ChildProcessByStdio<null, Readable, Readable>
const started: Child[] = []

describe('npm start', function () {
  this.timeout(120_000)
  let dir: string
  let texts: string
  let words: number

  before(async () => {
    dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-start-'))
    texts = path.join(dir, 'texts')
    await fs.mkdir(texts)
    words = 0
    for (let f = 0; f < FILES; f++) {
      const lines: string[] = []
      for (let i = 0; i < LINES; i++) {
        lines.push(`${WORDS[i % 10]} ${WORDS[(i * 7 + f) % 10]} ${WORDS[(i * 3) % 10]} 42, ${WORDS[(i >> 3) % 10]}!`)
        words += 4
      }
      await fs.writeFile(path.join(texts, `${f}.txt`), `${lines.join('\n')}\n`)
    }
  })
  // what a failed test left: its nodes end when it is gone
  afterEach(() => { for (const child of started.splice(0)) child.kill('SIGKILL') })
  after(async () => { await fs.rm(dir, { recursive: true, force: true }) })

  it('counts, kills its leader, compares, and leaves nothing behind', async () => {
    const run = await start(dir, [path.join(texts, '*.txt')])
    const { code, signal } = await run.exited
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, run.stderr())
    const out = run.stdout()
    assert.match(out, /5 processes in .*: node-1 \(\d+\)/)
    assert.match(out, /killed node-\d \(process \d+\), the leader, with SIGKILL when \d+ of \d+ map tasks were done/)
    assert.match(out, /node-\d leads term \d+ after \d+ ms/)
    assert.match(out, new RegExp(`10 different words, ${words.toLocaleString('en')} in all`))
    assert.match(out, /equal to the plain count: nothing lost, nothing counted twice/)
    await run.leavesNothing()
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`leaves nothing behind after ${signal} in the middle of the job`, async () => {
      const run = await start(dir, [path.join(texts, '*.txt')])
      await run.says(/submitted job/)
      await run.looksAround()
      run.child.kill(signal)
      assert.equal((await run.exited).code, 130, run.stderr())
      assert.match(run.stderr(), /stopping/)
      await run.leavesNothing()
    })
  }

  it('leaves nothing behind after SIGINT while the nodes start', async () => {
    const run = await start(dir, [path.join(texts, '*.txt')])
    await eventually('a node is there', 60_000, async () => (await run.looksAround()).length >= 1)
    run.child.kill('SIGINT')
    assert.equal((await run.exited).code, 130, run.stderr())
    await run.leavesNothing()
  })

  it('leaves no process behind when it is itself killed with SIGKILL', async () => {
    const run = await start(dir, [path.join(texts, '*.txt')])
    await run.says(/submitted job/)
    await run.looksAround()
    run.child.kill('SIGKILL')
    await run.exited
    await run.leavesNothing({ files: true }) // nobody is left to remove them
  })

  it('does not mind a node that fails besides the leader that it kills', async () => {
    const run = await start(dir, [path.join(texts, '*.txt')])
    await run.says(/submitted job.*leads/)
    // Inputs are held by the submitter and one member more. The leader dies as well, so the submitter must not: the job would wait for
    // the blocks that these two held until one of them is back, and here nobody starts it again.
    const [, submitter, leader] = /(node-\d) submitted job .*; (node-\d) leads/.exec(run.stdout()) ?? []
    const node = run.nodes().findIndex((_, at) => ![submitter, leader].includes(`node-${at + 1}`))
    process.kill(run.nodes()[node] as number, 'SIGKILL')
    assert.equal((await run.exited).code, 0, run.stderr())
    assert.match(run.stdout(), /equal to the plain count/)
    await run.leavesNothing()
  })

  it('ends with an error, and leaves nothing behind, where every node fails', async () => {
    const run = await start(dir, [path.join(texts, '*.txt')])
    await run.says(/submitted job/)
    await run.looksAround()
    assert.equal(run.nodes().length, 5)
    for (const pid of run.nodes()) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    assert.equal((await run.exited).code, 1, run.stdout())
    assert.match(run.stderr(), /npm start failed: /)
    await run.leavesNothing()
  })

  it('ends with 1 and names the words where the counts differ', async () => {
    const run = await start(dir, [path.join(texts, '*.txt')])
    await run.says(/submitted job/)
    // the job has its own copy by now; the plain count at the end reads the file
    const file = path.join(texts, '0.txt')
    const before = await fs.readFile(file)
    await fs.appendFile(file, 'ledger ledger stranger\n')
    assert.equal((await run.exited).code, 1, run.stderr())
    await fs.writeFile(file, before)
    assert.match(run.stdout(), /NOT equal to the plain count: 2 words differ/)
    assert.match(run.stdout(), /stranger +0 +1/)
    await run.leavesNothing()
  })

  it('says with a code and a next step that no file matches', async () => {
    const run = await start(dir, [path.join(dir, 'none', '*.txt')])
    assert.equal((await run.exited).code, 1)
    assert.match(run.stderr(), /npm start failed: INPUT_NO_MATCH: no file matches .*none\/\*\.txt/)
    assert.match(run.stderr(), /next: \S/)
    assert.equal(run.stdout(), '')
    await run.leavesNothing()
  })
})

interface Run {
  child: Child
  exited: Promise<{ code: number | null, signal: NodeJS.Signals | null }>
  stdout (): string
  stderr (): string
  /** Resolves once standard output matches. */
  says (what: RegExp): Promise<void>
  /** The pids of the nodes, as it told them. */
  nodes (): number[]
  /** Remember the processes that it has started, and theirs, so that they can be looked for when it is gone. */
  looksAround (): Promise<number[]>
  /** Nothing that it started is alive, and so no port is open; its temporary directory is empty. @param options - `files` may stay */
  leavesNothing (options?: { files: boolean }): Promise<void>
}

/** Standard input is no terminal; temporary files go to a directory of their own, where leftovers show. */
async function start (dir: string, args: readonly string[]): Promise<Run> {
  const temp = await fs.mkdtemp(path.join(dir, 't-'))
  const child = spawn(process.execPath, [path.join(ROOT, 'scripts/start.ts'), ...args], { cwd: dir, env: { ...process.env, TMPDIR: temp, INIT_CWD: dir }, stdio: ['ignore', 'pipe', 'pipe'] })
  started.push(child)
  let stdout = ''
  let stderr = ''
  let changed = Promise.withResolvers<void>()
  const seen = new Set<number>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    changed.resolve()
    changed = Promise.withResolvers<void>()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  const exited = once(child, 'close').then(([code, signal]) => ({ code: code as number | null, signal: signal as NodeJS.Signals | null }))
  return {
    child,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    async says (what) {
      while (!what.test(stdout)) {
        const over = await Promise.race([changed.promise, exited])
        if (over !== undefined && !what.test(stdout)) throw new Error(`it ended without saying ${what}: ${stdout}${stderr}`)
      }
    },
    nodes: () => [...stdout.matchAll(/node-\d \((\d+)\)/g)].map(([, pid]) => Number(pid)),
    async looksAround () {
      for (const pid of await processesOf(temp)) if (pid !== child.pid) seen.add(pid)
      return [...seen]
    },
    async leavesNothing ({ files } = { files: false }) {
      // whoever carries this TMPDIR in its environment, or runs below its directory, was started by it
      await eventually('every process is gone', 30_000, async () => (await processesOf(temp)).length === 0 && [...seen].every((pid) => !isAlive(pid)))
      if (!files) assert.deepEqual(await fs.readdir(temp), [])
    }
  }
}

/** Processes whose command line or environment names this directory; only Linux can tell, elsewhere none are found. */
async function processesOf (temp: string): Promise<number[]> {
  const found: number[] = []
  for (const name of await fs.readdir('/proc').catch(() => [] as string[])) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    const texts = await Promise.all(['cmdline', 'environ'].map(async (file) => await fs.readFile(`/proc/${name}/${file}`, 'latin1').catch(() => '')))
    if (texts.some((text) => text.includes(temp))) found.push(Number(name))
  }
  return found
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
