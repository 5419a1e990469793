/**
 * Everything a person can get wrong, through the command line against real daemons: a clear error with a code, the next step, and a daemon
 * that lives on.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { identityFromSeed } from '../../keys/identity.ts'
import { loadOrCreateIdentity, readSecretFile } from '../../keys/key-file.ts'
import { rootChain } from '../../keys/network.ts'
import { createInvite } from '../../keys/ticket.ts'
import { connectControl } from '../../src/daemon/client.ts'
import { loadMembership } from '../../src/membership.ts'
import { WORD_COUNT } from '../support/mesh.ts'
import { conclave, createDaemons, lastLine } from '../support/daemons.ts'
import type { Daemon, Daemons } from '../support/daemons.ts'

const JOB = fileURLToPath(WORD_COUNT)

describe('bad input', function () {
  this.timeout(60_000)
  let mesh: Daemons
  let daemon: Daemon
  const file = async (name: string, content: string | Uint8Array): Promise<string> => {
    const at = path.join(mesh.dir, name)
    await fs.writeFile(at, content)
    return at
  }

  before(async () => {
    mesh = await createDaemons()
    daemon = await mesh.up('main')
  })
  after(async () => { await mesh[Symbol.asyncDispose]() })
  afterEach('the daemon lives on and counts', async () => {
    const good = await daemon.run('run', JOB, '--input', await file('good.txt', 'still here\n'))
    assert.equal(good.code, 0, good.stderr)
    assert.equal(good.stdout.trim().split('\n').length, 2)
  })

  describe('a job module', () => {
    const table: Array<{ what: string, code: string, source?: string, args?: string[], says?: RegExp }> = [
      { what: 'that does not exist', code: 'JOB_NOT_FOUND' },
      { what: 'that is no JavaScript', source: 'export function map (', code: 'JOB_SYNTAX' },
      { what: 'that throws on load', source: 'throw new Error("no coffee")', code: 'JOB_THROWS_ON_LOAD', says: /no coffee/ },
      { what: 'that exports nothing', source: 'const a = 1', code: 'JOB_EXPORTS_NOTHING' },
      { what: 'that imports', source: 'import fs from "node:fs"\nexport function map () {}', code: 'JOB_IMPORTS' },
      { what: 'that loops on load', source: 'for (;;);', code: 'JOB_TIMEOUT' },
      { what: 'that throws on one record', source: 'export function map (line, emit) { if (line === "bad") throw new Error("cannot parse"); emit(line) }', code: 'TASK_THROW', says: /cannot parse[\s\S]*record 3|record 3[\s\S]*cannot parse/ },
      { what: 'that loops', source: 'export function map () { for (;;); }', args: ['--timeout', '500ms', '--attempts', '1'], code: 'TASK_TIMEOUT' },
      { what: 'that loops in native code', source: 'export function map () { Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1) }', args: ['--timeout', '500ms', '--attempts', '1'], code: 'TASK_TIMEOUT' },
      { what: 'that eats the heap', source: 'export function map () { const a = []; for (;;) a.push(new Array(1e5).fill(a.length)) }', args: ['--attempts', '1'], code: 'TASK_MEMORY' },
      { what: 'that eats buffers', source: 'export function map () { const a = []; for (;;) a.push(new Uint8Array(1 << 24).fill(1)) }', args: ['--attempts', '1'], code: 'TASK_MEMORY' },
      { what: 'that returns what cannot be serialised', source: 'export function map (line, emit) { emit(line, 10n) }\nexport function reduce (k) { return k }', args: ['--attempts', '1'], code: 'TASK_THROW', says: /BigInt/i }
    ]
    for (const { what, source, code, args = [], says } of table) {
      it(`${what}: ${code}`, async () => {
        const job = source === undefined ? path.join(mesh.dir, 'absent.mjs') : await file('bad.mjs', source)
        const ran = await daemon.run('run', job, '--input', await file('in.txt', 'fine\nfine\nbad\n'), ...args)
        assert.notEqual(ran.code, 0)
        assert.match(ran.stderr, new RegExp(`conclave: ${code}: `))
        assert.match(ran.stderr, /\n {2}next: \S/)
        if (says !== undefined) assert.match(ran.stderr, says)
        assert.equal(ran.stdout, '')
      })
    }

    it('tells the same to a program', async () => {
      const ran = await daemon.run('run', await file('bad.mjs', 'const a = 1'), '--input', await file('in.txt', 'x\n'), '--json')
      const error = lastLine(ran.stdout === '' ? ran.stderr : ran.stdout)
      assert.equal((error.error as { code?: string } | undefined)?.code ?? error.code, 'JOB_EXPORTS_NOTHING')
    })
  })

  describe('an input', () => {
    it('that does not exist: INPUT_NOT_FOUND', async () => { await fails('INPUT_NOT_FOUND', path.join(mesh.dir, 'nowhere.txt')) })
    it('that no file matches: INPUT_NO_MATCH', async () => { await fails('INPUT_NO_MATCH', path.join(mesh.dir, '*.nothing')) })
    it('that is a pipe: INPUT_NOT_A_FILE, at once, however often, and nothing is blocked', async () => {
      const pipe = path.join(mesh.dir, 'pipe')
      execFileSync('mkfifo', [pipe])
      await Promise.all([1, 2, 3, 4, 5].map(async () => { await fails('INPUT_NOT_A_FILE', pipe) }))
      // past the command line, straight to the daemon
      const client = await connectControl(daemon.dataDir)
      await Promise.all([1, 2, 3, 4, 5].map(async () => {
        await assert.rejects(client.submit({ code: 'export function map () {}', inputs: [pipe] }, AbortSignal.timeout(10_000)), { code: 'INPUT_NOT_A_FILE' })
      }))
    })
    it('without a name: USAGE', async () => { await fails('USAGE', '') })
    it('with a line of 50 MB: INPUT_RECORD_TOO_LONG', async () => { await fails('INPUT_RECORD_TOO_LONG', await file('long.txt', 'x'.repeat(50_000_000))) })
    it('that is not UTF-8: INPUT_NOT_UTF8, with the place and the way out', async () => {
      const ran = await fails('INPUT_NOT_UTF8', await file('latin.txt', Buffer.from('caf\xe9\n', 'latin1')))
      assert.match(ran.stderr, /--encoding latin1/)
      assert.match(ran.stderr, /3/)
    })
    it('that may not be read: INPUT_UNREADABLE', async function () {
      const at = await file('secret.txt', 'x\n')
      await fs.chmod(at, 0o000)
      if (await fs.readFile(at).then(() => true, () => false)) this.skip() // root may read everything
      await fails('INPUT_UNREADABLE', at)
    })
    it('that is empty: no records, and success', async () => {
      const ran = await daemon.run('run', JOB, '--input', await file('empty.txt', ''))
      assert.equal(ran.code, 0, ran.stderr)
      assert.equal(ran.stdout, '')
    })

    async function fails (code: string, input: string): Promise<{ stderr: string }> {
      const ran = await daemon.run('run', JOB, '--input', input)
      assert.notEqual(ran.code, 0)
      assert.match(ran.stderr, new RegExp(`conclave: ${code}: `))
      assert.match(ran.stderr, /\n {2}next: \S/)
      return ran
    }
  })

  describe('a ticket', () => {
    const up = async (ticket: string, name: string) => await conclave(['up', '-', '--data-dir', path.join(mesh.dir, name), '--listen', '/ip4/127.0.0.1/tcp/0'], { input: ticket })

    it('with a typo: TICKET_DAMAGED, with its place', async () => {
      const ticket = (await daemon.run('invite')).stdout.trim()
      const at = 40
      const typo = ticket.slice(0, at) + (ticket[at] === 'q' ? 'p' : 'q') + ticket.slice(at + 1)
      const ran = await up(typo, 'typo')
      assert.match(ran.stderr, /TICKET_DAMAGED/)
      assert.match(ran.stderr, new RegExp(`character ${at + 1}\\b`))
      assert.ok(!ran.stderr.includes(ticket.slice(50, 80)), 'the ticket is a secret')
    })
    it('cut short: TICKET_DAMAGED', async () => {
      assert.match((await up((await daemon.run('invite')).stdout.trim().slice(0, -10), 'cut')).stderr, /TICKET_DAMAGED/)
    })
    it('that is none: TICKET_UNKNOWN', async () => { assert.match((await up('hello\n', 'none')).stderr, /TICKET_UNKNOWN/) })
    it('that expired: TICKET_EXPIRED', async () => {
      assert.match((await up(await expiredTicket(daemon), 'late')).stderr, /TICKET_EXPIRED/)
    })
    it('that was used: GRANT_USED_UP', async () => {
      const ticket = (await daemon.run('invite')).stdout
      const joined = await mesh.up('joined', ticket)
      const ran = await up(ticket, 'second')
      assert.equal(ran.code, 5)
      assert.match(ran.stderr, /GRANT_USED_UP/)
      assert.equal((await joined.run('down')).code, 0)
    })
  })

  describe('a place to run', () => {
    it('that a running node has: DATA_DIR_IN_USE, with its pid', async () => {
      const ran = await conclave(['up', '--data-dir', daemon.dataDir])
      assert.match(ran.stderr, /DATA_DIR_IN_USE/)
      assert.match(ran.stderr, new RegExp(`\\b${daemon.ready.pid}\\b`))
    })
    it('with a key file that is damaged: KEY_FILE_CORRUPT', async () => {
      const dir = path.join(mesh.dir, 'badkey')
      await fs.mkdir(dir, { mode: 0o700 })
      await fs.writeFile(path.join(dir, 'identity.key'), 'garbage', { mode: 0o600 })
      assert.match((await conclave(['up', '--data-dir', dir])).stderr, /KEY_FILE_CORRUPT/)
    })
    it('with a key file that others may read: KEY_FILE_OPEN, and chmod', async () => {
      const dir = path.join(mesh.dir, 'openkey')
      await fs.mkdir(dir, { mode: 0o700 })
      await fs.writeFile(path.join(dir, 'identity.key'), 'x', { mode: 0o644 })
      const ran = await conclave(['up', '--data-dir', dir])
      assert.match(ran.stderr, /KEY_FILE_OPEN/)
      assert.match(ran.stderr, /chmod 600/)
    })
    it('at a port that is taken: LISTEN_FAILED', async () => {
      const server = net.createServer().listen(0, '127.0.0.1')
      await new Promise((resolve) => server.once('listening', resolve))
      const { port } = server.address() as net.AddressInfo
      try {
        const ran = await conclave(['up', '--data-dir', path.join(mesh.dir, 'port'), '--listen', `/ip4/127.0.0.1/tcp/${port}`])
        assert.match(ran.stderr, /LISTEN_FAILED/)
        assert.match(ran.stderr, new RegExp(String(port)))
      } finally {
        server.close()
      }
    })
    it('with a log whose last record is torn: the rest is there', async () => {
      const torn = await mesh.up('torn')
      assert.equal((await torn.run('run', JOB, '--input', await file('t.txt', 'a b\n'))).code, 0)
      await torn.kill()
      const raft = path.join(torn.dataDir, 'raft')
      const segment = (await fs.readdir(raft)).filter((name) => name.endsWith('.seg')).sort().at(-1) as string
      await fs.appendFile(path.join(raft, segment), Buffer.from([7, 0, 0, 0, 1, 2, 3]))
      const back = await mesh.up('torn')
      const { jobs } = JSON.parse((await back.run('jobs', '--json')).stdout) as { jobs: Array<{ status: string }> }
      assert.deepEqual(jobs.map(({ status }) => status), ['succeeded'])
      await back.kill()
    })
    it('with a log that is damaged in the middle: refused, with what to do', async () => {
      const broken = await mesh.up('broken')
      for (let i = 0; i < 3; i++) await broken.run('run', JOB, '--input', await file('t.txt', 'a b\n'))
      await broken.kill()
      const raft = path.join(broken.dataDir, 'raft')
      const segment = path.join(raft, (await fs.readdir(raft)).filter((name) => name.endsWith('.seg')).sort()[0] as string)
      const bytes = await fs.readFile(segment)
      bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 0xff, bytes.length >> 1)
      await fs.writeFile(segment, bytes)
      const ran = await conclave(['up', '--data-dir', broken.dataDir])
      assert.match(ran.stderr, /LOG_CORRUPT/)
      assert.match(ran.stderr, /\n {2}next: \S/)
    })
  })
})

/** A ticket that this daemon might have made two hours ago. */
async function expiredTicket (daemon: Daemon): Promise<string> {
  const { identity } = await loadOrCreateIdentity(path.join(daemon.dataDir, 'identity.key'))
  const root = await readSecretFile(path.join(daemon.dataDir, 'root.key'))
  const membership = await loadMembership(daemon.dataDir)
  assert.ok(root !== undefined && membership !== undefined)
  const twoHoursAgo = Date.now() - 2 * 3_600_000
  return createInvite({
    identity,
    chain: rootChain(identityFromSeed(root), { subject: identity.peerId, nowMs: twoHoursAgo - 1000 }),
    network: membership.network,
    fence: membership.fence,
    addrs: daemon.ready.addrs,
    capabilities: ['observe'],
    uses: 1,
    ttlMs: 3_600_000,
    nowMs: twoHoursAgo,
    seed: randomBytes(32)
  })
}
