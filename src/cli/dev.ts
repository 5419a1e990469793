/** `conclave dev`: a whole network of real processes on this machine, gone with Ctrl+C. */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { ConclaveError, EXIT } from '../errors.ts'
import { connectControl } from '../daemon/client.ts'
import { toCount } from './args.ts'
import type { Command, Context } from './command.ts'

const READY_MS = 60_000
/** A node ends itself within less; past it: SIGKILL. */
const STOP_MS = 15_000
const MAX_NODES = 50

interface Ready { peerId: string, network: string, addrs: string[], pid: number }
interface DevNode extends Ready { name: string, dataDir: string, child: Child }
type Child = ChildProcessByStdio<Writable, Readable, null>

export const dev: Command = {
  name: 'dev',
  summary: 'a network of several nodes on this machine, to try things out',
  positionals: [],
  options: {
    nodes: { type: 'string', short: 'n', value: 'N', help: 'how many (default: 5)' },
    dir: { type: 'string', value: 'DIR', help: 'keep their data directories there (default: a temporary one, removed at the end)' },
    slots: { type: 'string', value: 'N', help: 'tasks at the same time per node (default: 1)' }
  },
  details: `
Each node is a process of its own with its own identity. Kill any of them: kill -9 PID. Ctrl+C ends all.

  conclave dev -n 3
`,
  async run (context) {
    const { args, out, signal, isJson, cwd } = context
    const count = toCount('nodes', args.text('nodes') ?? '5', 1, MAX_NODES)
    const slots = toCount('slots', args.text('slots') ?? '1', 0, 64)
    const given = args.text('dir')
    const dir = given === undefined ? await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-dev-')) : path.resolve(cwd, given)
    const children = new Set<Child>()
    try {
      const nodes = await startAll(context, dir, count, slots, children)
      if (isJson) await out.json({ event: 'ready', dir, nodes: nodes.map(({ child: _child, ...facts }) => facts) })
      else await out.data(instructions(nodes))
      for (const { name, child } of nodes) child.once('exit', (code, by) => { if (!signal.aborted) out.note(`${name} ended (${by ?? code ?? ''})`) })
      await new Promise<void>((resolve) => { if (signal.aborted) resolve(); else signal.addEventListener('abort', () => resolve(), { once: true }) })
      if (!isJson) out.note('stopping')
      return EXIT.ok
    } catch (error) {
      if (signal.aborted) return EXIT.ok
      throw error
    } finally {
      await Promise.all([...children].map(stop))
      if (given === undefined) await fs.rm(dir, { recursive: true, force: true, maxRetries: 3 })
    }
  }
}

async function startAll (context: Context, dir: string, count: number, slots: number, children: Set<Child>): Promise<DevNode[]> {
  const { out, signal } = context
  const start = async (at: number, ticket: string | undefined): Promise<DevNode> => {
    const name = `node-${at}`
    const dataDir = path.join(dir, name)
    const child = spawnNode(dataDir, slots, ticket)
    children.add(child)
    const ready = await readyOf(child, name, signal)
    return { name, dataDir, child, ...ready }
  }
  out.progress('starting 1 node')
  const first = await start(1, undefined)
  if (count === 1) return [first]
  const client = await connectControl(first.dataDir)
  const ticket = await client.invite({ uses: count - 1 }, signal)
  let up = 1
  const others = Array.from({ length: count - 1 }, async (_, at) => {
    const node = await start(at + 2, await isMember(path.join(dir, `node-${at + 2}`)) ? undefined : ticket)
    out.progress(`${++up} of ${count} nodes are up`)
    return node
  })
  const nodes = [first, ...await Promise.all(others)]
  out.clear()
  return nodes
}

/** A node of an earlier `dev --dir` comes back by itself. */
async function isMember (dataDir: string): Promise<boolean> {
  return await fs.access(path.join(dataDir, 'control.json')).then(() => true, () => false)
}

/**
 * The node's standard input is a pipe of ours that stays open: it stops when the pipe ends, so also when this process is killed.
 * It has a process group of its own, since Ctrl+C reaches a whole group, and a node takes a second signal as an order to end at once.
 */
function spawnNode (dataDir: string, slots: number, ticket: string | undefined): Child {
  const script = process.argv[1] ?? ''
  const args = [...process.execArgv, script, 'up', ...(ticket === undefined ? [] : ['-']), '--json', '--stop-on-stdin-end', '--data-dir', dataDir, '--slots', String(slots), '--listen', '/ip4/127.0.0.1/tcp/0']
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
  // A node that died early shows in its exit, not here.
  child.stdin.on('error', () => child.stdin.destroy())
  if (ticket !== undefined) child.stdin.write(`${ticket}\n`)
  return child
}

/** @throws DEV_FAILED; the signal's reason */
async function readyOf (child: Child, name: string, signal: AbortSignal): Promise<Ready> {
  const { promise, resolve, reject } = Promise.withResolvers<Ready>()
  const failed = (why: string): void => reject(new ConclaveError('DEV_FAILED', `${name} did not come up: ${why}`, { next: 'see its message above' }))
  const lines = createInterface({ input: child.stdout })
  const onAbort = (): void => reject(signal.reason)
  const timer = setTimeout(() => failed(`not ready within ${READY_MS / 1000} s`), READY_MS)
  signal.addEventListener('abort', onAbort, { once: true })
  child.once('exit', (code, by) => failed(`it ended with ${by ?? code ?? ''}`))
  child.once('error', (error) => failed(error.message))
  lines.on('line', (line) => {
    const facts = JSON.parse(line) as { event?: string, error?: { code: string, message: string } } & Ready
    if (facts.event === 'ready') resolve({ peerId: facts.peerId, network: facts.network, addrs: facts.addrs, pid: facts.pid })
    if (facts.error !== undefined) failed(`${facts.error.code}: ${facts.error.message}`)
  })
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

async function stop (child: Child): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const gone = new Promise<void>((resolve) => { child.once('exit', () => resolve()) })
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  child.stdin.end()
  await gone
  clearTimeout(timer)
}

/** Pure. */
export function instructions (nodes: readonly Omit<DevNode, 'child'>[]): string {
  const dir = nodes[0]?.dataDir ?? ''
  return `${nodes.map(({ name, pid, peerId }) => `${name}  process ${pid}  ${peerId}\n`).join('')}
In another terminal:
  export CONCLAVE_DATA_DIR=${dir}
  conclave status
  conclave run JOB --input FILE
Kill any node with kill -9. Ctrl+C here ends all.
`
}
