/**
 * A mesh of real node processes as the workloads define it: three voters that run no task, two participants with one slot, one submitter.
 */
import path from 'node:path'
import type { Capability, JobRequest, NodeStatus } from '../src/api.ts'
import type { Ran } from './node-child.ts'
import { createRoom, eventually } from './processes.ts'
import type { Asked, Room } from './processes.ts'

const READY_MS = 60_000

export interface MeshNode {
  readonly name: string
  readonly peerId: string
  child: Asked
  status (): Promise<NodeStatus>
  run (jobs: JobRequest[]): Promise<Ran>
}

export interface Mesh extends AsyncDisposable {
  readonly room: Room
  readonly voters: readonly MeshNode[]
  readonly participants: readonly MeshNode[]
  readonly submitter: MeshNode
  all (): MeshNode[]
  /** The voter that leads, by what the submitter and it say. */
  leader (): Promise<MeshNode>
  /** Start a killed one again on its data. */
  restart (node: MeshNode): Promise<void>
  /** Resolves when three vote and everybody is connected to the leader. */
  whole (): Promise<void>
}

const ROLES: ReadonlyArray<{ name: string, slots: number, capabilities: Capability[] }> = [
  { name: 'v1', slots: 0, capabilities: ['vote', 'observe'] },
  { name: 'v2', slots: 0, capabilities: ['vote', 'observe'] },
  { name: 'p0', slots: 1, capabilities: ['work', 'observe'] },
  { name: 'p1', slots: 1, capabilities: ['work', 'observe'] },
  { name: 's', slots: 0, capabilities: ['submit', 'observe'] }
]

export async function createMesh (): Promise<Mesh> {
  const room = await createRoom()
  const optionsOf = (name: string, slots: number): Record<string, unknown> => ({ dataDir: path.join(room.dir, name), slots })
  const slotsOf = new Map<string, number>([['v0', 0], ...ROLES.map(({ name, slots }) => [name, slots] as const)])
  try {
    const founder = await start('v0', {})
    const nodes = [founder]
    for (const { name, capabilities } of ROLES) {
      const { ticket } = await founder.child.ask<{ ticket: string }>({ type: 'invite', options: { capabilities } })
      nodes.push(await start(name, { ticket, capabilities }))
    }
    const mesh: Mesh = {
      room,
      voters: nodes.slice(0, 3),
      participants: nodes.slice(3, 5),
      submitter: nodes[5] as MeshNode,
      all: () => nodes,
      async leader () {
        let found: MeshNode | undefined
        await eventually('a leader', READY_MS, async () => {
          const { leader } = await mesh.submitter.status()
          found = nodes.find(({ peerId, child }) => child.isAlive() && peerId === leader)
          return found !== undefined && (await found.status()).role === 'leader'
        })
        return found as MeshNode
      },
      async restart (node) {
        const { child } = await room.fork('node-child.ts', [JSON.stringify(optionsOf(node.name, slotsOf.get(node.name) as number))])
        node.child = child
      },
      async whole () {
        await eventually('three voters, and everybody follows one leader', READY_MS, async () => {
          const statuses = await Promise.all(nodes.map(async (node) => await node.status()))
          const [{ leader, voters }] = statuses as [NodeStatus]
          const reached = Math.max(...statuses.map(({ appliedIndex }) => appliedIndex))
          return leader !== null && voters.length === 3 && statuses.every((status) => status.leader === leader && status.appliedIndex >= reached - 2)
        }, 50)
      },
      async [Symbol.asyncDispose] () { await room[Symbol.asyncDispose]() }
    }
    await mesh.whole()
    return mesh
  } catch (error) {
    await room[Symbol.asyncDispose]()
    throw error
  }

  async function start (name: string, more: Record<string, unknown>): Promise<MeshNode> {
    const { child, ready } = await room.fork('node-child.ts', [JSON.stringify({ ...optionsOf(name, slotsOf.get(name) as number), ...more })])
    const node: MeshNode = {
      name,
      peerId: ready.peerId as string,
      child,
      status: async () => (await node.child.ask<{ status: NodeStatus }>({ type: 'status' })).status,
      run: async (jobs) => (await node.child.ask<{ ran: Ran }>({ type: 'run', jobs })).ran
    }
    return node
  }
}
