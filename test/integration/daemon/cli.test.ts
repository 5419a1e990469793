/** The `conclave` command as a process, against a daemon whose jobs the test drives. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { startDaemon } from '../../../src/daemon/daemon.ts'
import type { Daemon } from '../../../src/daemon/daemon.ts'
import { FakeNode, PEER } from '../../support/fake-node.ts'
import type { FakeJob } from '../../support/fake-node.ts'

const main = path.join(import.meta.dirname, '../../../src/cli/main.ts')
interface Ended { code: number | null, stdout: string, stderr: string }

describe('the command line', () => {
  let dir = ''
  let node: FakeNode
  let daemon: Daemon
  const children: ChildProcess[] = []

  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-test-'))
    fs.mkdirSync(path.join(dir, 'in'))
    fs.writeFileSync(path.join(dir, 'in', 'a.txt'), 'a\n')
    fs.writeFileSync(path.join(dir, 'in', 'b.txt'), 'b\n')
    fs.writeFileSync(path.join(dir, 'job.mjs'), 'export function map (line, emit) { emit(line) }\n')
    node = new FakeNode(path.join(dir, 'data'))
    fs.mkdirSync(node.dataDir)
    daemon = await startDaemon({ dataDir: node.dataDir, version: '1', join: async () => node, stopMs: 5000 })
  })
  beforeEach(() => { node.onSubmit = () => {} })
  afterEach(() => { for (const child of children.splice(0)) child.kill('SIGKILL') })
  after(async () => {
    await daemon.stop()
    fs.rmSync(dir, { recursive: true, force: true })
  })

  function start (args: string[], input?: string): { child: ChildProcess, ended: Promise<Ended> } {
    const child = spawn(process.execPath, [main, ...args], { cwd: dir, env: { ...process.env, CONCLAVE_DATA_DIR: node.dataDir }, stdio: 'pipe' })
    children.push(child)
    const said = { stdout: '', stderr: '' }
    child.stdout?.on('data', (chunk: Buffer) => { said.stdout += chunk.toString() })
    child.stderr?.on('data', (chunk: Buffer) => { said.stderr += chunk.toString() })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
    const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...said }))
    return { child, ended }
  }
  const conclave = async (...args: string[]): Promise<Ended> => await start(args).ended
  const lines = (text: string): Array<Record<string, unknown>> => text.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
  /** A job that gives two records and ends well. */
  const succeed = (job: FakeJob): void => { job.push([['a', 1], ['b', 2]]); job.end('succeeded') }

  describe('looking', () => {
    for (const [args, fact] of [[['status'], /leads term 3[\s\S]*waiting: job j1: no participant\n {2}next: conclave peers/], [['peers'], /PEER +CONNECTED[\s\S]*leader/], [['jobs'], /no jobs yet|^JOB +NAME/], [['invite'], /^conclave1fakefakefake\n$/]] as const) {
      it(`conclave ${args.join(' ')} for people: data alone on stdout`, async () => {
        const { code, stdout, stderr } = await conclave(...args)
        assert.deepEqual([code, stderr], [0, ''])
        assert.match(stdout, fact)
      })
    }
    for (const [name, field] of [['status', 'peerId'], ['peers', 'peers'], ['jobs', 'jobs'], ['invite', 'ticket']] as const) {
      it(`conclave ${name} --json: one object with a schemaVersion`, async () => {
        const { code, stdout } = await conclave(name, '--json')
        const [reply, ...more] = lines(stdout)
        assert.deepEqual([code, reply?.['schemaVersion'], more.length], [0, 1, 0])
        assert.ok(field in (reply ?? {}))
      })
    }
    it('conclave invite --qr draws on stderr, and keeps stdout for the ticket', async () => {
      const { stdout, stderr } = await conclave('invite', '--qr')
      assert.equal(stdout, 'conclave1fakefakefake\n')
      assert.match(stderr, /[█▀▄]/)
    })
  })

  describe('run', () => {
    it('prints records as NDJSON on stdout, and the rest on stderr', async () => {
      node.onSubmit = succeed
      const { code, stdout, stderr } = await conclave('run', 'job.mjs', '--input', 'in/*.txt')
      assert.deepEqual([code, stdout], [0, '["a",1]\n["b",2]\n'])
      assert.match(stderr, /^job jfake/)
      assert.deepEqual(node.submitted.at(-1)?.request.inputs, [path.join(dir, 'in/a.txt'), path.join(dir, 'in/b.txt')])
      assert.equal(node.submitted.at(-1)?.request.name, 'job.mjs')
    })

    it('--json prints events and records, and `done` last', async () => {
      node.onSubmit = (job) => {
        job.push([], [{ type: 'task:done', job: job.id, stage: 0, task: 0, attempt: 1, participant: PEER }])
        succeed(job)
      }
      const { code, stdout } = await conclave('run', 'job.mjs', '--input', 'in', '--json')
      const events = lines(stdout)
      assert.equal(code, 0)
      assert.ok(events.every((event) => event['schemaVersion'] === 1))
      assert.equal(events[0]?.['event'], 'submitted')
      assert.deepEqual(events.filter((event) => event['event'] === 'result').map((event) => event['record']), [['a', 1], ['b', 2]])
      assert.equal(events.filter((event) => event['event'] === 'task:done').length, 1)
      const done = events.at(-1)
      assert.deepEqual([done?.['event'], done?.['job'], done?.['status'], done?.['records']], ['done', node.submitted.at(-1)?.id, 'succeeded', 2])
    })

    it('--output writes the records into a file, whole', async () => {
      node.onSubmit = succeed
      const { code, stdout } = await conclave('run', 'job.mjs', '--input', 'in/a.txt', '--output', 'out.ndjson')
      assert.deepEqual([code, stdout], [0, ''])
      assert.equal(fs.readFileSync(path.join(dir, 'out.ndjson'), 'utf8'), '["a",1]\n["b",2]\n')
    })

    it('of a job that fails: leaves no output file, says why, exits with its class', async () => {
      node.onSubmit = (job) => { job.push([1]); job.end('failed', 'THROW', 'record 7 of a.txt: boom') }
      const { code, stderr } = await conclave('run', 'job.mjs', '--input', 'in/a.txt', '--output', 'bad.ndjson')
      assert.equal(code, 1)
      assert.match(stderr, /conclave: THROW: record 7 of a.txt: boom\n {2}next: /)
      assert.deepEqual(fs.readdirSync(dir).filter((name) => name.startsWith('bad')), [])
    })

    it('takes options as numbers with units', async () => {
      node.onSubmit = succeed
      const { code } = await conclave('run', 'job.mjs', 'in/a.txt', 'in/b.txt', '--split', '1MiB', '--partitions', '4', '--timeout', '5s', '--memory', '64M', '--attempts', '2', '--deadline', '1h', '--encoding', 'latin1', '--name', 'x')
      assert.equal(code, 0)
      const { code: _code, inputs, ...options } = node.submitted.at(-1)?.request ?? { code: '', inputs: [] }
      assert.equal(inputs.length, 2)
      assert.deepEqual(options, { name: 'x', encoding: 'latin1', splitBytes: 1 << 20, partitions: 4, maxAttempts: 2, deadlineMs: 3_600_000, limits: { timeoutMs: 5000, memoryBytes: 64 << 20 } })
    })

    it('--input - spools standard input to a file of its owner, and removes it', async () => {
      let mode = 0
      let text = ''
      node.onSubmit = (job) => {
        const [file = ''] = job.request.inputs
        mode = fs.statSync(file).mode & 0o777
        text = fs.readFileSync(file, 'utf8')
        succeed(job)
      }
      const { code } = await start(['run', 'job.mjs', '--input', '-'], 'x\ny\n').ended
      assert.deepEqual([code, mode, text], [0, 0o600, 'x\ny\n'])
      assert.equal(fs.existsSync(node.submitted.at(-1)?.request.inputs[0] ?? ''), false)
    })

    it('--detach prints the id alone', async () => {
      const { code, stdout } = await conclave('run', 'job.mjs', '--input', 'in', '--detach')
      assert.deepEqual([code, stdout], [0, `${node.submitted.at(-1)?.id}\n`])
      node.submitted.at(-1)?.end('succeeded')
    })

    it('Ctrl+C leaves the job running, says how to look again, exits with 130', async () => {
      const submitted = Promise.withResolvers<FakeJob>()
      node.onSubmit = submitted.resolve
      const { child, ended } = start(['run', 'job.mjs', '--input', 'in'])
      const job = await submitted.promise
      job.push([1])
      assert.ok(child.stdout)
      await once(child.stdout, 'data')
      child.kill('SIGINT')
      const { code, stderr } = await ended
      assert.equal(code, 130)
      assert.match(stderr, new RegExp(`detached[^]*next: conclave watch ${job.id}`))
      assert.deepEqual([job.state.status, job.cancels], ['running', 0])
      job.push([2])
      job.end('succeeded')
      const again = await conclave('watch', job.id)
      assert.deepEqual([again.code, again.stdout], [0, '1\n2\n'])
    })

    it('ends quietly when the reader of stdout goes away', async () => {
      const submitted = Promise.withResolvers<FakeJob>()
      node.onSubmit = submitted.resolve
      const { child, ended } = start(['run', 'job.mjs', '--input', 'in'])
      const job = await submitted.promise
      job.push(['first'])
      assert.ok(child.stdout)
      await once(child.stdout, 'data')
      child.stdout.destroy()
      job.push(Array.from({ length: 2000 }, () => 'x'.repeat(1000)))
      const { code, stderr } = await ended
      assert.equal(code, 0)
      assert.doesNotMatch(stderr, /EPIPE|Error/)
      job.end('succeeded')
    })
  })

  it('cancels a job', async () => {
    await conclave('run', 'job.mjs', '--input', 'in', '--detach')
    const { code, stdout } = await conclave('cancel', 'last')
    assert.deepEqual([code, stdout], [0, `${node.submitted.at(-1)?.id} cancelled\n`])
  })

  it('says why, while a job is not accepted', async () => {
    const accepted = Promise.withResolvers<void>()
    node.submitting = accepted.promise
    const child = spawn(process.execPath, [main, 'run', 'job.mjs', '--input', 'in', '--detach', '--data-dir', node.dataDir], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
    children.push(child)
    let stderr = ''
    for await (const text of child.stderr.setEncoding('utf8') as AsyncIterable<string>) {
      stderr += text
      if (/next: /.test(stderr)) accepted.resolve()
    }
    node.submitting = Promise.resolve()
    assert.match(stderr, /waiting for the job to be accepted: job j1: no participant\n {2}next: conclave peers/)
  })

  it('revokes a member', async () => {
    const { code, stdout } = await conclave('revoke', '12D3KooWother')
    assert.deepEqual([code, stdout, node.revoked], [0, '12D3KooWother revoked\n', ['12D3KooWother']])
  })

  describe('mistakes', () => {
    const cases: [args: string[], exit: number, code: string, more: RegExp][] = [
      [['stauts'], 2, 'USAGE', /did you mean status\?/],
      [['run', 'job.mjs', '--inptu', 'x'], 2, 'USAGE', /did you mean --input\?/],
      [['run', 'job.mjs'], 2, 'USAGE', /no input is named/],
      [['run'], 2, 'USAGE', /JOB is missing/],
      [['run', 'job.mjs', '--input', 'in', '--timeout', 'soon'], 2, 'USAGE', /a duration such as/],
      [['invite', '--caps', 'root'], 2, 'USAGE', /one of vote, work/],
      [['run', 'absent.mjs', '--input', 'in'], 3, 'JOB_NOT_FOUND', /absent\.mjs/],
      [['run', 'job.mjs', '--input', 'absent.txt'], 3, 'INPUT_NOT_FOUND', /absent\.txt/],
      [['run', 'job.mjs', '--input', 'in/*.csv'], 3, 'INPUT_NO_MATCH', /no file matches in\/\*\.csv/],
      [['run', 'job.mjs', '--input', '-'], 3, 'INPUT_EMPTY', /nothing on standard input/],
      [['watch', 'jnone'], 3, 'JOB_UNKNOWN', /next: conclave jobs/],
      [['status', '--data-dir', 'elsewhere'], 4, 'NOT_RUNNING', /next: conclave up/],
      [['up', '-', '--data-dir', 'elsewhere'], 5, 'TICKET_UNKNOWN', /standard input holds no ticket/],
      [['up', '--sandbox', 'bwarp'], 2, 'USAGE', /next: --sandbox bwrap/]
    ]
    for (const [args, exit, code, more] of cases) {
      it(`conclave ${args.join(' ')}: exit ${exit}, ${code}`, async () => {
        const before = node.submitted.length
        const ended = await start(args, '').ended
        assert.deepEqual([ended.code, ended.stdout], [exit, ''])
        assert.match(ended.stderr, new RegExp(`^conclave: ${code}: `))
        assert.match(ended.stderr, more)
        assert.equal(node.submitted.length, before)
      })
    }

    it('are told to programs too', async () => {
      const { code, stdout } = await conclave('watch', 'jnone', '--json')
      const [line] = lines(stdout)
      assert.equal(code, 3)
      assert.deepEqual((line?.['error'] as { code: string } | undefined)?.code, 'JOB_UNKNOWN')
    })

    it('an input that cannot be read', async () => {
      // A link to itself: not even root can read it, unlike a file of mode 0.
      fs.symlinkSync('loop.txt', path.join(dir, 'loop.txt'))
      const { code, stderr } = await conclave('run', 'job.mjs', '--input', 'loop.txt')
      assert.equal(code, 3)
      assert.match(stderr, /^conclave: INPUT_UNREADABLE: .*ELOOP/)
    })
  })

  it('helps with every command, on stdout', async () => {
    const overview = await conclave('--help')
    assert.equal(overview.code, 0)
    for (const [, name = ''] of overview.stdout.matchAll(/^ {2}(\w+) {2,}/gm)) {
      const { code, stdout } = await conclave(name, '--help')
      assert.equal(code, 0)
      assert.match(stdout, new RegExp(`usage: conclave ${name}`))
    }
  }).timeout(30_000)
})
