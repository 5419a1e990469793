/**
 * Real nodes in this process, each with its own data directory under one temporary folder, on 127.0.0.1 and a free port.
 */
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { ConclaveNode, InviteOptions, LogEvent } from '../../src/api.ts'
import { createNode } from '../../src/node.ts'
import type { NodeOptions } from '../../src/node.ts'

export const WORD_COUNT = new URL('../../examples/word-count.mjs', import.meta.url)

export interface Mesh extends AsyncDisposable {
  readonly dir: string
  /** in the order of their start; a stopped one stays here */
  readonly nodes: ConclaveNode[]
  /** @param name - its data directory below `dir` */
  start (name: string, options?: Partial<NodeOptions>): Promise<ConclaveNode>
  /** Start a node with a fresh ticket of the first one. */
  add (name: string, options?: Partial<NodeOptions>, invite?: InviteOptions): Promise<ConclaveNode>
  /** Write a file below `dir`. @returns its path */
  file (name: string, content: string | Uint8Array): Promise<string>
  readonly log: LogEvent[]
}

export async function createMesh (): Promise<Mesh> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-mesh-'))
  const nodes: ConclaveNode[] = []
  const log: LogEvent[] = []
  const mesh: Mesh = {
    dir,
    nodes,
    log,
    async start (name, options = {}) {
      const node = await createNode({ dataDir: path.join(dir, name), listen: ['/ip4/127.0.0.1/tcp/0'], slots: 1, log: (event) => { log.push({ node: name, ...event }) }, ...options })
      nodes.push(node)
      return node
    },
    async add (name, options, invite) {
      return await mesh.start(name, { ticket: await (nodes[0] as ConclaveNode).invite(invite), ...options })
    },
    async file (name, content) {
      const file = path.join(dir, name)
      await fs.writeFile(file, content)
      return file
    },
    async [Symbol.asyncDispose] () {
      await Promise.all(nodes.map(async (node) => { await node.stop() }))
      await fs.rm(dir, { recursive: true, force: true })
    }
  }
  return mesh
}

/** Resolves when `condition` holds; it is asked at every event of any of these nodes, and 20 times a second. @throws after `ms` with `what` */
export async function until (what: string, ms: number, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + ms
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
    await new Promise<void>((resolve) => { setTimeout(resolve, 20) })
  }
}

/** @returns all items of a stream that ends by itself */
export async function all<T> (stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of stream) items.push(item)
  return items
}

/** The error code that a promise rejects with. */
export async function codeOf (promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return 'resolved'
}
