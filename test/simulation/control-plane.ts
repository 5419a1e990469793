/**
 * The whole control plane in one thread of virtual time: ledger, planner, participants and an observer, with gossip that loses, repeats
 * and delays, participants that crash, hang and lose their disks, and leaders that change and forget. Raft is replaced by what it
 * promises: one log, and proposals that a change of leader may drop.
 */
import { checkReceipts } from '../../src/ledger/check.ts'
import { assignCommand, failCommand, receiptsCommand, releaseCommand } from '../../src/ledger/command.ts'
import { encodeLedger } from '../../src/ledger/snapshot.ts'
import { createPlanMemory, plan, type ParticipantView, type PlanMemory } from '../../src/leader/plan.ts'
import { founder, NOW, spec, submit, workers, workerIds, world, type World } from '../unit/ledger/fixture.ts'
import { SimPeer, computed, POISON } from './control-plane-peer.ts'
import { createRandom, type Random } from './random.ts'
import { Timeline } from './timeline.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { LedgerEntry } from '../../src/ledger/apply.ts'
import type { LedgerEvent } from '../../src/ledger/event.ts'
import type { CidStr, JobId, JobSpec } from '../../src/ledger/state.ts'

/** Virtual ms of trouble; afterwards everybody stays up and jobs must come to their end. */
const TROUBLE_MS = 15_000
const END_MS = 240_000
/** entries that voters keep; who lags further gets a snapshot */
const KEPT_ENTRIES = 200

export interface SimReport {
  readonly endedAtMs: number
  readonly crashes: number
  readonly leaders: number
  readonly entries: number
  readonly faults: number
  readonly losses: number
  readonly lateReceipts: number
  readonly duplicateReceipts: number
}

/** What a job's result must be, computed without any of this. */
export function expectedResult (made: JobSpec): CidStr[] {
  const [map, reduce] = made.stages
  const mapped = made.inputs.map((input) => computed([input.cid], map?.partitions ?? 0))
  if (reduce === undefined) return mapped.flatMap((outputs) => outputs.map(({ cid }) => cid))
  return Array.from({ length: map?.partitions ?? 0 }, (_, partition) => {
    const inputs = mapped.flatMap((outputs) => outputs.filter((output) => output.partition === partition).map(({ cid }) => cid))
    return computed(inputs, 0)[0]?.cid ?? ''
  })
}

export class ControlPlane {
  readonly random: Random
  readonly #timeline = new Timeline<() => void>()
  readonly #voters: World = world()
  readonly #peers: SimPeer[]
  readonly observer: SimPeer
  readonly jobs = new Map<JobId, JobSpec>()
  /** every event of the log, as the voters saw it */
  readonly events: LedgerEvent[] = []
  #term = 1
  #memory: PlanMemory = createPlanMemory()
  #isPlanPending = false
  #founderIsUp = true
  readonly #heardAt = new Map<PeerIdStr, number>()
  readonly #loss: number
  #crashes = 0
  #isCalm = false

  constructor (seed: number) {
    this.random = createRandom(seed)
    this.#loss = this.random.pick([0, 0.02, 0.2])
    const peerWorld = {
      random: this.random,
      after: (ms: number, what: () => void) => { this.#timeline.plan(ms, what) },
      gives: (peer: PeerIdStr, cid: CidStr) => this.#gives(peer, cid)
    }
    this.#peers = workers.map((identity) => new SimPeer(identity, peerWorld))
    // an observer runs nothing; it comes late
    this.observer = new SimPeer(founder, peerWorld)
    this.observer.isUp = false
  }

  get ledger (): World['ledger'] { return this.#voters.ledger }
  get log (): readonly LedgerEntry[] { return this.#voters.log }
  get replicas (): readonly SimPeer[] { return [...this.#peers, this.observer] }

  #gives (peer: PeerIdStr, cid: CidStr): boolean {
    if (this.#lost()) return false
    if (peer === founder.peerId) return this.#founderIsUp
    const holder = this.#peers.find(({ identity }) => identity.peerId === peer)
    return holder?.isUp === true && holder.blocks.has(cid)
  }

  #lost (): boolean { return !this.#isCalm && this.random.chance(this.#loss) }

  #every (ms: number, what: () => void): void {
    this.#timeline.plan(ms + this.random.int(3), () => { what(); this.#every(ms, what) })
  }

  /** Commit after a while, unless the leader changes first and the proposal is among those that are dropped. */
  #propose (data: Uint8Array, done: () => void = () => undefined): void {
    const term = this.#term
    this.#timeline.plan(this.random.between(1, 12), () => {
      if (term === this.#term) this.#commit(data, term)
      done()
    })
  }

  #commit (data: Uint8Array, term: number): void {
    this.events.push(...this.#voters.commit(data, term))
    const entry = this.log.at(-1) as LedgerEntry
    for (const peer of this.replicas) this.#gossip(peer, entry)
  }

  #gossip (peer: SimPeer, entry: LedgerEntry): void {
    if (this.#lost()) return
    this.#timeline.plan(this.random.between(1, 60), () => { peer.hear([entry], entry.index) })
    if (this.random.chance(0.05)) this.#timeline.plan(this.random.between(1, 500), () => { peer.hear([entry], entry.index) })
  }

  #repair (peer: SimPeer): void {
    if (!peer.isUp || this.#lost()) return
    peer.hear([], this.ledger.index)
    const { gap } = peer
    if (gap === undefined) return
    if (gap.from < this.ledger.index - KEPT_ENTRIES) peer.restore(encodeLedger(this.ledger))
    else peer.hear(this.log.slice(gap.from - 1, Math.min(gap.to, gap.from + 50)), this.ledger.index)
  }

  #views (): ParticipantView[] {
    const { now } = this.#timeline
    const views = [...this.#heardAt].map(([peerId, atMs]) => ({ peerId, slots: 2, isDraining: false, isConnected: now - atMs < 400 }))
    return [...views, { peerId: founder.peerId, slots: 0, isDraining: false, isConnected: this.#founderIsUp }].sort((a, b) => a.peerId < b.peerId ? -1 : 1)
  }

  #plan (): void {
    if (this.#isPlanPending) return
    const nowMs = this.#timeline.now
    const { assignments, releases, ends } = plan(this.ledger, this.#views(), { nowMs, wallMs: NOW + nowMs }, this.#memory)
    const commands = [...ends.map((end) => failCommand(end.job, end.code, end.reason))]
    if (releases.length > 0) commands.push(releaseCommand(this.#term, releases))
    if (assignments.length > 0) commands.push(assignCommand(this.#term, assignments))
    let left = commands.length
    this.#isPlanPending = left > 0
    for (const command of commands) this.#propose(command, () => { if (--left === 0) this.#isPlanPending = false })
  }

  #receive (peer: SimPeer): void {
    const signed = peer.receipts()
    if (signed === undefined || this.#lost()) return
    this.#timeline.plan(this.random.between(1, 20), () => {
      if (checkReceipts(this.ledger, signed, NOW).verdict === 'accept') this.#propose(receiptsCommand(signed))
    })
  }

  #changeLeader (): void {
    this.#term++
    this.#memory = createPlanMemory()
    this.#heardAt.clear()
    this.#isPlanPending = false
    this.#commit(new Uint8Array(), this.#term)
  }

  #trouble (): void {
    if (this.#timeline.now > TROUBLE_MS) return
    const dice = this.random.next()
    const peer = this.random.pick(this.replicas)
    if (dice < 0.3) {
      this.#changeLeader()
    } else if (dice < 0.8 && peer.isUp) {
      this.#crashes++
      peer.crash(this.random.chance(0.4))
      this.#timeline.plan(this.random.between(50, 2_500), () => { peer.restart() })
    } else if (dice < 0.9) {
      this.#founderIsUp = false
      this.#timeline.plan(this.random.between(50, 2_000), () => { this.#founderIsUp = true })
    }
  }

  #submit (): void {
    if (this.#timeline.now > TROUBLE_MS / 2) return
    const made = spec({ inputs: this.random.int(40), partitions: this.random.int(5), name: this.random.chance(0.1) ? POISON : 'work' })
    const inputs = made.inputs.map((input) => ({ ...input, holders: [this.random.pick(workerIds), founder.peerId] }))
    const job = submit({ ...this.#voters, commit: (data) => { this.#commit(data, this.#term); return [] } }, { ...made, inputs })
    this.jobs.set(job, { ...made, inputs })
  }

  /** @returns when every job has ended and every replica is level @throws Error where that does not happen in time */
  run (): SimReport {
    for (const entry of this.log) for (const peer of this.replicas) this.#gossip(peer, entry)
    this.#submit()
    this.#every(800, () => { this.#submit() })
    this.#every(250, () => { this.#trouble() })
    this.#every(10, () => { this.#plan() })
    for (const peer of this.#peers) {
      this.#every(100, () => { if (peer.isUp && !this.#lost()) this.#heardAt.set(peer.identity.peerId, this.#timeline.now) })
      this.#every(30, () => { this.#receive(peer) })
    }
    for (const peer of this.replicas) this.#every(70, () => { this.#repair(peer) })
    this.#timeline.plan(this.random.between(100, 4_000), () => { this.observer.restart() })
    while (this.#timeline.now < END_MS) {
      this.#isCalm = this.#timeline.now > TROUBLE_MS + 3_000
      this.#timeline.next()()
      if (this.#isCalm && this.ledger.running.size === 0 && this.replicas.every((peer) => peer.ledger.index === this.ledger.index)) return this.#report()
    }
    const stuck = [...this.ledger.running.values()].map((job) => job.stages.map(({ pending, assigned, done }) => [pending.size, assigned.size, done]))
    throw new Error(`after ${END_MS} virtual ms: running ${JSON.stringify(stuck)}, replicas at ${this.replicas.map((peer) => peer.ledger.index).join()} of ${this.ledger.index}`)
  }

  #report (): SimReport {
    const count = (type: LedgerEvent['type']): number => this.events.filter((event) => event.type === type).length
    const { lateReceipts, duplicateReceipts } = this.ledger.stats
    return { endedAtMs: this.#timeline.now, crashes: this.#crashes, leaders: this.#term, entries: this.ledger.index, faults: count('task:fault'), losses: count('task:lost'), lateReceipts, duplicateReceipts }
  }
}
