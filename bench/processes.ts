/**
 * Child processes of a benchmark: started, asked over their IPC channel, killed by pid, and gone at the end with their files.
 */
import { execFile, fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import fs from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Told } from './child.ts'

/** Longest wait for an answer of a child. */
const ANSWER_MS = 15 * 60_000

/** A Node process of ours that answers questions: `{ type, id, … }` in, `{ type: 'answer' | 'error', id, … }` out. */
export interface Asked {
  readonly pid: number
  readonly isAlive: () => boolean
  ask<T = Told> (question: Told): Promise<T>
  /** @returns the first of that type, also where it has come before */
  told (type: string): Promise<Told>
  /** @returns stops it */
  onTell (listener: (told: Told) => void): () => void
  /** SIGKILL; resolves when the process is gone. */
  kill (): Promise<void>
}

export interface Room extends AsyncDisposable {
  /** removed at the end */
  readonly dir: string
  /** @returns once it has said that it is ready, with what it said */
  fork (script: string, args: readonly string[]): Promise<{ child: Asked, ready: Told }>
  /** Something that is not ours; its output is dropped, the end of its standard error is kept for a failure. */
  spawn (command: string, args: readonly string[], options?: { env?: NodeJS.ProcessEnv }): ChildProcess
  /** SIGKILL; resolves when the process is gone. */
  kill (child: ChildProcess): Promise<void>
}

export async function createRoom (): Promise<Room> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-bench-'))
  const children = new Set<ChildProcess>()
  /** Ctrl+C and errors end here: no process and no file may stay. */
  const onExit = (): void => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  process.once('exit', onExit)
  const track = (child: ChildProcess): void => {
    children.add(child)
    child.once('exit', () => { children.delete(child) })
  }
  const kill = async (child: ChildProcess): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  return {
    dir,
    kill,
    async fork (script, args) {
      const child = fork(path.join(import.meta.dirname, script), args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], serialization: 'advanced' })
      track(child)
      const asked = askedOf(child, kill)
      const { promise, reject } = Promise.withResolvers<never>()
      child.once('exit', (code, by) => { reject(new Error(`${script} ended with ${by ?? String(code)}`)) })
      const ready = await Promise.race([asked.told('ready'), promise])
      promise.catch(() => {}) // it ends some time
      return { child: asked, ready }
    },
    spawn (command, args, options = {}) {
      const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, ...options.env } })
      track(child)
      return child
    },
    async [Symbol.asyncDispose] () {
      process.off('exit', onExit)
      await Promise.all([...children].map(kill))
      await fs.rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    }
  }
}

function askedOf (child: ChildProcess, kill: (child: ChildProcess) => Promise<void>): Asked {
  const waiting = new Map<number, PromiseWithResolvers<never>>()
  const listeners = new Set<(told: Told) => void>()
  const first = new Map<string, PromiseWithResolvers<Told>>()
  const firstOf = (type: string): PromiseWithResolvers<Told> => {
    const known = first.get(type) ?? Promise.withResolvers<Told>()
    first.set(type, known)
    return known
  }
  let ids = 0
  child.on('message', (message: Told & { id?: number, error?: string }) => {
    const asked = message.id === undefined ? undefined : waiting.get(message.id)
    if (asked === undefined) {
      firstOf(message.type).resolve(message)
      for (const listener of [...listeners]) listener(message)
      return
    }
    waiting.delete(message.id as number)
    if (message.type === 'error') asked.reject(new Error(message.error))
    else asked.resolve(message as never)
  })
  child.once('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error('the process has ended'))
    waiting.clear()
  })
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null
  return {
    pid: child.pid as number,
    isAlive,
    told: async (type) => await firstOf(type).promise,
    async ask (question) {
      if (!isAlive()) throw new Error('the process has ended')
      const id = ++ids
      const answer = Promise.withResolvers<never>()
      waiting.set(id, answer)
      const timer = setTimeout(() => { answer.reject(new Error(`no answer to ${question.type}`)) }, ANSWER_MS)
      child.send({ ...question, id })
      try {
        return await answer.promise
      } finally {
        clearTimeout(timer)
        waiting.delete(id)
      }
    },
    onTell (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    kill: async () => { await kill(child) }
  }
}

/** @returns ports of 127.0.0.1 that were free a moment ago */
export async function freePorts (count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return server
  }))
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port)
  await Promise.all(servers.map(async (server) => { server.close(); await once(server, 'close') }))
  return ports
}

/** @returns true if `probe` runs, after an attempt to install the Debian package where this user may */
export async function hasPeer (probe: readonly [string, ...string[]], debianPackage: string, log: (line: string) => void): Promise<boolean> {
  const run = promisify(execFile)
  const works = async (): Promise<boolean> => await run(probe[0], probe.slice(1)).then(() => true, () => false)
  if (await works()) return true
  if (process.getuid?.() !== 0) {
    log(`${debianPackage} is not installed, and only root can install it: skipped`)
    return false
  }
  log(`installing ${debianPackage}`)
  // no service of it may start beside what we start ourselves
  await run('apt-get', ['install', '-y', '--no-install-recommends', debianPackage], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' } })
    .catch((error: unknown) => { log(`apt-get: ${String(error)}`) })
  if (await works()) return true
  log(`${debianPackage} cannot be installed: skipped`)
  return false
}

/** Asks again and again until it holds. @throws after `ms` with `what` */
export async function eventually (what: string, ms: number, condition: () => Promise<boolean> | boolean, pauseMs = 20): Promise<void> {
  const deadline = performance.now() + ms
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
    await pause(pauseMs)
  }
}

export const pause = async (ms: number): Promise<void> => { await new Promise<void>((resolve) => { setTimeout(resolve, ms) }) }
