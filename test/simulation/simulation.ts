/**
 * A cluster in virtual time under seeded faults and load. One step is one event: a tick of a node, a message's arrival, the end of a
 * disk write, an act of the chaos or of a client. The same seed gives the same run.
 */
import { createRaft, mayPrecedeSync } from '../../src/consensus/raft.ts'
import type { ConfState, Entry, Message } from '../../src/consensus/types.ts'
import { Chaos } from './chaos.ts'
import { Clients } from './clients.ts'
import { FAIR, Network } from './network.ts'
import { Oracle, Violation } from './oracle.ts'
import { createRandom } from './random.ts'
import type { Random } from './random.ts'
import { SimNode } from './sim-node.ts'
import type { CoreUnderTest, World } from './sim-node.ts'
import type { Command } from './state-machine.ts'
import { Timeline } from './timeline.ts'
import { describeEvent, describeStatus } from './trace.ts'
import type { Event } from './trace.ts'

const TICK_UNITS = 10
export const ELECTION_TICKS = 10
/** how long a healed network may take to elect, commit, and bring everybody up to date, in units */
const HEAL_BOUND_UNITS = 60 * ELECTION_TICKS * TICK_UNITS
/** how long the rest may take to replace a leader that hears nobody */
const DEAF_BOUND_UNITS = 30 * ELECTION_TICKS * TICK_UNITS
const CALM_EVERY_UNITS = 12_000
const TRACE_EVENTS = 60
const NO_CONF: ConfState = { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }

export interface SimulationOptions {
  seed: number
  steps: number
  /** the core under test; a mutant in its place must be found out */
  core?: CoreUnderTest
  /** numbers of acts of chaos and clients that are left out, to find out which a failure needs */
  skipped?: ReadonlySet<number>
}

export interface SimulationReport {
  steps: number
  units: number
  elections: number
  committed: number
  acknowledged: number
  healed: number
}

/** What went wrong. `rule` is the broken rule, `acts` all acts of chaos and clients up to there, `trace` the last events. */
export class SimulationFailure extends Error {
  readonly seed: number
  readonly step: number
  readonly rule: string
  readonly acts: readonly number[]
  readonly trace: readonly string[]
  constructor (seed: number, step: number, acts: readonly number[], trace: readonly string[], cause: unknown) {
    super(`seed ${seed}, step ${step}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    this.seed = seed
    this.step = step
    this.rule = cause instanceof Violation ? cause.rule : cause instanceof Error ? `throws ${cause.message.replace(/\d+/g, 'N')}` : 'throws'
    this.acts = acts
    this.trace = trace
  }
}

/** @throws SimulationFailure at the first broken rule */
export function simulate (options: SimulationOptions): SimulationReport {
  const simulation = new Simulation(options)
  simulation.run(options.steps)
  return simulation.report
}

export class Simulation implements World {
  readonly oracle = new Oracle()
  readonly core: CoreUnderTest
  readonly config: World['config']
  readonly snapshotEvery: number
  readonly sendsEarly: boolean
  readonly ids: readonly string[]
  readonly nodes = new Map<string, SimNode>()
  readonly network: Network
  readonly timeline = new Timeline<Event>()
  /** of the world itself; links, nodes, and acts have their own */
  readonly random: Random
  hasSlowDisks = false
  /** nothing breaks, so that it can be judged whether everything recovers */
  isCalm = false
  readonly #seed: number
  readonly #skipped: ReadonlySet<number>
  readonly #acts: number[] = []
  readonly #actNames: string[] = []
  readonly #chaos: Chaos
  readonly #clients: Clients
  readonly #recent: Array<{ at: number, event: Event }> = []
  #actCount = 0
  #healed = 0
  #ackedAtCalm = 0
  #committedAtCalm = 0
  #deaf: { id: string, term: number } | undefined
  #steps = 0

  constructor ({ seed, core = { createRaft, mayPrecedeSync }, skipped = new Set() }: SimulationOptions) {
    this.#seed = seed
    this.#skipped = skipped
    this.core = core
    this.random = createRandom(seed)
    this.network = new Network(seed)
    this.sendsEarly = this.random.chance(0.5)
    this.snapshotEvery = this.random.pick([10, 50, 300])
    const maxAppendBytes = this.random.pick([1, 150, 5000])
    this.config = {
      electionTicks: ELECTION_TICKS,
      heartbeatTicks: this.random.pick([1, 2, 3]),
      maxInflightMessages: this.random.pick([1, 3, 16]),
      maxInflightBytes: this.random.pick([200, 10_000]),
      maxAppendBytes,
      // one entry at a time works off no backlog within the bound
      maxUncommittedBytes: maxAppendBytes === 1 ? 2000 : this.random.pick([600, 100_000]),
      maxEntryBytes: 64,
      maxApplyBytes: this.random.pick([100, 1_000_000]),
      maxPendingReads: 20,
      snapshotTicks: 30
    }
    const founders = this.random.pick([1, 2, 3, 3, 5])
    this.ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].slice(0, this.random.between(Math.max(founders, 2), 7))
    const voters = this.ids.slice(0, founders)
    const learners = this.random.chance(0.3) ? this.ids.slice(founders) : []
    const conf: ConfState = { voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false }
    for (const [i, id] of this.ids.entries()) {
      this.nodes.set(id, new SimNode(id, this, createRandom(Math.imul(seed, 31) + i), voters.includes(id) ? conf : NO_CONF))
    }
    this.#chaos = new Chaos(this, this.random)
    this.#clients = new Clients(this)
  }

  get report (): SimulationReport {
    return {
      steps: this.#steps,
      units: this.timeline.now,
      elections: this.oracle.elections,
      committed: this.oracle.committed.length,
      acknowledged: this.oracle.acknowledgedCount,
      healed: this.#healed
    }
  }

  run (steps: number): void {
    try {
      for (const node of this.nodes.values()) {
        node.tickUnits = TICK_UNITS
        node.start()
        this.timeline.plan(this.random.between(1, TICK_UNITS), { type: 'tick', node })
      }
      this.timeline.plan(20, { type: 'chaos' })
      this.timeline.plan(20, { type: 'client' })
      this.#planCalm(CALM_EVERY_UNITS, 'begin')
      for (this.#steps = 0; this.#steps < steps; this.#steps++) {
        const event = this.timeline.next()
        this.#remember(event)
        this.#take(event)
      }
      this.oracle.concludes()
    } catch (error) {
      throw new SimulationFailure(this.#seed, this.#steps, this.#acts, this.#trace(), error)
    }
  }

  #take (event: Event): void {
    switch (event.type) {
      case 'tick': return this.#tick(event.node)
      case 'deliver': return this.#deliver(event)
      case 'written':
        if (event.node.epoch !== event.epoch) return
        // a failed sync stops the node: nobody knows what is on the disk now
        return event.ok || this.isCalm ? event.node.written() : event.node.crash()
      case 'snapshotSent':
        if (event.from.epoch !== event.epoch) return
        event.from.raft!.reportSnapshot(event.to, event.ok)
        return event.from.pump()
      case 'peerLost':
        if (event.node.epoch !== event.epoch || !event.node.isUp) return
        event.node.raft!.reportUnreachable(event.peer)
        if (event.campaigns && event.node.raft!.status().leader === '') event.node.raft!.campaign()
        return event.node.pump()
      case 'chaos': {
        const random = this.#act()
        this.timeline.plan(this.random.between(5, 120), { type: 'chaos' })
        if (random !== undefined && !this.isCalm) this.#chaos.act(random)
        return
      }
      case 'cut':
        if (!this.isCalm) this.network.cut(this.ids, new Set(event.side), event.isOneWay)
        return
      case 'ask':
        if (event.node.epoch === event.epoch && event.node.isUp) event.node.read()
        return
      case 'client': {
        const random = this.#act()
        // less in a calm, so that those with one small append in flight can catch up
        this.timeline.plan(this.isCalm ? this.random.between(20, 60) : this.random.between(1, 12), { type: 'client' })
        if (random !== undefined) this.#clients.act(random)
        return
      }
      case 'calm':
        // it may lie beyond the timeline's horizon
        if (event.at > this.timeline.now) return this.timeline.plan(event.at - this.timeline.now, event)
        if (event.phase === 'begin') return this.#beginCalm()
        if (event.phase === 'measure') return this.#measureCalm()
        return event.phase === 'judge' ? this.#judgeCalm() : this.#judgeDeaf()
    }
  }

  /** Each act has a number, and dice of its own. @returns undefined where it is left out */
  #act (): Random | undefined {
    const number = this.#actCount++
    if (this.#skipped.has(number)) return undefined
    this.#acts.push(number)
    return createRandom(Math.imul(this.#seed, 0x165667b1) + number)
  }

  /** For the trace: what an act did. */
  tell (what: string): void {
    this.#actNames.push(`${this.timeline.now} ${what}`)
    if (this.#actNames.length > 4 * TRACE_EVENTS) this.#actNames.splice(0, 3 * TRACE_EVENTS)
  }

  #tick (node: SimNode): void {
    this.timeline.plan(node.tickUnits + this.random.between(-1, 1), { type: 'tick', node })
    if (!node.isUp || node.pausedUntil > this.timeline.now) return
    // a clock that jumps brings many ticks at once
    const ticks = !this.isCalm && this.random.chance(0.0005) ? this.random.between(2, 3 * ELECTION_TICKS) : 1
    for (let i = 0; i < ticks; i++) node.raft!.tick()
    node.pump()
  }

  #deliver (event: Event & { type: 'deliver' }): void {
    const { message } = event
    const node = this.nodes.get(message.to)!
    if (!node.isUp || this.network.isBlocked(message.from, message.to)) return
    if (node.pausedUntil > this.timeline.now) {
      this.timeline.plan(node.pausedUntil - this.timeline.now + 1, event)
      return
    }
    const verdict = node.raft!.step(message)
    if (verdict.verdict !== 'accept') throw new Violation('an honest message is not refused', `${message.type} of ${message.from} by ${message.to}: ${verdict.reason}`)
    node.pump()
  }

  // World

  send (message: Message): void {
    const isSnapshot = message.type === 'snapshot'
    const isCarried = this.network.carry(message, isSnapshot ? 30 : 0, this.#arrive)
    if (!isSnapshot) return
    const from = this.nodes.get(message.from)!
    const ok = isCarried && this.nodes.get(message.to)!.isUp
    const isReportLost = !this.isCalm && this.random.chance(0.4)
    if (!isReportLost) this.timeline.plan(this.random.between(1, 40), { type: 'snapshotSent', from, epoch: from.epoch, to: message.to, ok })
  }

  readonly #arrive = (delay: number, message: Message): void => this.timeline.plan(delay, { type: 'deliver', message })

  planWrite (node: SimNode, epoch: number, isSnapshot: boolean): void {
    const delay = !this.isCalm && (isSnapshot || this.hasSlowDisks) && this.random.chance(0.2) ? this.random.between(20, 300) : this.random.between(1, 4)
    this.timeline.plan(delay, { type: 'written', node, epoch, ok: this.isCalm || !this.random.chance(0.0003) })
  }

  acknowledge (command: Command, index: number): void {
    if (this.#clients.hears(command)) this.oracle.acknowledges(command, index)
  }

  holds (id: string, entry: Entry): boolean { return this.nodes.get(id)?.holds(entry) === true }
  termOnDisk (id: string): number { return this.nodes.get(id)!.termOnDisk }
  lastOnDisk (id: string): number { return this.nodes.get(id)!.lastOnDisk }

  // for chaos and clients

  anyUp (random: Random): SimNode | undefined {
    const up = [...this.nodes.values()].filter(node => node.isUp)
    return up.length > 0 ? random.pick(up) : undefined
  }

  anyLeader (random: Random): SimNode | undefined {
    if (random.chance(0.2)) return undefined
    const leaders = [...this.nodes.values()].filter(node => node.isUp && node.raft!.status().role === 'leader')
    return leaders.length > 0 ? random.pick(leaders) : undefined
  }

  // calm: everything heals, and must work again within a bound

  #planCalm (delay: number, phase: 'begin' | 'measure' | 'judge' | 'deaf'): void {
    this.timeline.plan(delay, { type: 'calm', phase, at: this.timeline.now + delay })
  }

  #beginCalm (): void {
    this.isCalm = true
    this.network.heal()
    this.network.weather = FAIR
    this.hasSlowDisks = false
    for (const node of this.nodes.values()) {
      node.pausedUntil = 0
      node.tickUnits = TICK_UNITS
      if (!node.isUp) node.start()
    }
    this.#ackedAtCalm = this.oracle.acknowledgedIndex
    this.#planCalm(Math.floor(HEAL_BOUND_UNITS * 0.7), 'measure')
    this.#planCalm(HEAL_BOUND_UNITS, 'judge')
    this.tell('everything heals')
  }

  #measureCalm (): void {
    this.#committedAtCalm = this.oracle.committed.length - 1
  }

  #leader (): SimNode | undefined {
    return [...this.nodes.values()].filter(node => node.raft!.status().role === 'leader')
      .sort((a, b) => b.raft!.status().term - a.raft!.status().term)[0]
  }

  #judgeCalm (): void {
    const leader = this.#leader()
    if (leader === undefined) throw new Violation('a healed network elects', 'nobody leads')
    if (this.oracle.acknowledgedIndex <= this.#ackedAtCalm) throw new Violation('a healed network commits', 'nothing was acknowledged')
    const { peers, conf, term } = leader.raft!.status()
    for (const { id } of peers) {
      const behind = this.#committedAtCalm - this.nodes.get(id)!.appliedIndex
      if (behind > 0) throw new Violation('a healed network catches up', `${id} is ${behind} entries behind what was committed long ago`)
    }
    this.#healed++
    if (conf.votersOutgoing.length > 0 || conf.voters.length < 3 || !this.random.chance(0.5)) return this.#endCalm()
    // one-way: its heartbeats go out, and it hears of nothing any more. The others must not follow it for ever (check-quorum)
    for (const id of this.ids) this.network.block(id, leader.id)
    this.#deaf = { id: leader.id, term }
    this.#planCalm(DEAF_BOUND_UNITS, 'deaf')
    this.tell(`${leader.id} hears nobody`)
  }

  #judgeDeaf (): void {
    const { id, term } = this.#deaf!
    const leader = this.#leader()
    if (leader === undefined || leader.id === id || this.oracle.committed.at(-1)!.term <= term) {
      throw new Violation('a leader that hears nobody is replaced', `${id} of term ${term}; now ${leader?.id ?? 'nobody'} leads`)
    }
    this.network.heal()
    this.#endCalm()
  }

  #endCalm (): void {
    this.isCalm = false
    this.#planCalm(CALM_EVERY_UNITS, 'begin')
  }

  // trace

  #remember (event: Event): void {
    if (event.type === 'tick' || event.type === 'chaos' || event.type === 'client') return
    this.#recent.push({ at: this.timeline.now, event })
    if (this.#recent.length > 4 * TRACE_EVENTS) this.#recent.splice(0, 3 * TRACE_EVENTS)
  }

  #trace (): string[] {
    const acts = this.#actNames.slice(-TRACE_EVENTS).map(line => `${line}`)
    const events = this.#recent.slice(-TRACE_EVENTS).map(({ at, event }) => `${at} ${describeEvent(event)}`)
    const nodes = [...this.nodes.values()].map(node => node.isUp ? describeStatus(node.raft!.status()) : `${node.id} down`)
    return ['acts:', ...acts, 'messages and writes:', ...events, `links cut: ${this.network.cuts.join(' ')}`, ...nodes]
  }
}

