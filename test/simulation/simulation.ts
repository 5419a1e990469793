/**
 * A cluster in virtual time under seeded faults and load. One step is one event: a tick of a node, a message's arrival, the end of a
 * disk write, an act of the chaos or of a client. The same seed gives the same run.
 */
import { createRaft } from '../../src/consensus/raft.ts'
import { encodeConfChange } from '../../src/consensus/conf-codec.ts'
import type { ConfChange, ConfChangeSingle, Message, RaftStatus } from '../../src/consensus/types.ts'
import { Oracle, Violation } from './oracle.ts'
import { createRandom } from './random.ts'
import type { Random } from './random.ts'
import { SimNode } from './sim-node.ts'
import type { CreateRaft, World } from './sim-node.ts'
import { Timeline } from './timeline.ts'

const TICK_UNITS = 10
const ELECTION_TICKS = 10
/** how long a healed network may take to elect, commit, and bring everybody up to date, in units */
const HEAL_BOUND_UNITS = 60 * ELECTION_TICKS * TICK_UNITS
const CALM_EVERY_UNITS = 20_000
const TRACE_EVENTS = 60

type CalmPhase = 'begin' | 'measure' | 'judge'

type Event =
  | { type: 'tick', node: SimNode }
  | { type: 'deliver', message: Message }
  | { type: 'written', node: SimNode, epoch: number }
  | { type: 'snapshotSent', from: SimNode, epoch: number, to: string, ok: boolean }
  | { type: 'peerLost', node: SimNode, epoch: number, peer: string, campaigns: boolean }
  | { type: 'chaos' }
  | { type: 'cut', side: string[] }
  | { type: 'client' }
  | { type: 'calm', phase: CalmPhase, at: number }

export interface SimulationOptions {
  seed: number
  steps: number
  /** the core under test; a mutant in its place must be found out */
  createRaft?: CreateRaft
}

export interface SimulationReport {
  steps: number
  units: number
  elections: number
  committed: number
  acknowledged: number
  healed: number
}

/** What went wrong, with the last events before it. `message` names the broken rule. */
export class SimulationFailure extends Error {
  readonly seed: number
  readonly step: number
  readonly trace: string[]
  constructor (seed: number, step: number, trace: string[], cause: unknown) {
    super(`seed ${seed}, step ${step}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    this.seed = seed
    this.step = step
    this.trace = trace
  }
}

/** @throws SimulationFailure at the first broken rule */
export function simulate (options: SimulationOptions): SimulationReport {
  const simulation = new Simulation(options)
  simulation.run(options.steps)
  return simulation.report
}

class Simulation implements World {
  readonly random: Random
  readonly oracle = new Oracle()
  readonly createRaft: CreateRaft
  readonly config: World['config']
  readonly snapshotEvery: number
  readonly sendsEarly: boolean
  readonly #seed: number
  readonly #nodes = new Map<string, SimNode>()
  readonly #ids: string[]
  readonly #timeline = new Timeline<Event>()
  readonly #blocked = new Set<string>()
  readonly #recent: Array<{ at: number, event: Event }> = []
  #lossRate = 0
  #duplicateRate = 0
  #maxDelay = 5
  #slowDisk = false
  #isCalm = false
  #commands = 0
  #retry: string[] = []
  #healed = 0
  #ackedAtCalm = 0
  #committedAtCalm = 0
  #steps = 0

  constructor ({ seed, createRaft: create = createRaft }: SimulationOptions) {
    this.#seed = seed
    this.random = createRandom(seed)
    this.createRaft = create
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
    this.#ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].slice(0, this.random.between(Math.max(founders, 2), 7))
    const voters = this.#ids.slice(0, founders)
    for (const id of this.#ids) this.#nodes.set(id, new SimNode(id, this, voters.includes(id) ? voters : []))
  }

  get report (): SimulationReport {
    return {
      steps: this.#steps,
      units: this.#timeline.now,
      elections: this.oracle.elections,
      committed: this.oracle.committed.length,
      acknowledged: this.oracle.acknowledgedCount,
      healed: this.#healed
    }
  }

  run (steps: number): void {
    try {
      for (const node of this.#nodes.values()) {
        node.start()
        this.#timeline.plan(this.random.between(1, TICK_UNITS), { type: 'tick', node })
      }
      this.#timeline.plan(20, { type: 'chaos' })
      this.#timeline.plan(20, { type: 'client' })
      this.#planCalm(CALM_EVERY_UNITS, 'begin')
      for (this.#steps = 0; this.#steps < steps; this.#steps++) {
        const event = this.#timeline.next()
        this.#remember(event)
        this.#take(event)
      }
      this.oracle.concludes()
    } catch (error) {
      throw new SimulationFailure(this.#seed, this.#steps, this.#trace(), error)
    }
  }

  #take (event: Event): void {
    switch (event.type) {
      case 'tick': return this.#tick(event.node)
      case 'deliver': return this.#deliver(event)
      case 'written':
        if (event.node.epoch === event.epoch) event.node.written()
        return
      case 'snapshotSent':
        if (event.from.epoch !== event.epoch) return
        event.from.raft!.reportSnapshot(event.to, event.ok)
        return event.from.pump()
      case 'peerLost':
        if (event.node.epoch !== event.epoch || !event.node.isUp) return
        event.node.raft!.reportUnreachable(event.peer)
        if (event.campaigns && event.node.raft!.status().leader === '') event.node.raft!.campaign()
        return event.node.pump()
      case 'chaos': return this.#chaos()
      case 'cut': return this.#isCalm ? undefined : this.#cut(new Set(event.side), this.random.chance(0.2))
      case 'client': return this.#client()
      case 'calm':
        // it may lie beyond the timeline's horizon
        if (event.at > this.#timeline.now) return this.#timeline.plan(event.at - this.#timeline.now, event)
        if (event.phase === 'begin') return this.#beginCalm()
        return event.phase === 'measure' ? this.#measureCalm() : this.#judgeCalm()
    }
  }

  #tick (node: SimNode): void {
    this.#timeline.plan(TICK_UNITS + this.random.between(-1, 1), { type: 'tick', node })
    if (!node.isUp || node.pausedUntil > this.#timeline.now) return
    // a clock that jumps brings many ticks at once
    const ticks = !this.#isCalm && this.random.chance(0.0005) ? this.random.between(2, 3 * ELECTION_TICKS) : 1
    for (let i = 0; i < ticks; i++) node.raft!.tick()
    node.pump()
  }

  #deliver (event: Event & { type: 'deliver' }): void {
    const { message } = event
    const node = this.#nodes.get(message.to)!
    if (!node.isUp || this.#blocked.has(`${message.from}>${message.to}`)) return
    if (node.pausedUntil > this.#timeline.now) {
      this.#timeline.plan(node.pausedUntil - this.#timeline.now + 1, event)
      return
    }
    const verdict = node.raft!.step(message)
    if (verdict.verdict !== 'accept') throw new Violation(`an honest ${message.type} of ${message.from} is refused by ${message.to}: ${verdict.reason}`)
    node.pump()
  }

  // World

  send (message: Message): void {
    const isLost = this.random.chance(this.#lossRate)
    const delay = this.random.between(1, this.#maxDelay)
    if (message.type === 'snapshot') {
      const from = this.#nodes.get(message.from)!
      const isReportLost = this.random.chance(this.#isCalm ? 0 : 0.3)
      const ok = !isLost && this.#nodes.get(message.to)!.isUp
      if (!isReportLost) this.#timeline.plan(delay + 20, { type: 'snapshotSent', from, epoch: from.epoch, to: message.to, ok })
      if (!isLost) this.#timeline.plan(delay + this.random.between(1, 30), { type: 'deliver', message })
      return
    }
    if (!isLost) this.#timeline.plan(delay, { type: 'deliver', message })
    if (this.random.chance(this.#duplicateRate)) this.#timeline.plan(this.random.between(1, 30 * this.#maxDelay), { type: 'deliver', message })
  }

  planWrite (node: SimNode, epoch: number): void {
    this.#timeline.plan(this.#slowDisk && this.random.chance(0.2) ? this.random.between(20, 300) : this.random.between(1, 4), { type: 'written', node, epoch })
  }

  acknowledge (): void {}

  // load

  #client (): void {
    // less in a calm, so that those with one small append in flight can catch up
    this.#timeline.plan(this.#isCalm ? this.random.between(20, 60) : this.random.between(1, 12), { type: 'client' })
    const node = this.#anyLeader() ?? this.#anyUp()
    if (node === undefined) return
    if (this.random.chance(0.1)) return (this.random.chance(0.5) ? node : this.#anyUp() ?? node).read()
    // a client that did not hear asks again, with the same command
    const command = this.#retry.length > 0 && this.random.chance(0.1) ? this.random.pick(this.#retry) : `c${++this.#commands}`
    if (this.random.chance(0.05)) this.#retry = [...this.#retry.slice(-5), command]
    node.propose(command, encoder.encode(command))
  }

  #anyUp (): SimNode | undefined {
    const up = [...this.#nodes.values()].filter(node => node.isUp)
    return up.length > 0 ? this.random.pick(up) : undefined
  }

  #anyLeader (): SimNode | undefined {
    for (const node of this.#nodes.values()) if (node.isUp && node.raft!.status().role === 'leader' && this.random.chance(0.8)) return node
    return undefined
  }

  // faults

  #chaos (): void {
    this.#timeline.plan(this.random.between(5, 120), { type: 'chaos' })
    if (this.#isCalm) return
    const node = this.#nodes.get(this.random.pick(this.#ids))!
    const roll = this.random.int(100)
    if (roll < 14) this.#crash(this.random.chance(0.4) ? this.#anyLeader() ?? node : node)
    else if (roll < 40) { if (!node.isUp) node.start() }
    else if (roll < 50) this.#partition()
    else if (roll < 56) this.#blocked.add(`${this.random.pick(this.#ids)}>${this.random.pick(this.#ids)}`)
    else if (roll < 64) this.#blocked.clear()
    else if (roll < 70) this.#setNetwork(this.random.pick([0, 0, 0.02, 0.2]), this.random.pick([0, 0, 0.1]), this.random.pick([3, 5, 20, 60]))
    else if (roll < 73) this.#slowDisk = !this.#slowDisk
    else if (roll < 77) node.pausedUntil = this.#timeline.now + this.random.between(10, 400)
    else if (roll < 84) this.#transfer()
    else if (roll < 94) this.#changeMembers()
    else if (node.isUp) this.#losePeer(node, this.random.pick(this.#ids))
  }

  #crash (node: SimNode): void {
    if (!node.isUp) return
    node.crash()
    // the others see their connections to it close
    for (const other of this.#nodes.values()) {
      if (other.isUp && this.random.chance(0.5)) this.#losePeer(other, node.id)
    }
  }

  #losePeer (node: SimNode, peer: string): void {
    this.#timeline.plan(this.random.between(1, 30), { type: 'peerLost', node, epoch: node.epoch, peer, campaigns: this.random.chance(0.8) })
  }

  #partition (): void {
    this.#cut(new Set(this.#ids.filter(() => this.random.chance(0.5))), this.random.chance(0.3))
  }

  #cut (side: Set<string>, isOneWay: boolean): void {
    this.#blocked.clear()
    for (const a of side) {
      for (const b of this.#ids) {
        if (side.has(b)) continue
        this.#blocked.add(`${a}>${b}`)
        if (!isOneWay) this.#blocked.add(`${b}>${a}`)
      }
    }
  }

  #setNetwork (lossRate: number, duplicateRate: number, maxDelay: number): void {
    this.#lossRate = lossRate
    this.#duplicateRate = duplicateRate
    this.#maxDelay = maxDelay
  }

  #transfer (): void {
    const leader = this.#anyLeader()
    leader?.raft!.transferLeadership(this.random.pick(this.#ids))
    leader?.pump()
  }

  #changeMembers (): void {
    const leader = this.#anyLeader()
    if (leader === undefined) return
    const { conf } = leader.raft!.status()
    const changes: ConfChangeSingle[] = []
    if (conf.votersOutgoing.length === 0 && this.random.chance(0.3)) {
      // quite another set of voters at once
      const target = this.#ids.filter(() => this.random.chance(0.4))
      for (const id of target) if (!conf.voters.includes(id)) changes.push({ type: 'addVoter', id })
      for (const id of conf.voters) if (!target.includes(id)) changes.push({ type: this.random.pick(['remove', 'addLearner']), id })
    } else if (conf.votersOutgoing.length === 0 || this.random.chance(0.2)) {
      for (let i = this.random.between(1, 3); i > 0; i--) {
        const type = conf.voters.length > 4 ? 'remove' : this.random.pick(['addVoter', 'addVoter', 'addLearner', 'remove'] as const)
        changes.push({ type, id: this.random.pick(this.#ids) })
      }
    }
    const change: ConfChange = { transition: this.random.pick(['auto', 'auto', 'joint', 'explicit']), changes, context: new Uint8Array(0) }
    if (encodeConfChange(change) === undefined) throw new Error('a change that cannot be encoded')
    leader.raft!.proposeConfChange(change, new Uint8Array(0))
    leader.pump()
    if (this.random.chance(0.5)) {
      // the dangerous moment: old and new voters part while the change is half known
      const side = conf.voters.filter(id => id !== leader.id || this.random.chance(0.3))
      this.#timeline.plan(this.random.between(1, 10 * this.#maxDelay), { type: 'cut', side })
    }
  }

  // calm: everything heals, and must work again within a bound

  #planCalm (delay: number, phase: CalmPhase): void {
    this.#timeline.plan(delay, { type: 'calm', phase, at: this.#timeline.now + delay })
  }

  #beginCalm (): void {
    this.#isCalm = true
    this.#blocked.clear()
    this.#setNetwork(0, 0, 5)
    this.#slowDisk = false
    for (const node of this.#nodes.values()) {
      node.pausedUntil = 0
      if (!node.isUp) node.start()
    }
    this.#ackedAtCalm = this.oracle.acknowledgedIndex
    this.#planCalm(Math.floor(HEAL_BOUND_UNITS * 0.7), 'measure')
    this.#planCalm(HEAL_BOUND_UNITS, 'judge')
  }

  #measureCalm (): void {
    this.#committedAtCalm = this.oracle.committed.length - 1
  }

  #judgeCalm (): void {
    const leader = [...this.#nodes.values()].filter(node => node.raft!.status().role === 'leader')
      .sort((a, b) => b.raft!.status().term - a.raft!.status().term)[0]
    if (leader === undefined) throw new Violation('a healed network elects: nobody leads')
    if (this.oracle.acknowledgedIndex <= this.#ackedAtCalm) throw new Violation('a healed network commits: nothing was acknowledged')
    for (const { id } of leader.raft!.status().peers) {
      const behind = this.#committedAtCalm - this.#nodes.get(id)!.appliedIndex
      if (behind > 0) throw new Violation(`a healed network catches up: ${id} is ${behind} entries behind what was committed long ago`)
    }
    this.#healed++
    this.#isCalm = false
    this.#planCalm(CALM_EVERY_UNITS, 'begin')
  }

  // trace

  #remember (event: Event): void {
    if (event.type === 'tick' || event.type === 'chaos') return
    this.#recent.push({ at: this.#timeline.now, event })
    if (this.#recent.length > 4 * TRACE_EVENTS) this.#recent.splice(0, 3 * TRACE_EVENTS)
  }

  #trace (): string[] {
    const events = this.#recent.slice(-TRACE_EVENTS).map(({ at, event }) => `${at} ${describe(event)}`)
    const nodes = [...this.#nodes.values()].map(node => node.isUp ? describeStatus(node.raft!.status()) : `${node.id} down`)
    return [...events, `links cut: ${[...this.#blocked].join(' ')}`, ...nodes]
  }
}

const encoder = new TextEncoder()

function describe (event: Event): string {
  if (event.type === 'deliver') {
    const { type, from, to, term, index, logTerm, entries, commit, reject, rejectHint } = event.message
    const range = entries.length > 0 ? ` +${entries.map(entry => `${entry.index}/${entry.term}`).join(',')}` : ''
    return `${from}→${to} ${type} t${term} ${index}/${logTerm}${range} c${commit}${reject ? ` rejected, hint ${rejectHint}` : ''}`
  }
  if (event.type === 'written') return `${event.node.id} written`
  if (event.type === 'snapshotSent') return `${event.from.id} reports snapshot to ${event.to}: ${event.ok}`
  if (event.type === 'peerLost') return `${event.node.id} loses ${event.peer}`
  return event.type
}

function describeStatus ({ id, role, term, votedFor, leader, commit, applied, firstIndex, lastIndex, conf, peers }: RaftStatus): string {
  const members = `voters ${conf.voters.join('')}/${conf.votersOutgoing.join('')} learners ${conf.learners.join('')}/${conf.learnersNext.join('')}`
  const progress = peers.map(peer => `${peer.id}:${peer.state}:${peer.match}/${peer.next}`).join(' ')
  return `${id} ${role} t${term} voted ${votedFor} leader ${leader} log ${firstIndex}…${lastIndex} commit ${commit} applied ${applied} ${members} ${progress}`
}
