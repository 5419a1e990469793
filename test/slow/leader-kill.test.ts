/**
 * The promise in the first line of the README, twenty times: SIGKILL the leader's process while tasks run. Nothing is lost, nothing is
 * counted twice.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { CLI, ROOT, createDaemons, eventually } from '../support/daemons.ts'
import type { Daemon } from '../support/daemons.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 20)
const LINES = 240
/** A millisecond or two of work a line, so that the kill falls into the middle. */
const JOB = `export function map (line, emit) { let n = 0; for (let i = 0; i < 2e6; i++) n = (n * 31 + i) | 0; emit(line.split(' ')[0], 1) }
export function combine (key, values) { return values.reduce((a, b) => a + b, 0) }
export function reduce (key, values) { return { key, count: values.reduce((a, b) => a + b, 0) } }`

describe('SIGKILL of the leader while tasks run', function () {
  this.timeout(20 * 60_000)

  it(`loses no record and counts none twice, in ${ROUNDS} rounds`, async () => {
    await using mesh = await createDaemons()
    let daemons: Daemon[] = [await mesh.up('n0')]
    for (let i = 1; i < 5; i++) daemons.push(await mesh.join(`n${i}`))
    const job = path.join(mesh.dir, 'job.mjs')
    const input = path.join(mesh.dir, 'in.txt')
    await fs.writeFile(job, JOB)
    await fs.writeFile(input, Array.from({ length: LINES }, (_, i) => `k${i % 40} line ${i}\n`).join(''))
    const expected = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, LINES / 40]))

    const gaps: number[] = []
    for (let round = 1; round <= ROUNDS; round++) {
      await eventually('five voters', 60_000, async () => ((await (daemons[1] as Daemon).status()).voters as string[]).length === 5)
      const { leader, term } = await (daemons[1] as Daemon).status()
      const victim = daemons.find(({ ready }) => ready.peerId === leader) as Daemon
      const submitter = daemons.find((daemon) => daemon !== victim) as Daemon
      const { counts, done, gapMs } = await runAndKill(submitter, victim, job, input)
      assert.deepEqual(counts, expected, `round ${round}: every line once`)
      assert.equal(done.status, 'succeeded')
      const after = await submitter.status()
      assert.ok((after.term as number) > (term as number), 'another term')
      assert.notEqual(after.leader, leader)
      gaps.push(gapMs)
      // the killed one comes back with what it had on disk
      const back = await mesh.up(victim.name)
      daemons = daemons.map((daemon) => daemon === victim ? back : daemon)
    }
    gaps.sort((a, b) => a - b)
    process.stdout.write(`      from the kill to the next task committed: median ${gaps[gaps.length >> 1]} ms, max ${gaps.at(-1)} ms\n`)
  })
})

/** Submit, kill after the fifth committed task, and read all records. `gapMs`: from the kill to the next committed task. */
async function runAndKill (submitter: Daemon, victim: Daemon, job: string, input: string): Promise<{ counts: Record<string, number>, done: Record<string, unknown>, gapMs: number }> {
  const child = spawn(process.execPath, [CLI, 'run', job, '--input', input, '--split', '120', '--json', '--data-dir', submitter.dataDir], { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const counts: Record<string, number> = {}
  let tasks = 0
  let killedAt: number | undefined
  let gapMs = 0
  let done: Record<string, unknown> = {}
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as { event: string, record?: { key: string, count: number } }
    if (event.event === 'result' && event.record !== undefined) {
      assert.equal(counts[event.record.key], undefined, `${event.record.key} came twice`)
      counts[event.record.key] = event.record.count
    }
    if (event.event === 'done') done = event
    if (event.event !== 'task:done') continue
    if (killedAt !== undefined && gapMs === 0) gapMs = Math.round(performance.now() - killedAt)
    if (++tasks === 5) {
      killedAt = performance.now()
      await victim.kill()
    }
  }
  const [code] = await exited as [number]
  assert.equal(code, 0, 'conclave run succeeds')
  assert.ok(killedAt !== undefined, 'the leader was killed while tasks ran')
  return { counts, done, gapMs }
}
