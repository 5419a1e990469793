/**
 * Replicas in one process, joined by a network that can be cut, each with a disk of its own.
 */
import assert from 'node:assert/strict'
import type { AppliedEntry, Consensus, ConsensusEvent, ConsensusInit, RaftId, RaftTransport, StateMachine } from '../../src/consensus/consensus.ts'
import type { Disk } from '../../src/consensus/disk.ts'
import { createConsensus } from '../../src/consensus/driver.ts'
import { Changes } from './changes.ts'

/** Delivers in order, each message in a turn of its own. */
export class MemoryNetwork {
  readonly #nodes = new Map<RaftId, { onFrame: (from: RaftId, frame: Uint8Array) => void, onSnapshot: (from: RaftId, payload: Uint8Array) => Promise<void> }>()
  /** false: this direction is cut */
  isOpen: (from: RaftId, to: RaftId) => boolean = () => true
  /** sees every frame that is handed to the network */
  onSend: (from: RaftId, to: RaftId, frame: Uint8Array) => void = () => {}
  snapshotsSent = 0
  /** awaited before a snapshot arrives */
  onSnapshot: () => Promise<void> = async () => {}
  readonly #onDelivery: () => void

  constructor (onDelivery: () => void) { this.#onDelivery = onDelivery }

  transport (id: RaftId): RaftTransport {
    const node = { onFrame: (): void => {}, onSnapshot: async (): Promise<void> => {} }
    this.#nodes.set(id, node)
    return {
      send: (to, frame) => {
        const peer = this.#nodes.get(to)
        if (peer === undefined || !this.isOpen(id, to)) return false
        this.onSend(id, to, frame)
        setImmediate(() => {
          if (this.#nodes.get(to) === peer && this.isOpen(id, to)) peer.onFrame(id, frame.slice())
          this.#onDelivery()
        })
        return true
      },
      onFrame: listener => { Object.assign(node, { onFrame: listener }) },
      sendSnapshot: async (to, payload) => {
        const peer = this.#nodes.get(to)
        if (peer === undefined || !this.isOpen(id, to)) throw new Error('not connected')
        this.snapshotsSent++
        await this.onSnapshot()
        await peer.onSnapshot(id, payload.slice())
      },
      onSnapshot: listener => { Object.assign(node, { onSnapshot: listener }) }
    }
  }

  remove (id: RaftId): void { this.#nodes.delete(id) }
}

/** Keeps every command, and asserts that they come in order and without gaps. */
export class ListMachine implements StateMachine {
  commands: string[] = []
  applied = 0

  apply (entries: AppliedEntry[]): void {
    for (const { index, data } of entries) {
      assert.ok(this.applied === 0 || index === this.applied + 1, `applied ${index} after ${this.applied}`)
      this.applied = index
      if (data.length > 0) this.commands.push(Buffer.from(data).toString())
    }
  }

  snapshot (): Uint8Array { return Buffer.from(JSON.stringify(this.commands)) }

  restore (data: Uint8Array, index: number): void {
    this.commands = JSON.parse(Buffer.from(data).toString())
    this.applied = index
  }
}

export interface Node {
  id: RaftId
  machine: ListMachine
  consensus: Consensus
  events: ConsensusEvent[]
}

export type GroupOptions = Partial<ConsensusInit> & { disk?: Disk }

export class Group {
  readonly changes = new Changes()
  readonly network = new MemoryNetwork(this.changes.notify)
  readonly nodes = new Map<RaftId, Node>()
  readonly #options: (id: RaftId) => GroupOptions
  readonly #founders: RaftId[]

  /** @param options - of each node; `dir` or `disk` must be among them */
  constructor (founders: RaftId[], options: (id: RaftId) => GroupOptions) {
    this.#founders = founders
    this.#options = options
  }

  async start (id: RaftId, options: GroupOptions = {}): Promise<Node> {
    const machine = new ListMachine()
    const events: ConsensusEvent[] = []
    const { bootstrapVoters = this.#founders, ...settings } = { ...this.#options(id), ...options }
    const consensus = await createConsensus({
      id,
      dir: '',
      ...(bootstrapVoters.includes(id) ? { bootstrapVoters } : {}),
      transport: this.network.transport(id),
      machine,
      timing: { tickMs: 30 },
      ...settings
    })
    const node = { id, machine, consensus, events }
    this.nodes.set(id, node)
    consensus.onEvent(event => {
      events.push(event)
      this.changes.notify()
    })
    consensus.start()
    return node
  }

  async startAll (): Promise<void> { await Promise.all(this.#founders.map(async id => await this.start(id))) }

  /** The network forgets it first: nothing leaves after this, as after a crash. The others see the connection close. */
  async stop (id: RaftId): Promise<void> {
    const node = this.nodes.get(id)
    assert.ok(node !== undefined)
    this.nodes.delete(id)
    this.network.remove(id)
    for (const other of this.nodes.values()) other.consensus.peerLost(id)
    await node.consensus.stop()
  }

  async stopAll (): Promise<void> { for (const id of [...this.nodes.keys()]) await this.stop(id) }

  node (id: RaftId): Node {
    const node = this.nodes.get(id)
    assert.ok(node !== undefined, id)
    return node
  }

  async leader (): Promise<Node> {
    let found: Node | undefined
    await this.changes.until('a leader that a majority follows', () => {
      for (const node of this.nodes.values()) {
        const { role, term, conf } = node.consensus.status()
        if (role !== 'leader') continue
        const followers = [...this.nodes.values()].filter(other => conf.voters.includes(other.id) && other.consensus.status().leader === node.id && other.consensus.status().term === term)
        if (followers.length > conf.voters.length / 2) found = node
      }
      return found !== undefined
    })
    return found!
  }

  /** Proposes wherever the leader is, again after each honest refusal. */
  async propose (command: string): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const { consensus } = await this.leader()
      try {
        await consensus.propose(Buffer.from(command))
        return
      } catch (error) {
        if (attempt === 20 || !['NOT_LEADER', 'LEADERSHIP_LOST', 'PROPOSAL_DROPPED', 'STOPPED'].includes((error as { code?: string }).code ?? '')) throw error
      }
    }
  }

  async agreed (commands: readonly string[]): Promise<void> {
    await this.changes.until(`everybody has applied ${commands.length} commands`, () => [...this.nodes.values()].every(({ machine }) => machine.commands.length >= commands.length))
    for (const { machine } of this.nodes.values()) assert.deepEqual(machine.commands, commands)
  }
}
