/**
 * A node of the simulation: a core, a disk that can lose what was not synced, a state machine, and the caller's duties of
 * src/consensus/README.md carried out in virtual time.
 */
import { mayPrecedeSync } from '../../src/consensus/raft.ts'
import type { Raft, RaftConfig } from '../../src/consensus/raft.ts'
import type { ConfState, Entry, HardState, Message, Ready, RestoredState, SnapshotMeta } from '../../src/consensus/types.ts'
import type { Oracle } from './oracle.ts'
import type { Random } from './random.ts'

export type CreateRaft = (config: RaftConfig, restored: RestoredState) => Raft

/** What a node needs of the world around it. */
export interface World {
  readonly random: Random
  readonly oracle: Oracle
  readonly createRaft: CreateRaft
  readonly config: Omit<RaftConfig, 'id' | 'random'>
  /** entries between snapshots */
  readonly snapshotEvery: number
  /** leaders send appends while their disk works */
  readonly sendsEarly: boolean
  send (message: Message): void
  /** the write that started now is done after its delay, unless the node crashes first */
  planWrite (node: SimNode, epoch: number): void
  acknowledge (command: string): void
}

interface Disk {
  hard: HardState
  snapshot: SnapshotMeta
  /** above the snapshot */
  entries: Entry[]
}

export class SimNode {
  readonly id: string
  readonly #world: World
  /** what a crash leaves */
  #disk: Disk
  /** written and not synced: a later commit index */
  #cachedHard: HardState
  #writing: Ready | undefined
  #appliedIndex = 0
  #conf: ConfState
  #waiting = new Map<number, { term: number, command: string }>()
  #reads = new Map<number, number>()
  #readNumber = 0
  /** rises with each crash, so that what was planned before it is void */
  epoch = 0
  raft: Raft | undefined
  pausedUntil = 0

  constructor (id: string, world: World, founders: string[]) {
    this.id = id
    this.#world = world
    const conf: ConfState = { voters: [...founders], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }
    const at = founders.length > 0 ? 1 : 0
    this.#disk = { hard: { term: at, votedFor: '', commit: at }, snapshot: { index: at, term: at, conf }, entries: [] }
    this.#cachedHard = this.#disk.hard
    this.#conf = conf
  }

  get isUp (): boolean { return this.raft !== undefined }
  get appliedIndex (): number { return this.#appliedIndex }

  start (): void {
    const { random, config, createRaft } = this.#world
    const { hard, snapshot, entries } = this.#disk
    // a state machine with a disk of its own may be ahead of the snapshot
    const last = snapshot.index + entries.length
    const survives = random.chance(0.3) && this.#appliedIndex <= last
    const applied = survives ? Math.max(this.#appliedIndex, snapshot.index) : snapshot.index
    this.#appliedIndex = applied
    this.#conf = snapshot.conf
    this.#cachedHard = hard
    this.raft = createRaft({ ...config, id: this.id, random: random.next }, {
      hardState: { ...hard }, snapshot, entries: [...entries], applied
    })
    this.#conf = this.raft.status().conf
    this.pump()
  }

  /** Power off. A batch that was being written is there as a whole or not at all; what was written and not synced may be lost. */
  crash (): void {
    const { random } = this.#world
    if (random.chance(0.5)) this.#persistHard(this.#cachedHard)
    if (this.#writing !== undefined && random.chance(0.5)) this.#persist(this.#writing)
    this.#writing = undefined
    this.#waiting.clear()
    this.#reads.clear()
    this.raft = undefined
    this.epoch++
  }

  propose (command: string, data: Uint8Array): void {
    this.raft!.propose(data, this.#context(command))
    this.pump()
  }

  /** A read, whose answer has to see all that is acknowledged by now. */
  read (): void {
    const number = ++this.#readNumber
    this.#reads.set(number, this.#world.oracle.acknowledgedIndex)
    this.raft!.readIndex(new Uint8Array(new Uint32Array([number]).buffer))
    this.pump()
  }

  /** Take effects as long as there are any; a sync takes time, and inputs go on meanwhile. */
  pump (): void {
    while (this.raft !== undefined && this.#writing === undefined && this.raft.hasReady()) {
      const ready = this.raft.ready()
      const { oracle } = this.#world
      const { term } = this.raft.status()
      for (const entry of ready.committed) oracle.commits(this.id, entry, term)
      if (this.#world.sendsEarly) this.#send(ready.messages.filter(mayPrecedeSync))
      if (ready.mustSync) {
        this.#writing = ready
        this.#world.planWrite(this, this.epoch)
      } else {
        if (ready.hardState !== undefined) this.#cachedHard = ready.hardState
        this.#finish(ready)
      }
    }
  }

  /** The write is synced. */
  written (): void {
    const ready = this.#writing!
    this.#writing = undefined
    this.#persist(ready)
    this.#finish(ready)
    this.pump()
  }

  #persist (ready: Ready): void {
    const disk = this.#disk
    const { oracle } = this.#world
    if (ready.snapshot !== undefined) {
      disk.snapshot = ready.snapshot
      disk.entries = []
    }
    const first = ready.entries[0]
    if (first !== undefined) {
      const at = first.index - disk.snapshot.index - 1
      if (at < 0 || at > disk.entries.length) throw new Error(`${this.id} writes ${first.index} after ${disk.snapshot.index + disk.entries.length}`)
      disk.entries.length = at
      let previous = at === 0 ? (disk.snapshot.index === 0 ? 0 : disk.snapshot.term) : disk.entries[at - 1]!.term
      for (const entry of ready.entries) {
        oracle.writes(this.id, entry, previous)
        previous = entry.term
        disk.entries.push(entry)
      }
    }
    this.#persistHard(ready.hardState ?? this.#cachedHard)
  }

  #persistHard (hard: HardState): void {
    this.#world.oracle.persists(this.id, this.#disk.hard, hard)
    this.#disk.hard = hard
    this.#cachedHard = hard
  }

  #finish (ready: Ready): void {
    const { oracle } = this.#world
    const raft = this.raft!
    if (ready.softState?.role === 'leader') {
      const { role, term } = raft.status()
      // while it still leads, its disk holds all of its log
      if (role === 'leader') oracle.completes(this.id, term, this.#disk.snapshot.index, this.#disk.entries)
    }
    this.#send(this.#world.sendsEarly ? ready.messages.filter(message => !mayPrecedeSync(message)) : ready.messages)
    for (const { context, index, term, dropped } of ready.proposals) {
      if (dropped === undefined && context.length > 0) this.#waiting.set(index, { term, command: this.#commandOf(context) })
    }
    if (ready.snapshot !== undefined) {
      this.#appliedIndex = ready.snapshot.index
      this.#conf = ready.snapshot.conf
    }
    for (const entry of ready.committed) this.#apply(entry)
    for (const { context, index, dropped } of ready.readStates) {
      const number = new Uint32Array(context.slice().buffer)[0]!
      const floor = this.#reads.get(number)
      this.#reads.delete(number)
      if (dropped === undefined && floor !== undefined) oracle.reads(this.id, index, floor)
    }
    raft.advance(ready)
    this.#maybeSnapshot()
  }

  #apply (entry: Entry): void {
    if (entry.index !== this.#appliedIndex + 1) throw new Error(`${this.id} applies ${entry.index} after ${this.#appliedIndex}`)
    this.#appliedIndex = entry.index
    if (entry.kind === 'conf') this.#conf = this.raft!.applyConfChange(entry)
    const waiting = this.#waiting.get(entry.index)
    if (waiting === undefined) return
    this.#waiting.delete(entry.index)
    if (waiting.term === entry.term) {
      this.#world.oracle.acknowledges(waiting.command, entry.index)
      this.#world.acknowledge(waiting.command)
    }
  }

  #maybeSnapshot (): void {
    const disk = this.#disk
    const index = this.#appliedIndex
    if (index - disk.snapshot.index < this.#world.snapshotEvery) return
    const term = disk.entries[index - disk.snapshot.index - 1]?.term
    if (term === undefined) return
    disk.entries.splice(0, index - disk.snapshot.index)
    disk.snapshot = { index, term, conf: this.#conf }
    this.raft!.snapshotted(disk.snapshot)
    this.raft!.compact(index - this.#world.random.int(this.#world.snapshotEvery))
  }

  #send (messages: Message[]): void {
    for (const message of messages) {
      this.#world.oracle.sends(message, this.#disk.hard)
      this.#world.send(message)
    }
  }

  #context (command: string): Uint8Array { return encoder.encode(command) }
  #commandOf (context: Uint8Array): string { return decoder.decode(context) }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
