/** A data directory has one owner: processes that race for it, and ones that are killed. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { lockDataDir } from '../../../src/data-dir.ts'

const script = path.join(import.meta.dirname, '../../support/lock-child.ts')

describe('the lock of a data directory', () => {
  let dir = ''
  const children: ChildProcess[] = []
  beforeEach(() => { dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-test-')) })
  afterEach(async () => {
    await Promise.all(children.splice(0).map(kill))
    fs.rmSync(dir, { recursive: true, force: true })
  })

  async function take (): Promise<{ child: ChildProcess, said: string }> {
    const child = spawn(process.execPath, [script, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    assert.ok(child.stdout)
    const [chunk] = await once(child.stdout, 'data') as [Buffer]
    return { child, said: chunk.toString().trim() }
  }

  async function kill (child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  it('creates the directory for its owner only', async () => {
    const fresh = path.join(dir, 'a', 'b')
    const lock = await lockDataDir(fresh)
    assert.equal(fs.statSync(fresh).mode & 0o777, 0o700)
    await lock.release()
    await lock.release()
  })

  it('is refused to a second owner in the same process, and free after release', async () => {
    const lock = await lockDataDir(dir)
    await assert.rejects(lockDataDir(dir), { name: 'DATA_DIR_IN_USE', details: { dataDir: dir, pid: process.pid } })
    await lock.release()
    await (await lockDataDir(dir)).release()
  })

  it('names the process that holds it', async () => {
    const { child, said } = await take()
    assert.equal(said, 'held')
    await assert.rejects(lockDataDir(dir), { name: 'DATA_DIR_IN_USE', message: new RegExp(`process ${child.pid}$`) })
  })

  it('is free at once after its holder was killed with SIGKILL', async () => {
    for (let round = 0; round < 3; round++) {
      const { child, said } = await take()
      assert.equal(said, 'held')
      await kill(child)
      const lock = await lockDataDir(dir)
      await lock.release()
    }
  }).timeout(30_000)

  it('is won by exactly one of several that try at once, after a kill too', async () => {
    for (let round = 0; round < 2; round++) {
      const tries = await Promise.all(Array.from({ length: 5 }, take))
      const winners = tries.filter(({ said }) => said === 'held')
      assert.equal(winners.length, 1, JSON.stringify(tries.map(({ said }) => said)))
      for (const { said } of tries) if (said !== 'held') assert.equal(said, `DATA_DIR_IN_USE ${winners[0]?.child.pid}`)
      await Promise.all(tries.map(({ child }) => kill(child)))
    }
  }).timeout(60_000)

  it('says when the directory cannot be used', async () => {
    fs.writeFileSync(path.join(dir, 'file'), '')
    await assert.rejects(lockDataDir(path.join(dir, 'file', 'x')), { name: 'DATA_DIR_UNUSABLE' })
  })
})
