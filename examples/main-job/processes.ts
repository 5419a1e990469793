/**
 * Real `conclave up` processes for one run: started, watched, and gone at the end, whatever happened in between.
 */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { connectControl } from '../../src/daemon/client.ts'
import type { ControlClient } from '../../src/daemon/client.ts'
import { readControl } from '../../src/daemon/socket-path.ts'

const CLI = path.join(import.meta.dirname, '../../src/cli/main.ts')
const READY_MS = 60_000
/** A node ends by itself within less; past it: SIGKILL. */
const STOP_MS = 15_000
const MAX_STDERR_CHARS = 4096

type Child = ChildProcessByStdio<Writable, Readable, Readable>

export interface NodeProcess {
  /** `node-1` … */
  readonly name: string
  readonly peerId: string
  readonly pid: number
  readonly client: ControlClient
  /** false as soon as its process is gone */
  readonly isAlive: boolean
  /** SIGKILL; resolves when the process is gone. */
  kill (): Promise<void>
}

export interface Processes extends AsyncDisposable {
  /** @param ticket - absent: it founds the network */
  start (ticket?: string): Promise<NodeProcess>
}

interface Started { child: Child, dataDir: string, gone: Promise<void> }

/** Disposing stops every process, also one that is just being started, and removes their files. */
export async function createProcesses (signal: AbortSignal): Promise<Processes> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-main-'))
  const all: Started[] = []

  return {
    async start (ticket) {
      signal.throwIfAborted()
      const name = `node-${all.length + 1}`
      const dataDir = path.join(dir, name)
      const args = [CLI, 'up', ...(ticket === undefined ? [] : ['-']), '--json', '--stop-on-stdin-end', '--data-dir', dataDir, '--listen', '/ip4/127.0.0.1/tcp/0', '--slots', '1']
      // Its standard input stays open as long as we live, so it stops even when we are killed. A process group of its own: Ctrl+C is for us,
      // who then stop it in order.
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
      const gone = new Promise<void>(resolve => { child.once('exit', () => { resolve() }).once('error', () => { resolve() }) })
      // A node that died early shows in its exit, not here.
      child.stdin.on('error', () => child.stdin.destroy())
      if (ticket !== undefined) child.stdin.write(`${ticket}\n`)
      all.push({ child, dataDir, gone })
      const { peerId, pid } = await readyOf(child, name, signal)
      return {
        name,
        peerId,
        pid,
        client: await connectControl(dataDir),
        get isAlive () { return child.exitCode === null && child.signalCode === null },
        async kill () {
          child.kill('SIGKILL')
          await gone
        }
      }
    },

    async [Symbol.asyncDispose] () {
      await Promise.all(all.map(stop))
      await fs.rm(dir, { recursive: true, force: true, maxRetries: 3 })
    }
  }
}

/** @throws Error with the last words of a node that did not come up; the signal's reason */
async function readyOf (child: Child, name: string, signal: AbortSignal): Promise<{ peerId: string, pid: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ peerId: string, pid: number }>()
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString()).slice(-MAX_STDERR_CHARS) })
  const failed = (why: string): void => { reject(new Error(`${name} did not come up: ${why}\n${stderr}`)) }
  const onAbort = (): void => { reject(signal.reason as Error) }
  const timer = setTimeout(() => { failed(`not ready within ${READY_MS / 1000} s`) }, READY_MS)
  signal.addEventListener('abort', onAbort, { once: true })
  child.once('close', (code, by) => { failed(`it ended with ${by ?? String(code)}`) })
  child.once('error', error => { failed(error.message) })
  createInterface({ input: child.stdout }).on('line', line => {
    if (!line.startsWith('{')) return
    const facts = JSON.parse(line) as { event?: string, peerId?: string, pid?: number }
    if (facts.event === 'ready' && facts.peerId !== undefined && facts.pid !== undefined) resolve({ peerId: facts.peerId, pid: facts.pid })
  })
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

async function stop ({ child, dataDir, gone }: Started): Promise<void> {
  if (child.pid !== undefined) {
    const timer = setTimeout(() => { child.kill('SIGKILL') }, STOP_MS)
    child.stdin.end()
    await gone
    clearTimeout(timer)
  }
  // Where the temporary directory has a long name, the socket of a killed node stands in a directory of its own.
  const control = await readControl(dataDir)
  if (control !== undefined && !control.socket.startsWith(dataDir)) await fs.rm(path.dirname(control.socket), { recursive: true, force: true })
}
