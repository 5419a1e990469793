/**
 * Real `conclave up` processes on 127.0.0.1, each with its own data directory: to be asked through the command line, and killed by pid.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { connectControl } from '../../src/daemon/client.ts'
import type { ControlClient } from '../../src/daemon/client.ts'

export const CLI = path.join(import.meta.dirname, '../../src/cli/main.ts')
export const ROOT = path.join(import.meta.dirname, '../..')

export interface Ran { code: number | null, stdout: string, stderr: string }

/** Run the command line once. @param input - its standard input */
export async function conclave (args: readonly string[], options: { input?: string, signal?: AbortSignal, cwd?: string } = {}): Promise<Ran> {
  const child = spawn(process.execPath, [CLI, ...args], { cwd: options.cwd ?? ROOT, stdio: ['pipe', 'pipe', 'pipe'], ...(options.signal === undefined ? {} : { signal: options.signal }) })
  child.stdin.on('error', () => {}) // it may not want its input
  child.stdin.end(options.input ?? '')
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  const [code] = await once(child, 'close') as [number | null]
  return { code, stdout, stderr }
}

/** The last line of NDJSON output. */
export const lastLine = (text: string): Record<string, unknown> => JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>

export interface Daemon {
  readonly name: string
  readonly dataDir: string
  readonly child: ChildProcess
  readonly ready: { peerId: string, network: string, addrs: string[], pid: number }
  /** What the command line asks it with: the same answers without a process for each question. */
  readonly client: ControlClient
  readonly isAlive: boolean
  /** what it said on its standard error, the last 8 KiB */
  readonly stderr: string
  /** Run a command against this daemon. */
  run (...args: string[]): Promise<Ran>
  status (): Promise<Record<string, unknown>>
  /** SIGKILL; resolves when the process is gone. */
  kill (): Promise<void>
}

export interface Daemons extends AsyncDisposable {
  readonly dir: string
  readonly daemons: Daemon[]
  /** Start `conclave up` in `<dir>/<name>`. @param ticket - given on standard input */
  up (name: string, ticket?: string, args?: readonly string[]): Promise<Daemon>
  /** Start a daemon with a ticket of the first one. */
  join (name: string): Promise<Daemon>
  /** Start `n0` … and wait until all of them vote. */
  start (count: number, args?: readonly string[]): Promise<Daemon[]>
}

export async function createDaemons (): Promise<Daemons> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-d-'))
  const daemons: Daemon[] = []
  const mesh: Daemons = {
    dir,
    daemons,
    async up (name, ticket, args = []) {
      const daemon = await start(path.join(dir, name), name, ticket, args)
      daemons.push(daemon)
      return daemon
    },
    async join (name) {
      const { stdout, code, stderr } = await (daemons[0] as Daemon).run('invite')
      if (code !== 0) throw new Error(`invite failed: ${stderr}`)
      return await mesh.up(name, stdout)
    },
    async start (count, args) {
      const first = await mesh.up('n0', undefined, args)
      const ticket = await first.client.invite({ uses: count })
      const started = [first, ...await Promise.all(Array.from({ length: count - 1 }, async (_, i) => await mesh.up(`n${i + 1}`, `${ticket}\n`, args)))]
      await eventually(`${count} voters`, 60_000, async () => (await Promise.all(started.map(async ({ client }) => (await client.status()).voters.length === count))).every(Boolean))
      return started
    },
    async [Symbol.asyncDispose] () {
      await Promise.all(daemons.map(async (daemon) => { await daemon.kill() }))
      await fs.rm(dir, { recursive: true, force: true })
    }
  }
  return mesh
}

async function start (dataDir: string, name: string, ticket: string | undefined, args: readonly string[]): Promise<Daemon> {
  const child = spawn(process.execPath, [CLI, 'up', ...(ticket === undefined ? [] : ['-']), '--json', '--data-dir', dataDir, '--listen', '/ip4/127.0.0.1/tcp/0', ...args],
    { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr = (stderr + text).slice(-8192) })
  child.stdin.on('error', () => {})
  child.stdin.end(ticket ?? '')
  const lines = createInterface({ input: child.stdout })
  const exited = once(child, 'exit').then(([code]) => { throw new Error(`conclave up ended with ${String(code)}: ${stderr}`) })
  exited.catch(() => {})
  const [line] = await Promise.race([once(lines, 'line'), exited]) as [string]
  lines.on('line', () => {}) // keep the pipe empty
  const run = async (...rest: string[]): Promise<Ran> => await conclave([...rest, '--data-dir', dataDir])
  return {
    name,
    dataDir,
    child,
    ready: JSON.parse(line) as Daemon['ready'],
    client: await connectControl(dataDir),
    get isAlive () { return child.exitCode === null && child.signalCode === null },
    get stderr () { return stderr },
    run,
    status: async () => JSON.parse((await run('status', '--json')).stdout) as Record<string, unknown>,
    async kill () {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    }
  }
}

/** The living among these daemons, once all of them follow the same leader of the same term, and it is one of them. */
export async function agreedLeader (daemons: readonly Daemon[]): Promise<{ leader: Daemon, term: number }> {
  let found: { leader: Daemon, term: number } | undefined
  await eventually('everybody follows one leader', 60_000, async () => {
    const [first, ...rest] = await Promise.all(daemons.map(async ({ client }) => await client.status()))
    const leader = daemons.find(({ ready }) => ready.peerId === first?.leader)
    if (first === undefined || leader === undefined || rest.some((other) => other.leader !== first.leader || other.term !== first.term)) return false
    found = { leader, term: first.term }
    return true
  })
  return found as { leader: Daemon, term: number }
}

/** Asks `condition` again and again until it holds. @throws after `ms` with `what` */
export async function eventually (what: string, ms: number, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + ms
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
    await new Promise<void>((resolve) => { setTimeout(resolve, 100) })
  }
}
