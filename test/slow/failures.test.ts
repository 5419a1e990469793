/**
 * What may happen to a mesh of five processes in the middle of a job: its result is exact all the same, and everything that was acknowledged
 * is still known.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { FollowLine } from '../../src/daemon/routes.ts'
import type { JobEvent } from '../../src/api.ts'
import { EXIT } from '../../src/errors.ts'
import { CLI, ROOT, agreedLeader, createDaemons, eventually, lastLine } from '../support/daemons.ts'
import type { Daemon, Daemons } from '../support/daemons.ts'
import { SLOW_COUNT, countJob, readOnce } from './count-job.ts'
import type { CountJob } from './count-job.ts'

const NODES = 5
/** The middle of a job: so many of its 34 tasks are committed. */
const MIDDLE = 5

type TaskDone = Extract<JobEvent, { type: 'task:done' }>

describe('a mesh of five processes in the middle of a job', function () {
  this.timeout(120_000)
  let mesh: Daemons
  let daemons: Daemon[]
  let job: CountJob
  /** every job that was acknowledged so far */
  const acknowledged: string[] = []

  before(async () => {
    mesh = await createDaemons()
    daemons = await mesh.start(NODES)
    job = await countJob(mesh.dir, { lines: 240, keys: 40 })
  })
  after(async () => { await mesh[Symbol.asyncDispose]() })
  afterEach('those that died come back, and everybody knows every job that was acknowledged', async () => {
    daemons = await Promise.all(daemons.map(async (daemon) => daemon.isAlive ? daemon : await mesh.up(daemon.name)))
    await agreedLeader(daemons)
    await eventually('everybody knows every job', 60_000, async () => {
      const jobs = await Promise.all(daemons.map(async ({ client }) => await client.jobs()))
      return jobs.every((known) => acknowledged.every((id) => known.some((info) => info.id === id && info.status === 'succeeded')))
    })
  })

  async function submit (daemon: Daemon, input = job.input): Promise<string> {
    const { id } = await daemon.client.submit({ name: 'count', code: SLOW_COUNT, inputs: [input], splitBytes: 120 })
    acknowledged.push(id)
    return id
  }

  async function roles (): Promise<{ leader: Daemon, others: [Daemon, Daemon, Daemon, Daemon] }> {
    const { leader } = await agreedLeader(daemons)
    return { leader, others: daemons.filter((daemon) => daemon !== leader) as [Daemon, Daemon, Daemon, Daemon] }
  }

  it('a participant is killed while it runs tasks: they run elsewhere', async () => {
    const { others: [submitter, victim] } = await roles()
    const id = await submit(submitter)
    const out = new Set<string>()
    const doneBy = new Map<string, string>()
    let lost: Set<string> | undefined
    for await (const fact of facts(submitter, id)) {
      if (fact.type === 'task:assign' && fact.participant === victim.ready.peerId) out.add(taskOf(fact))
      if (fact.type !== 'task:done') continue
      out.delete(taskOf(fact))
      doneBy.set(taskOf(fact), fact.participant)
      if (lost === undefined && doneBy.size >= MIDDLE && out.size > 0) {
        lost = new Set(out)
        await victim.kill()
      }
    }
    assert.ok(lost !== undefined, 'it was killed while tasks were given to it')
    assert.deepEqual(await readOnce(submitter, id), job.expected)
    // a receipt of the victim that was on its way may count as well; most often none is
    assert.ok([...lost].every((task) => doneBy.has(task)))
  })

  it('two leaders are killed, one after the other', async () => {
    const { leader: first, others: [submitter] } = await roles()
    const id = await submit(submitter)
    let tasks = 0
    let second: Daemon | undefined
    for await (const fact of facts(submitter, id)) {
      if (fact.type !== 'task:done') continue
      if (++tasks === MIDDLE) await first.kill()
      if (tasks < MIDDLE + 3 || second !== undefined) continue
      const { leader } = await submitter.client.status()
      const found = daemons.find(({ ready }) => ready.peerId === leader)
      // the submitter itself may lead now; it is what we look through, and the next test kills submitters
      if (found === undefined || found === first) continue
      second = found
      if (found !== submitter) await found.kill()
    }
    assert.ok(second !== undefined, 'there was a second leader before the job was done')
    assert.deepEqual(await readOnce(submitter, id), job.expected)
  })

  it('the submitter is killed as soon as it has said `submitted`: the others finish, and any of them tells the result', async () => {
    const { others: [submitter, reader, other] } = await roles()
    const code = path.join(mesh.dir, 'count.mjs')
    await fs.writeFile(code, SLOW_COUNT)
    const child = spawn(process.execPath, [CLI, 'run', code, '--input', job.input, '--split', '120', '--json', '--data-dir', submitter.dataDir], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    const exited = once(child, 'exit') as Promise<[number | null]>
    let stdout = ''
    child.stderr.resume()
    for await (const line of createInterface({ input: child.stdout })) {
      stdout += `${line}\n`
      const { event, job: id } = JSON.parse(line) as { event?: string, job?: string }
      if (event !== 'submitted' || id === undefined) continue
      await submitter.kill()
      acknowledged.push(id)
    }
    const id = acknowledged.at(-1) as string
    // the command line says that its daemon is gone, and where to look
    const [exit] = await exited
    assert.equal(exit, 4, stdout)
    assert.equal((lastLine(stdout).error as { code?: string } | undefined)?.code, 'DAEMON_LOST')
    await eventually('another member has heard of it', 30_000, async () => (await reader.client.jobs()).some((info) => info.id === id))
    assert.deepEqual(await readOnce(reader, id), job.expected)
    await eventually('so has a third', 30_000, async () => (await other.client.jobs()).some((info) => info.id === id))
    assert.deepEqual(await readOnce(other, id), job.expected)
  })

  it('a participant stands still: its tasks run elsewhere, and what it says when it wakes counts for nothing', async () => {
    const { others: [submitter, victim] } = await roles()
    const id = await submit(submitter)
    let tasks = 0
    for await (const fact of facts(submitter, id)) if (fact.type === 'task:done' && ++tasks === MIDDLE) victim.child.kill('SIGSTOP')
    assert.deepEqual(await readOnce(submitter, id), job.expected)
    victim.child.kill('SIGCONT')
    await eventually('it has seen the end', 60_000, async () => (await victim.client.job(id)).status === 'succeeded')
    assert.deepEqual(await readOnce(victim, id), job.expected)
  })

  it('the leader stands still: another leads, and the old one follows when it wakes', async () => {
    const { leader: old, others: [submitter] } = await roles()
    const { term } = await submitter.client.status()
    const id = await submit(submitter)
    let tasks = 0
    const counted = new Map<string, TaskDone>()
    for await (const fact of facts(submitter, id)) {
      if (fact.type !== 'task:done') continue
      if (++tasks === MIDDLE) old.child.kill('SIGSTOP')
      counted.set(taskOf(fact), fact)
    }
    assert.deepEqual(await readOnce(submitter, id), job.expected)
    const status = await submitter.client.status()
    assert.ok(status.term > term && status.leader !== old.ready.peerId, 'another leads')
    const before = await submitter.client.job(id)

    old.child.kill('SIGCONT')
    await eventually('the old leader follows', 60_000, async () => {
      const { role, term: now, leader } = await old.client.status()
      return role === 'follower' && now >= status.term && leader !== old.ready.peerId && leader !== null
    })
    await eventually('it has seen the end', 60_000, async () => (await old.client.job(id)).status === 'succeeded')
    assert.deepEqual(await readOnce(old, id), job.expected)
    assert.deepEqual((await old.client.job(id)).participants, before.participants, 'nothing was counted again')
    assert.deepEqual((await submitter.client.job(id)).participants, before.participants)
  })

  it('all five are killed at once: they come back, finish it, and know every job', async () => {
    const { others: [submitter, , reader] } = await roles()
    const id = await submit(submitter)
    let tasks = 0
    await assert.rejects(async () => {
      for await (const fact of facts(submitter, id)) {
        if (fact.type === 'task:done' && ++tasks === MIDDLE) await Promise.all(daemons.map(async (daemon) => { await daemon.kill() }))
      }
    }, { code: 'DAEMON_LOST' })
    daemons = await Promise.all(daemons.map(async (daemon) => await mesh.up(daemon.name)))
    const back = daemons.find(({ name }) => name === reader.name) as Daemon
    await eventually('the log is read', 30_000, async () => (await back.client.jobs()).some((info) => info.id === id))
    assert.deepEqual(await readOnce(back, id), job.expected)
  })

  it('a member joins: it gets work', async () => {
    const { others: [submitter] } = await roles()
    const founder = daemons.find(({ name }) => name === 'n0') as Daemon
    const ticket = await founder.client.invite({})
    // long enough that a process starts meanwhile
    const long = await countJob(mesh.dir, { lines: 3000, keys: 40 })
    const id = await submit(submitter, long.input)
    const newcomer = await mesh.up('late', `${ticket}\n`)
    assert.deepEqual(await readOnce(newcomer, id), long.expected)
    const info = await newcomer.client.job(id)
    assert.ok(info.participants.some(({ peerId, done }) => peerId === newcomer.ready.peerId && done > 0), JSON.stringify(info.participants))
    await newcomer.kill()
  })
})

describe('a disk that is full', function () {
  this.timeout(120_000)

  it('stops the daemon with a code, or is survived; what was acknowledged is there when space is', async function () {
    await using mesh = await createDaemons()
    const dir = path.join(mesh.dir, 'small')
    if (!await mountTmpfs(dir, '24m')) {
      process.stdout.write('      skipped: mounting a small tmpfs needs root\n')
      this.skip()
    }
    try {
      let daemon = await mesh.up('small')
      const { input, expected } = await countJob(mesh.dir, { lines: 40, keys: 4 })
      const body = { name: 'count', code: SLOW_COUNT, inputs: [input] }
      const acknowledged: string[] = []
      const submit = async (): Promise<void> => { acknowledged.push((await daemon.client.submit(body)).id) }
      await submit()
      assert.deepEqual(await readOnce(daemon, acknowledged[0] as string), expected)

      const filler = await fill(dir)
      // jobs until one is refused: the first few may still fit into what is allocated already
      const code = await codeOf(async () => { for (let i = 0; i < 1000; i++) await submit() })
      if (code === 'DISK_FULL' || code === 'BLOCK_STORE_FULL') {
        assert.equal((await daemon.client.status()).role, 'leader', 'it lives: only the blocks found no room')
        await daemon.kill()
      } else {
        // its log found no room: nothing can be acknowledged any more, so it says so and ends
        assert.match(code, /^(LOG_DISK_FULL|NODE_STOPPED|STOPPED|DAEMON_LOST|DAEMON_STOPPING|NOT_RUNNING|REQUEST_CANCELLED)$/)
        await eventually('it has ended', 30_000, async () => !daemon.isAlive)
        assert.equal(daemon.child.exitCode, EXIT.busy)
        assert.match(daemon.stderr, /LOG_DISK_FULL: no space left/)
        assert.match(daemon.stderr, /next: free some space/)
      }
      await fs.rm(filler)
      daemon = await mesh.up('small')
      for (const id of acknowledged) assert.deepEqual(await readOnce(daemon, id), expected)
      await submit()
      assert.deepEqual(await readOnce(daemon, acknowledged.at(-1) as string), expected)
      await daemon.kill()
    } finally {
      await Promise.all(mesh.daemons.map(async (daemon) => { await daemon.kill() }))
      execFileSync('umount', [dir])
    }
  })
})

async function * facts (daemon: Daemon, job: string): AsyncGenerator<JobEvent> {
  const lines: AsyncGenerator<FollowLine> = daemon.client.follow(job)
  for await (const line of lines) if (line.event === 'fact') yield line.fact
}

const taskOf = ({ stage, task }: { stage: number, task: number }): string => `${stage}/${task}`

async function mountTmpfs (dir: string, size: string): Promise<boolean> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  await fs.mkdir(dir, { mode: 0o700 })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', dir], { stdio: 'ignore' })
    return true
  } catch {
    return false // a container without the right to mount
  }
}

/** Write until nothing fits. @returns the file that takes the space */
async function fill (dir: string): Promise<string> {
  const file = path.join(dir, 'filler')
  const handle = await fs.open(file, 'w')
  try {
    for (const size of [1 << 20, 1 << 12]) {
      const chunk = Buffer.alloc(size, 1)
      try {
        for (;;) await handle.write(chunk)
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
      }
    }
  } finally {
    await handle.close()
  }
  return file
}

/** The code that `work` fails with; 'none' where it does not. */
async function codeOf (work: () => Promise<void>): Promise<string> {
  try {
    await work()
    return 'none'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
