/**
 * A replica: the pure core, its disk, its network, its state machine, and the one loop that serves them in order.
 *
 * Everything that happens goes through the mailbox. Each turn takes all that waits, lets the core decide, and carries out one `Ready` in
 * the order that types.ts demands: persist, then send, then apply, then advance. One turn at a time, so nothing here is concurrent but
 * the writing and sending of snapshots. Any failure of disk, state machine or core stops the replica for good: it never guesses.
 */
import { ConclaveError } from '../../keys/conclave-error.ts'
import { Acquaintances } from './acquaintances.ts'
import { startTicking } from './clock.ts'
import type {
  AppliedEntry, Clock, ConsensusEvent, ConsensusLimits, ConsensusLogEvent, ConsensusTiming, RaftTransport, StateMachine
} from './consensus.ts'
import { Inbound } from './inbound.ts'
import type { OpenedLog } from './log-store.ts'
import { Mailbox } from './mailbox.ts'
import { createRaft, mayPrecedeSync, type Raft } from './raft.ts'
import { Sender } from './sender.ts'
import { Snapshots } from './snapshots.ts'
import type { ConfState, Entry, RaftId, RaftRole, Ready } from './types.ts'
import { Waiters, notLeader, type Waiter } from './waiters.ts'

const NO_BYTES = new Uint8Array(0)
/** ticks that wait for the loop at most */
const MAX_WAITING_TICKS = 2

export interface ReplicaInit {
  id: RaftId
  transport: RaftTransport
  machine: StateMachine
  clock: Clock
  random: () => number
  timing: ConsensusTiming
  limits: ConsensusLimits
  log: (event: ConsensusLogEvent) => void
}

export class Replica {
  readonly raft: Raft
  readonly snapshots: Snapshots
  readonly acquaintances: Acquaintances
  readonly inbound: Inbound
  readonly waiters = new Waiters()
  readonly #init: ReplicaInit
  readonly #store: OpenedLog['store']
  readonly #mailbox: Mailbox
  readonly #sender: Sender
  readonly #listeners = new Set<(event: ConsensusEvent) => void>()
  /** rejects each call that waits for an answer */
  readonly #asking = new Set<(error: unknown) => void>()
  #conf: ConfState
  #applied: { index: number, term: number }
  #role: RaftRole = 'follower'
  #leader: RaftId = ''
  #term: number
  #leaderSinceMs = 0
  #stopTicking: (() => void) | undefined
  #running: Promise<void> | undefined
  #isStopping = false
  #failure: Error | undefined

  /** @param opened - owned from now on; the state machine has been restored from its snapshot */
  constructor (init: ReplicaInit, opened: OpenedLog) {
    const { restored, snapshotData } = opened
    this.#init = init
    this.#store = opened.store
    this.#term = restored.hardState.term
    this.#conf = restored.snapshot.conf
    this.#applied = { index: restored.snapshot.index, term: restored.snapshot.term }
    this.#mailbox = new Mailbox(init.limits.maxInboxBytes)
    this.acquaintances = new Acquaintances(opened.store.incarnation, opened.peers)
    this.snapshots = new Snapshots(opened.store, init.limits, snapshotData === undefined ? undefined : { ...this.#applied, data: snapshotData })
    this.raft = createRaft({
      id: init.id,
      electionTicks: init.timing.electionTicks,
      heartbeatTicks: init.timing.heartbeatTicks,
      maxInflightMessages: init.limits.maxInflightMessages,
      maxInflightBytes: init.limits.maxInflightBytes,
      maxAppendBytes: init.limits.maxAppendBytes,
      maxUncommittedBytes: init.limits.maxUncommittedBytes,
      maxEntryBytes: init.limits.maxEntryBytes,
      snapshotTicks: Math.ceil(init.limits.snapshotTimeoutMs / init.timing.tickMs) + init.timing.electionTicks,
      random: init.random,
      logger: (event, detail) => { init.log({ ...detail, level: 'debug', event }) }
    }, restored)
    const shared = { clock: init.clock, acquaintances: this.acquaintances, limits: init.limits, log: init.log }
    this.#sender = new Sender({
      ...shared,
      transport: init.transport,
      snapshot: () => this.snapshots.latest,
      onUnreachable: peer => { this.post(() => { this.raft.reportUnreachable(peer) }) },
      onSnapshotSent: (peer, ok) => { this.post(() => { this.raft.reportSnapshot(peer, ok) }) }
    })
    this.inbound = new Inbound({ ...shared, id: init.id, raft: this.raft, mailbox: this.#mailbox, sender: this.#sender, snapshots: this.snapshots }, this.#conf)
  }

  /** As of the last batch that is on disk. `leaderSinceMs`: monotonic, when this node began to lead last. */
  get state (): { role: RaftRole, leader: RaftId, term: number, applied: number, leaderSinceMs: number } {
    return { role: this.#role, leader: this.#leader, term: this.#term, applied: this.#applied.index, leaderSinceMs: this.#leaderSinceMs }
  }

  start (): void {
    if (this.#running !== undefined || this.#isStopping) return
    const { id, transport, clock, timing } = this.#init
    transport.onFrame((from, frame) => { if (!this.#isStopping) this.inbound.onFrame(from, frame) })
    transport.onSnapshot(async (from, payload) => {
      if (this.#isStopping) throw this.stoppedError()
      await this.inbound.onSnapshot(from, payload)
    })
    this.#stopTicking = startTicking(clock, timing.tickMs, ticks => { this.#mailbox.tick(ticks, MAX_WAITING_TICKS) })
    // alone, there is nobody to wait for
    if (this.#conf.voters.length === 1 && this.#conf.voters[0] === id) this.post(() => { this.raft.campaign() })
    this.#running = this.#run()
  }

  /** Idempotent. */
  async stop (): Promise<void> {
    if (!this.#isStopping) {
      this.#isStopping = true
      this.#stopTicking?.()
      this.post(() => {})
      this.#running ??= this.#shutDown()
    }
    await this.#running
  }

  /** Lets `input` happen to the core, in its turn. */
  post (input: () => void): void { this.#mailbox.post(input) }

  /**
   * A question to the core whose answer comes later.
   *
   * @param input - run in its turn; hands the waiter on
   * @throws STOPPED, NOT_LEADER, BUSY, `signal.reason`, and what the waiter is rejected with
   */
  async ask<T> (signal: AbortSignal | undefined, mustLead: boolean, input: (waiter: Waiter<T>) => void): Promise<T> {
    signal?.throwIfAborted()
    if (this.#isStopping) throw this.stoppedError()
    if (mustLead && this.#role !== 'leader') throw notLeader(this.#leader)
    if (this.#asking.size >= this.#init.limits.maxPendingProposals) {
      throw new ConclaveError('BUSY', `${this.#asking.size} proposals wait already`, { next: 'Try again in a moment.' })
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const onAbort = (): void => { reject(signal?.reason) }
    signal?.addEventListener('abort', onAbort)
    this.#asking.add(reject)
    this.post(() => { input({ resolve, reject }) })
    try {
      return await promise
    } finally {
      this.#asking.delete(reject)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  onEvent (listener: (event: ConsensusEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  stoppedError (): ConclaveError {
    return new ConclaveError('STOPPED', this.#failure === undefined ? 'this node is stopping' : `this node stopped: ${this.#failure.message}`,
      { ...(this.#failure === undefined ? {} : { cause: this.#failure }), next: 'Ask another node, or start this one again.' })
  }

  async #run (): Promise<void> {
    try {
      while (!this.#isStopping) {
        if (!this.raft.hasReady()) await this.#mailbox.wait()
        const { inputs, ticks } = this.#mailbox.take()
        for (const input of inputs) input()
        for (let tick = 0; tick < ticks; tick++) this.raft.tick()
        await this.#adoptSnapshot()
        const isSnapshotStepped = this.inbound.takeSnapshotStepped()
        if (this.raft.hasReady()) await this.#carryOut(this.raft.ready())
        if (isSnapshotStepped) this.snapshots.settleIncoming()
        this.waiters.settleReads(this.#applied.index, this.#init.clock.nowMs())
      }
    } catch (error) {
      this.#fail(error)
    }
    await this.#shutDown()
  }

  async #carryOut (ready: Ready): Promise<void> {
    this.#sender.send(ready.messages.filter(mayPrecedeSync))
    let restored: Uint8Array | undefined
    if (ready.snapshot !== undefined) restored = await this.snapshots.install(ready.snapshot, ready.hardState)
    // a snapshot was installed together with the hard state
    const hardState = restored === undefined ? ready.hardState : undefined
    await this.#store.append({ hardState, entries: ready.entries, peers: this.acquaintances.takeChanges() }, ready.mustSync)
    this.#sender.send(ready.messages.filter(message => !mayPrecedeSync(message)))
    if (ready.hardState !== undefined) this.#term = ready.hardState.term
    if (ready.softState !== undefined) {
      if (ready.softState.role === 'leader' && this.#role !== 'leader') this.#leaderSinceMs = this.#init.clock.nowMs()
      this.#role = ready.softState.role
      this.#leader = ready.softState.leader
    }
    for (const result of ready.proposals) this.waiters.noteResult(result, this.#leader)
    if (ready.snapshot !== undefined && restored !== undefined) this.#restore(ready.snapshot.index, ready.snapshot.term, ready.snapshot.conf, restored)
    this.#apply(ready.committed)
    for (const state of ready.readStates) this.waiters.noteRead(state, this.#leader)
    this.raft.advance(ready)
    if (this.#role !== 'leader') this.waiters.leadershipLost()
    if (ready.softState !== undefined) {
      this.#emit({ type: 'leader:change', leader: this.#leader, role: this.#role, term: this.#term })
    }
    if (this.snapshots.isDue) this.#beginSnapshot()
  }

  #restore (index: number, term: number, conf: ConfState, data: Uint8Array): void {
    this.#init.machine.restore(data, index)
    this.#applied = { index, term }
    this.#emit({ type: 'restore', index, term })
    this.#setConf(conf, index)
  }

  #apply (committed: readonly Entry[]): void {
    if (committed.length === 0) return
    const entries = committed.map(toApplied)
    this.#init.machine.apply(entries)
    const last = entries[entries.length - 1]!
    this.#applied = { index: last.index, term: last.term }
    for (const entry of committed) {
      if (entry.kind === 'conf') this.#setConf(this.raft.applyConfChange(entry), entry.index)
    }
    this.snapshots.noteApplied(entries)
    this.waiters.noteApplied(entries)
    this.#emit({ type: 'commit', entries })
  }

  #setConf (conf: ConfState, index: number): void {
    this.#conf = conf
    this.acquaintances.confChanged(conf)
    this.inbound.confChanged(conf)
    this.#emit({ type: 'conf:change', conf, index })
  }

  #beginSnapshot (): void {
    const meta = { ...this.#applied, conf: this.#conf }
    this.snapshots.begin(meta, this.#init.machine.snapshot(), error => {
      this.#mailbox.post(() => { if (error !== undefined) throw error })
    })
  }

  async #adoptSnapshot (): Promise<void> {
    const adopted = await this.snapshots.adopt()
    if (adopted === undefined) return
    this.raft.snapshotted(adopted.meta)
    this.raft.compact(adopted.compactTo)
    this.#init.log({ level: 'info', event: 'raft:snapshot', index: adopted.meta.index, bytes: this.snapshots.latest?.data.length ?? 0 })
  }

  // --- the end

  #fail (error: unknown): void {
    this.#failure = error instanceof ConclaveError
      ? error
      : new ConclaveError('CONSENSUS_BROKEN', `this replica stopped: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error, next: 'Start this node again; report this if it happens twice.' })
    this.#isStopping = true
    this.#stopTicking?.()
    this.#init.log({ level: 'error', event: 'raft:failed', reason: this.#failure.message })
  }

  async #shutDown (): Promise<void> {
    await this.#sender.stop()
    await this.snapshots.stop()
    this.#mailbox.close()
    try {
      await this.#store.close()
    } catch (error) {
      if (this.#failure === undefined) this.#fail(error)
    }
    this.#role = 'follower'
    this.#leader = ''
    for (const reject of this.#asking) reject(this.stoppedError())
    this.snapshots.settleIncoming(this.stoppedError())
    this.#emit(this.#failure === undefined ? { type: 'stopped' } : { type: 'stopped', error: this.#failure })
  }

  #emit (event: ConsensusEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}

export const toApplied = (entry: Entry): AppliedEntry => ({ index: entry.index, term: entry.term, data: entry.kind === 'normal' ? entry.data : NO_BYTES })
