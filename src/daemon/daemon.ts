/**
 * A node as a process: joined, and open to the command line, until it is told to stop.
 */
import type { ConclaveNode, JoinOptions } from '../api.ts'
import { ConclaveError, explain } from '../errors.ts'
import { serveControl } from './server.ts'
import { claimSocketPath, releaseSocketPath } from './socket-path.ts'

export interface DaemonInit extends JoinOptions {
  version: string
  /** `join` of the library; it holds the data directory's lock */
  join: (options: JoinOptions) => Promise<ConclaveNode>
  /** a graceful stop takes at most this long; past it: STOP_TIMEOUT */
  stopMs: number
}

export interface Daemon {
  readonly node: ConclaveNode
  readonly socket: string
  /** Resolves when a client asked for a stop. */
  readonly stopAsked: Promise<void>
  /** Rejects when the node cannot go on: a daemon without a node only pretends to be one. Never resolves. */
  readonly failed: Promise<never>
  /** Graceful; idempotent. @throws STOP_TIMEOUT: something of the node did not end, the process should */
  stop (): Promise<void>
}

/** @throws what `join` throws; CONTROL_SOCKET_FAILED. Nothing is left running then. */
export async function startDaemon (init: DaemonInit): Promise<Daemon> {
  const { version, join, stopMs, ...options } = init
  const node = await join(options)
  const asked = Promise.withResolvers<void>()
  const failing = Promise.withResolvers<never>()
  failing.promise.catch(() => {}) // it may fail while nobody looks, such as when it is being stopped
  node.on((event) => { if (event.type === 'node:fail') failing.reject(new ConclaveError(event.code, event.reason, { next: explain(event.code).next })) })
  let socket: string
  let server: Awaited<ReturnType<typeof serveControl>>
  try {
    socket = await claimSocketPath(node.dataDir)
    server = await serveControl({ node, socket, version, onStop: asked.resolve })
  } catch (error) {
    await node.stop()
    throw error
  }
  let stopped: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    // The socket goes first: while it is there, a client may think that the node is.
    await server.stop()
    await releaseSocketPath(node.dataDir)
    await node.stop()
  }
  return { node, socket, stopAsked: asked.promise, failed: failing.promise, stop: () => (stopped ??= within(stop(), stopMs)) }
}

async function within (work: Promise<void>, ms: number): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new ConclaveError('STOP_TIMEOUT', `the node did not stop within ${ms} ms`, { next: 'nothing: it was ended; its log survives that' })), ms)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
