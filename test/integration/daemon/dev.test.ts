/** `conclave dev`: real nodes, a real job, and nothing left behind, however it ends. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { isAlive } from '../../../src/data-dir.ts'

const main = path.join(import.meta.dirname, '../../../src/cli/main.ts')
interface Ready { dir: string, nodes: Array<{ name: string, dataDir: string, peerId: string, pid: number }> }

describe('conclave dev', () => {
  const children: ChildProcess[] = []
  let dir = ''
  before(() => { dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-test-')) })
  afterEach(() => { for (const child of children.splice(0)) child.kill('SIGKILL') })
  after(() => { fs.rmSync(dir, { recursive: true, force: true }) })

  async function dev (): Promise<{ child: ChildProcess, ready: Ready }> {
    const child = spawn(process.execPath, [main, 'dev', '-n', '3', '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    assert.ok(child.stdout)
    const [line] = await once(child.stdout, 'data') as [Buffer]
    return { child, ready: JSON.parse(line.toString()) as Ready }
  }

  async function conclave (args: string[]): Promise<{ code: number | null, stdout: string, stderr: string }> {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000, killSignal: 'SIGKILL' })
    children.push(child)
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
    const [code] = await once(child, 'close') as [number | null]
    return { code, stdout, stderr }
  }

  /** A process that is gone tells nobody but its parent, and that one is gone as well. */
  async function gone (pids: number[]): Promise<void> {
    const deadline = performance.now() + 20_000
    while (pids.some(isAlive)) {
      assert.ok(performance.now() < deadline, `still there: ${pids.filter(isAlive).join(' ')}`)
      await wait(20)
    }
  }

  it('runs a job on three processes, refuses a second node on a data directory, and takes everything away at Ctrl+C', async () => {
    const { child, ready } = await dev()
    const [first, second] = ready.nodes
    assert.ok(first !== undefined && second !== undefined && ready.nodes.length === 3)
    fs.writeFileSync(path.join(dir, 'job.mjs'), 'export function map (line, emit) { for (const word of line.split(" ")) emit(word, 1) }\nexport function reduce (word, counts) { return [word, counts.reduce((a, b) => a + b)] }\n')
    fs.writeFileSync(path.join(dir, 'in.txt'), 'b a\nb\n'.repeat(100))
    const ran = await conclave(['run', path.join(dir, 'job.mjs'), '--input', path.join(dir, 'in.txt'), '--order', 'key', '--data-dir', second.dataDir])
    assert.equal(ran.code, 0, ran.stderr)
    assert.deepEqual(ran.stdout.trim().split('\n').sort(), ['["a",100]', '["b",200]'])

    const again = await conclave(['up', '--json', '--data-dir', first.dataDir])
    const { error } = JSON.parse(again.stdout) as { error: { code: string, message: string } }
    assert.deepEqual([again.code, error.code], [6, 'DATA_DIR_IN_USE'])
    assert.match(error.message, new RegExp(`process ${first.pid}$`))

    const status = JSON.parse((await conclave(['status', '--json', '--data-dir', first.dataDir])).stdout) as { schemaVersion: number, members: number, leader: string | null }
    assert.deepEqual([status.schemaVersion, status.members], [1, 3])
    assert.ok(ready.nodes.some(({ peerId }) => peerId === status.leader))

    child.kill('SIGINT')
    const [code] = await once(child, 'exit') as [number | null]
    assert.equal(code, 0)
    await gone(ready.nodes.map(({ pid }) => pid))
    assert.equal(fs.existsSync(ready.dir), false)
  }).timeout(90_000)

  it('leaves no node behind when it is itself killed with SIGKILL', async () => {
    const { child, ready } = await dev()
    child.kill('SIGKILL')
    await gone(ready.nodes.map(({ pid }) => pid))
    fs.rmSync(ready.dir, { recursive: true, force: true })
  }).timeout(90_000)
})
