/**
 * A node of the simulation: a core, a disk that can lose what was not synced, a state machine, and the caller's duties of
 * src/consensus/README.md carried out in virtual time.
 */
import type { Raft, RaftConfig, RaftStatus } from '../../src/consensus/raft.ts'
import type { ConfState, Entry, HardState, Message, Ready, RestoredState, SnapshotMeta } from '../../src/consensus/types.ts'
import { must } from './oracle.ts'
import type { Oracle } from './oracle.ts'
import type { Random } from './random.ts'
import { decodeCommand, encodeCommand, StateMachine } from './state-machine.ts'
import type { Command } from './state-machine.ts'

/** The core under test, as `src/consensus/raft.ts` exports it. */
export interface CoreUnderTest {
  createRaft: (config: RaftConfig, restored: RestoredState) => Raft
  mayPrecedeSync: (message: Message) => boolean
}

/** What a node needs of the world around it. */
export interface World {
  readonly oracle: Oracle
  readonly core: CoreUnderTest
  readonly config: Omit<RaftConfig, 'id' | 'random'>
  /** entries between snapshots */
  readonly snapshotEvery: number
  /** leaders send appends while their disk works */
  readonly sendsEarly: boolean
  send (message: Message): void
  /** the write that started now is done after its delay, unless the node crashes first */
  planWrite (node: SimNode, epoch: number, isSnapshot: boolean): void
  acknowledge (command: Command, index: number): void
  /** true if the disk of `id` holds `entry`, or a snapshot that includes it */
  holds (id: string, entry: Entry): boolean
  /** the last index on the disk of `id` */
  lastOnDisk (id: string): number
  termOnDisk (id: string): number
}

interface Disk {
  hard: HardState
  snapshot: SnapshotMeta
  /** above the snapshot */
  entries: Entry[]
}

const isCampaigning = ({ role }: RaftStatus): boolean => role === 'preCandidate' || role === 'candidate'

/** More rounds of effects than any one input can cause. */
const MAX_ROUNDS = 10_000

export class SimNode {
  readonly id: string
  readonly #world: World
  readonly #random: Random
  /** what a crash leaves */
  #disk: Disk
  /** written and not synced: a later commit index */
  #cachedHard: HardState
  #writing: Ready | undefined
  #machine = new StateMachine()
  #appliedIndex = 0
  #conf: ConfState
  /** as of the batch before the last one */
  #previousConf: ConfState
  #leading = { term: 0, commit: 0 }
  /** what this node has told the leader of `term` to hold */
  #promised = { term: 0, index: 0 }
  #waiting = new Map<number, { term: number, command: Command }>()
  /** asked: number → floor; answered, and to be applied up to `index` first */
  #reads = new Map<number, number>()
  #ripe: Array<{ index: number, floor: number }> = []
  #readNumber = 0
  /** rises with each crash, so that what was planned before it is void */
  epoch = 0
  raft: Raft | undefined
  pausedUntil = 0
  /** units of time between two ticks of this node's clock */
  tickUnits = 0

  constructor (id: string, world: World, random: Random, founding: ConfState) {
    this.id = id
    this.#world = world
    this.#random = random
    const at = founding.voters.length > 0 ? 1 : 0
    this.#disk = { hard: { term: at, votedFor: '', commit: at }, snapshot: { index: at, term: at, conf: founding }, entries: [] }
    this.#cachedHard = this.#disk.hard
    this.#conf = this.#previousConf = founding
  }

  get isUp (): boolean { return this.raft !== undefined }
  get appliedIndex (): number { return this.#appliedIndex }
  get lastOnDisk (): number { return this.#disk.snapshot.index + this.#disk.entries.length }

  get termOnDisk (): number { return this.#disk.hard.term }

  holds (entry: Entry): boolean {
    const { snapshot, entries } = this.#disk
    return entry.index <= snapshot.index || entries[entry.index - snapshot.index - 1] === entry
  }

  start (): void {
    const { config, core, oracle } = this.#world
    const { hard, snapshot, entries } = this.#disk
    // a state machine with a disk of its own may be ahead of the snapshot
    const last = snapshot.index + entries.length
    const survives = this.#random.chance(0.3) && this.#appliedIndex <= last && this.#appliedIndex >= snapshot.index
    if (!survives) {
      this.#appliedIndex = snapshot.index
      if (snapshot.index > 0) this.#machine.restore(oracle.restores(this.id, snapshot.index))
    }
    this.#cachedHard = hard
    this.#leading = { term: 0, commit: 0 }
    this.raft = core.createRaft({ ...config, id: this.id, random: this.#random.next, logger: this.#note }, {
      hardState: { ...hard }, snapshot, entries: [...entries], applied: this.#appliedIndex
    })
    this.#conf = this.#previousConf = this.raft.status().conf
    this.pump()
  }

  /** Power off. A batch that was being written is there as a whole or not at all; what was written and not synced may be lost. */
  crash (): void {
    if (this.#random.chance(0.5)) this.#persistHard(this.#cachedHard)
    if (this.#writing !== undefined && this.#random.chance(0.5)) this.#persist(this.#writing)
    this.#writing = undefined
    this.#waiting.clear()
    this.#reads.clear()
    this.#ripe = []
    this.raft = undefined
    this.epoch++
  }

  propose (command: Command): void {
    const data = encodeCommand(command)
    this.raft!.propose(data, data)
    this.pump()
  }

  /** A read, whose answer has to see all that anybody has seen by now. */
  read (): void {
    const number = ++this.#readNumber
    this.#reads.set(number, this.#world.oracle.seenIndex)
    this.raft!.readIndex(encodeCommand({ client: 0, sequence: number }))
    this.pump()
  }

  /** Take effects as long as there are any; a sync takes time, and inputs go on meanwhile. */
  pump (): void {
    if (this.#writing !== undefined && isCampaigning(this.raft!.status())) this.#checkCampaign()
    for (let round = 0; this.raft !== undefined && this.#writing === undefined && this.raft.hasReady(); round++) {
      must(round < MAX_ROUNDS, 'effects come to an end', () => this.id)
      const ready = this.raft.ready()
      this.#check(this.raft.status(), ready)
      if (this.#world.sendsEarly) this.#send(ready.messages.filter(this.#world.core.mayPrecedeSync))
      if (ready.mustSync) {
        this.#writing = ready
        this.#world.planWrite(this, this.epoch, ready.snapshot !== undefined)
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

  /** What must hold of a batch before any of it is carried out. */
  #check ({ term, role, conf, peers }: RaftStatus, ready: Ready): void {
    const { oracle } = this.#world
    for (const entry of ready.committed) oracle.commits(this.id, entry, term)
    if (role !== 'leader') {
      this.#leading.term = 0
      return
    }
    const isVoter = conf.voters.includes(this.id) || conf.votersOutgoing.includes(this.id)
    must(isVoter, 'who is no voter does not lead', () => `${this.id} in term ${term}`)
    const commit = (ready.hardState ?? this.#cachedHard).commit
    if (this.#leading.term !== term) {
      oracle.elects(this.id, term, conf)
    } else if (commit > this.#leading.commit) {
      const entry = this.raft!.committedEntries(commit, 0)?.[0]
      if (entry !== undefined) oracle.decides(this.id, term, entry, [conf, this.#previousConf], this.#world.holds.bind(this.#world))
    }
    this.#leading = { term, commit }
    for (const { id, match } of peers) {
      // who follows a later leader may have dropped it since
      if (this.#world.termOnDisk(id) > term) continue
      const entry = this.#onDisk(match)
      must(entry === undefined ? this.#world.lastOnDisk(id) >= match : this.#world.holds(id, entry), 'what a leader takes as matched is on disk there',
        () => `${this.id} in term ${term} of ${id}: ${match}`)
    }
    for (const entry of ready.entries) {
      if (entry.kind === 'conf' && entry.term === term) this.#checkOneChange(entry, ready.entries)
    }
  }

  #onDisk (index: number): Entry | undefined { return this.#disk.entries[index - this.#disk.snapshot.index - 1] }

  /** Who campaigns has its log on disk, and has applied every change of configuration that it knows to be committed (etcd 7625). */
  #checkCampaign (): void {
    const { commit, firstIndex } = this.raft!.status()
    must(firstIndex - 1 <= this.lastOnDisk, 'campaigns with what is on disk', () => `${this.id} begins at ${firstIndex}, its disk ends at ${this.lastOnDisk}`)
    for (const { index, kind } of this.raft!.committedEntries(Math.max(this.#appliedIndex + 1, firstIndex), Infinity) ?? []) {
      must(kind !== 'conf', 'campaigns by the configuration in force', () => `${this.id} knows ${commit} to be committed, and has not applied ${index}`)
    }
  }

  /** A change of configuration is proposed once the one before it is applied (thesis §4.1). */
  #checkOneChange (entry: Entry, batch: readonly Entry[]): void {
    for (let index = this.#appliedIndex + 1; index < entry.index; index++) {
      const before = batch.find(other => other.index === index) ?? this.#onDisk(index)
      must(before?.kind !== 'conf', 'one change of configuration at a time', () => `${this.id} proposes one at ${entry.index}, that at ${index} is not applied`)
    }
  }

  /** What the core says of itself. */
  readonly #note = (event: string): void => {
    must(event !== 'raft:confskip', 'a change that was proposed can be applied', () => this.id)
    if (event === 'raft:campaign' || event === 'raft:lead') this.#checkCampaign()
  }

  #persist (ready: Ready): void {
    const disk = this.#disk
    const { oracle } = this.#world
    const { term } = ready.hardState ?? this.#cachedHard
    if (ready.snapshot !== undefined) {
      must(term !== this.#promised.term || ready.snapshot.index >= this.#promised.index, 'what was accepted stays',
        () => `${this.id} restores ${ready.snapshot!.index}, accepted up to ${this.#promised.index} in term ${term}`)
      disk.snapshot = ready.snapshot
      disk.entries = []
    }
    const first = ready.entries[0]
    if (first !== undefined) {
      const at = first.index - disk.snapshot.index - 1
      must(at >= 0 && at <= disk.entries.length, 'the log has no gap', () => `${this.id} writes ${first.index} after ${disk.snapshot.index + disk.entries.length}`)
      // one leader a term, and it never takes back what it sent: what was accepted from it stays while its term lasts (§5.3)
      must(term !== this.#promised.term || first.index > this.#promised.index || at >= disk.entries.length, 'what was accepted stays',
        () => `${this.id} drops ${first.index}, accepted up to ${this.#promised.index} in term ${term}`)
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
    const { oracle, core, sendsEarly } = this.#world
    const raft = this.raft!
    if (ready.softState?.role === 'leader') {
      const { role, term } = raft.status()
      // while it still leads, its disk holds all of its log
      if (role === 'leader') oracle.completes(this.id, term, this.#disk.snapshot.index, this.#disk.entries)
    }
    this.#send(sendsEarly ? ready.messages.filter(message => !core.mayPrecedeSync(message)) : ready.messages)
    for (const { context, index, term, dropped } of ready.proposals) {
      if (dropped === undefined && context.length > 0) this.#waiting.set(index, { term, command: decodeCommand({ data: context }) })
    }
    this.#previousConf = this.#conf
    if (ready.snapshot !== undefined) {
      this.#appliedIndex = ready.snapshot.index
      this.#conf = ready.snapshot.conf
      this.#machine.restore(oracle.restores(this.id, ready.snapshot.index))
    }
    for (const entry of ready.committed) this.#apply(entry)
    this.#answerReads(ready)
    raft.advance(ready)
    this.#maybeSnapshot()
  }

  #apply (entry: Entry): void {
    const { oracle } = this.#world
    must(entry.index === this.#appliedIndex + 1, 'applied in order', () => `${this.id} applies ${entry.index} after ${this.#appliedIndex}`)
    this.#appliedIndex = entry.index
    const hasEffect = this.#machine.apply(entry)
    oracle.applies(this.id, entry.index, this.#machine.digest, hasEffect ? decodeCommand(entry) : undefined)
    if (entry.kind === 'conf') this.#conf = this.raft!.applyConfChange(entry)
    const waiting = this.#waiting.get(entry.index)
    if (waiting === undefined) return
    this.#waiting.delete(entry.index)
    if (waiting.term === entry.term) this.#world.acknowledge(waiting.command, entry.index)
  }

  #answerReads ({ readStates }: Ready): void {
    for (const { context, index, dropped } of readStates) {
      const number = decodeCommand({ data: context }).sequence
      const floor = this.#reads.get(number)
      this.#reads.delete(number)
      if (dropped === undefined && floor !== undefined) this.#ripe.push({ index, floor })
    }
    if (this.#ripe.length === 0) return
    for (const { index, floor } of this.#ripe) if (index <= this.#appliedIndex) this.#world.oracle.reads(this.id, this.#appliedIndex, floor)
    this.#ripe = this.#ripe.filter(({ index }) => index > this.#appliedIndex)
  }

  #maybeSnapshot (): void {
    const disk = this.#disk
    const index = this.#appliedIndex
    if (index - disk.snapshot.index < this.#world.snapshotEvery) return
    const term = disk.entries[index - disk.snapshot.index - 1]?.term
    if (term === undefined) return
    this.#world.oracle.snapshots(this.id, index, this.#machine.state())
    disk.entries.splice(0, index - disk.snapshot.index)
    disk.snapshot = { index, term, conf: this.#conf }
    this.raft!.snapshotted(disk.snapshot)
    this.raft!.compact(index - this.#random.int(this.#world.snapshotEvery))
  }

  #send (messages: Message[]): void {
    for (const message of messages) {
      this.#world.oracle.sends(message, this.#disk.hard)
      if (message.type === 'appendReply' && !message.reject) {
        const { term, index } = message
        this.#promised = { term, index: term === this.#promised.term ? Math.max(index, this.#promised.index) : index }
      }
      this.#world.send(message)
    }
  }
}
