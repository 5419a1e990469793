/**
 * A replica: the pure core, its disk, its network, its state machine, and the one loop that serves them in order.
 *
 * Everything that happens goes through the mailbox. Each turn takes all that waits, lets the core decide, and carries out one `Ready` in
 * the order that types.ts demands: persist, then send, then apply, then advance. One turn at a time, so nothing here is concurrent but
 * the writing and sending of snapshots. Any failure of disk, state machine or core stops the replica for good: it never guesses.
 */
import { randomBytes } from 'node:crypto'
import { ConclaveError } from '../../keys/conclave-error.ts'
import { Acquaintances } from './acquaintances.ts'
import { startTicking, systemClock } from './clock.ts'
import { MAX_FRAME_BYTES, decodeFrame, decodeSnapshotTransfer, type Envelope } from './codec.ts'
import { membersOf } from './conf-change.ts'
import type {
  AppliedEntry, Clock, Consensus, ConsensusEvent, ConsensusInit, ConsensusLimits, ConsensusLogEvent, ConsensusStatus, ConsensusTiming, PeerProgress,
  ProposalAck, SnapshotWithData
} from './consensus.ts'
import { openDirectory, type Disk } from './disk.ts'
import { openLogStore, type OpenedLog } from './log-store.ts'
import { Mailbox } from './mailbox.ts'
import { createRaft, mayPrecedeSync, type Raft } from './raft.ts'
import { Sender } from './sender.ts'
import { settle } from './settings.ts'
import { Snapshots } from './snapshots.ts'
import type { ConfChangeSingle, ConfState, Entry, Message, RaftId, RaftRole, Ready } from './types.ts'
import { Waiters, notLeader, type Waiter } from './waiters.ts'

const NO_BYTES = new Uint8Array(0)
/** ticks that wait for the loop at most */
const MAX_WAITING_TICKS = 2

/**
 * Opens the log, restores the state machine from its snapshot and prepares a replica; call `start` on it.
 *
 * @param init - `disk` replaces the directory `dir`, for tests
 * @returns the replica; committed entries behind the snapshot are applied once it runs
 * @throws LOG_CORRUPT, LOG_FOREIGN, LOG_DISK_FULL, LOG_IO_FAILED, CONSENSUS_CONFIG
 */
export async function createConsensus (init: ConsensusInit & { disk?: Disk }): Promise<Consensus> {
  const { timing, limits } = settle(init.timing, init.limits)
  const disk = init.disk ?? await openDirectory(init.dir)
  const log = init.log ?? (() => {})
  const founders = init.bootstrapVoters?.toSorted()
  const opened = await openLogStore({
    disk,
    id: init.id,
    freshIncarnation: randomBytes(16).toString('hex'),
    segmentBytes: limits.segmentBytes,
    ...(founders === undefined
      ? {}
      : {
          bootstrap: {
            meta: { index: 1, term: 1, conf: { voters: founders, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false } },
            data: init.machine.snapshot()
          }
        })
  })
  if (opened.repaired !== undefined) log({ level: 'warn', event: 'raft:log-repaired', ...opened.repaired })
  if (opened.snapshotData !== undefined) init.machine.restore(opened.snapshotData, opened.restored.snapshot.index)
  return new Replica({ ...init, timing, limits, log, clock: init.clock ?? systemClock, random: init.random ?? Math.random }, opened)
}

type SettledInit = ConsensusInit & {
  timing: ConsensusTiming, limits: ConsensusLimits, clock: Clock, random: () => number, log: (event: ConsensusLogEvent) => void
}

class Replica implements Consensus {
  readonly id: RaftId
  readonly #init: SettledInit
  readonly #store: OpenedLog['store']
  readonly #raft: Raft
  readonly #mailbox: Mailbox
  readonly #waiters = new Waiters()
  readonly #acquaintances: Acquaintances
  readonly #snapshots: Snapshots
  readonly #sender: Sender
  readonly #listeners = new Set<(event: ConsensusEvent) => void>()
  /** rejects each call that waits for an answer */
  readonly #asking = new Set<(error: unknown) => void>()
  /** of members only */
  readonly #lastHeardMs = new Map<RaftId, number>()
  #leaderSinceMs = 0
  #conf: ConfState
  #applied: { index: number, term: number }
  #role: RaftRole = 'follower'
  #leader: RaftId = ''
  #term: number
  #stopTicking: (() => void) | undefined
  #running: Promise<void> | undefined
  #isStopping = false
  #isSnapshotStepped = false
  #failure: Error | undefined

  constructor (init: SettledInit, opened: OpenedLog) {
    const { restored, snapshotData } = opened
    this.id = init.id
    this.#init = init
    this.#store = opened.store
    this.#term = restored.hardState.term
    this.#conf = restored.snapshot.conf
    for (const id of membersOf(this.#conf)) this.#lastHeardMs.set(id, init.clock.nowMs())
    this.#applied = { index: restored.snapshot.index, term: restored.snapshot.term }
    this.#mailbox = new Mailbox(init.limits.maxInboxBytes)
    this.#acquaintances = new Acquaintances(opened.store.incarnation, opened.peers)
    this.#snapshots = new Snapshots(opened.store, init.limits, snapshotData === undefined ? undefined : { ...this.#applied, data: snapshotData })
    this.#raft = createRaft({
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
    this.#sender = new Sender({
      transport: init.transport,
      clock: init.clock,
      acquaintances: this.#acquaintances,
      limits: init.limits,
      snapshot: () => this.#snapshots.latest,
      onUnreachable: peer => { this.#mailbox.post(() => { this.#raft.reportUnreachable(peer) }) },
      onSnapshotSent: (peer, ok) => { this.#mailbox.post(() => { this.#raft.reportSnapshot(peer, ok) }) },
      log: init.log
    })
  }

  start (): void {
    if (this.#running !== undefined || this.#isStopping) return
    const { transport, clock, timing } = this.#init
    transport.onFrame((from, frame) => { this.#onFrame(from, frame) })
    transport.onSnapshot(async (from, payload) => { await this.#onSnapshot(from, payload) })
    this.#stopTicking = startTicking(clock, timing.tickMs, ticks => { this.#mailbox.tick(ticks, MAX_WAITING_TICKS) })
    // alone, there is nobody to wait for
    if (this.#conf.voters.length === 1 && this.#conf.voters[0] === this.id) this.#mailbox.post(() => { this.#raft.campaign() })
    this.#mailbox.post(() => {})
    this.#running = this.#run()
  }

  async stop (): Promise<void> {
    if (!this.#isStopping) {
      this.#isStopping = true
      this.#stopTicking?.()
      this.#mailbox.post(() => {})
      if (this.#running === undefined) this.#running = this.#shutDown()
    }
    await this.#running
  }

  async propose (data: Uint8Array, signal?: AbortSignal): Promise<ProposalAck> {
    return await this.#ask<ProposalAck>(signal, true, waiter => { this.#raft.propose(data, this.#waiters.addProposal(waiter)) })
  }

  async changeMembers (changes: ConfChangeSingle[], signal?: AbortSignal): Promise<ProposalAck> {
    return await this.#ask<ProposalAck>(signal, true, waiter => {
      this.#raft.proposeConfChange({ transition: 'auto', changes, context: NO_BYTES }, this.#waiters.addProposal(waiter))
    })
  }

  async readBarrier (signal?: AbortSignal): Promise<number> {
    const { clock, timing } = this.#init
    return await this.#ask<number>(signal, false, waiter => {
      this.#raft.readIndex(this.#waiters.addRead(waiter, clock.nowMs() + 2 * timing.electionTicks * timing.tickMs))
    })
  }

  async transferLeadership (to?: RaftId, signal?: AbortSignal): Promise<RaftId> {
    signal?.throwIfAborted()
    if (this.#role !== 'leader') throw notLeader(this.#leader)
    const { clock, timing } = this.#init
    const { conf, progress } = this.status()
    const target = [...progress]
      .filter(([id, { silentMs }]) => conf.voters.includes(id) && (to === undefined ? silentMs <= timing.electionTicks * timing.tickMs : id === to))
      .sort(([, a], [, b]) => b.match - a.match)[0]?.[0]
    if (target === undefined) throw transferFailed(to === undefined ? 'no other voter is there' : `${to} is not another voter`)
    return await new Promise<RaftId>((resolve, reject) => {
      const finish = (settleWith: () => void): void => {
        cancel()
        off()
        signal?.removeEventListener('abort', onAbort)
        settleWith()
      }
      const onAbort = (): void => { finish(() => { reject(signal?.reason) }) }
      const cancel = clock.after(2 * timing.electionTicks * timing.tickMs, () => { finish(() => { reject(transferFailed(`${target} did not take over in time`)) }) })
      const off = this.onEvent(event => {
        if (event.type === 'leader:change' && event.leader !== '' && event.leader !== this.id) finish(() => { resolve(event.leader) })
        if (event.type === 'stopped') finish(() => { reject(this.#stoppedError()) })
      })
      signal?.addEventListener('abort', onAbort)
      this.#mailbox.post(() => { this.#raft.transferLeadership(target) })
    })
  }

  status (): ConsensusStatus {
    const status = this.#raft.status()
    const nowMs = this.#init.clock.nowMs()
    const progress = new Map<RaftId, PeerProgress>()
    for (const { id, match } of status.peers) {
      if (id === this.id) continue
      progress.set(id, { match, silentMs: nowMs - Math.max(this.#leaderSinceMs, this.#lastHeardMs.get(id) ?? 0), isWiped: this.#acquaintances.isWiped(id) })
    }
    return {
      id: this.id,
      role: this.#role,
      term: this.#term,
      leader: this.#leader,
      conf: status.conf,
      commitIndex: status.commit,
      appliedIndex: this.#applied.index,
      lastIndex: status.lastIndex,
      firstIndex: status.firstIndex,
      snapshotIndex: status.snapshotIndex,
      progress
    }
  }

  entries (from: number, maxBytes: number): AppliedEntry[] | undefined {
    if (from > this.#applied.index) return []
    const entries = this.#raft.committedEntries(from, maxBytes)
    return entries?.filter(entry => entry.index <= this.#applied.index).map(toApplied)
  }

  latestSnapshot (): SnapshotWithData | undefined { return this.#snapshots.latest }

  peerLost (id: RaftId): void {
    const wasLeader = id === this.#leader && id !== this.id
    this.#mailbox.post(() => { this.#raft.reportUnreachable(id) })
    if (!wasLeader) return
    const { clock, random, limits } = this.#init
    clock.after(random() * limits.maxStaggerMs, () => {
      this.#mailbox.post(() => { if (this.#raft.status().leader === '') this.#raft.campaign() })
    })
  }

  onEvent (listener: (event: ConsensusEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  // --- inputs

  async #ask<T> (signal: AbortSignal | undefined, mustLead: boolean, input: (waiter: Waiter<T>) => void): Promise<T> {
    signal?.throwIfAborted()
    if (this.#isStopping || this.#failure !== undefined) throw this.#stoppedError()
    if (mustLead && this.#role !== 'leader') throw notLeader(this.#leader)
    if (this.#asking.size >= this.#init.limits.maxPendingProposals) {
      throw new ConclaveError('BUSY', `${this.#asking.size} proposals wait already`, { next: 'Try again in a moment.' })
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const onAbort = (): void => { reject(signal?.reason) }
    signal?.addEventListener('abort', onAbort)
    this.#asking.add(reject)
    this.#mailbox.post(() => { input({ resolve, reject }) })
    try {
      return await promise
    } finally {
      this.#asking.delete(reject)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #onFrame (from: RaftId, bytes: Uint8Array): void {
    if (this.#isStopping) return
    if (bytes.length > MAX_FRAME_BYTES || !this.#mailbox.post(() => { this.#stepFrame(from, bytes) }, Math.max(1, bytes.length))) {
      this.#init.log({ level: 'warn', event: 'raft:frame-dropped', peer: from, bytes: bytes.length })
    }
  }

  #stepFrame (from: RaftId, bytes: Uint8Array): void {
    const frame = decodeFrame(bytes, from, this.id)
    if (frame.verdict !== 'accept') {
      this.#init.log({ level: 'warn', event: 'raft:frame-rejected', peer: from, code: frame.code, reason: frame.reason })
      return
    }
    this.#acquaintances.meet(from, frame.value.incarnation, this.#conf)
    const refusals = frame.value.messages.map(message => this.#step(message, frame.value))
    // an empty frame tells the sender whom it really speaks to, and is never answered
    if (refusals.includes('selfWiped')) this.#sender.introduce(from)
  }

  /** @returns why the message had no effect, if it was refused */
  #step (message: Message, envelope: Envelope): string | undefined {
    const isLogEmpty = this.#conf.voters.length === 0 && this.#raft.status().lastIndex === 0
    const refusal = this.#acquaintances.judge(message, envelope, isLogEmpty)
    if (refusal !== undefined) {
      this.#init.log({ level: 'warn', event: 'raft:incarnation', peer: message.from, type: message.type, refusal })
      return refusal
    }
    const verdict = this.#raft.step(message)
    if (verdict.verdict === 'accept') {
      if (this.#lastHeardMs.has(message.from)) this.#lastHeardMs.set(message.from, this.#init.clock.nowMs())
    } else this.#init.log({ level: 'warn', event: 'raft:message-rejected', peer: message.from, type: message.type, code: verdict.code, reason: verdict.reason })
    return verdict.verdict === 'accept' ? undefined : verdict.code
  }

  async #onSnapshot (from: RaftId, payload: Uint8Array): Promise<void> {
    if (this.#isStopping) throw this.#stoppedError()
    const transfer = decodeSnapshotTransfer(payload, from, this.id, this.#init.limits.maxSnapshotBytes)
    if (transfer.verdict !== 'accept') throw new ConclaveError('SNAPSHOT_REFUSED', transfer.reason, { details: { code: transfer.code } })
    const { message, data } = transfer.value
    if (message.snapshot === undefined) throw new ConclaveError('SNAPSHOT_REFUSED', 'a snapshot message without its facts')
    if (this.#snapshots.isReceiving) throw new ConclaveError('BUSY', 'another snapshot is being taken in', { next: 'Try again later.' })
    const done = this.#snapshots.receive(message.snapshot, data)
    this.#mailbox.post(() => {
      this.#acquaintances.meet(from, transfer.value.incarnation, this.#conf)
      if (this.#step(message, transfer.value) !== undefined) this.#snapshots.settleIncoming(new ConclaveError('SNAPSHOT_REFUSED', 'the replica does not take it'))
      else this.#isSnapshotStepped = true
    })
    await done
  }

  // --- the loop

  async #run (): Promise<void> {
    try {
      while (!this.#isStopping) {
        if (!this.#raft.hasReady()) await this.#mailbox.wait()
        const { inputs, ticks } = this.#mailbox.take()
        for (const input of inputs) input()
        for (let tick = 0; tick < ticks; tick++) this.#raft.tick()
        await this.#adoptSnapshot()
        const isSnapshotStepped = this.#isSnapshotStepped
        this.#isSnapshotStepped = false
        if (this.#raft.hasReady()) await this.#carryOut(this.#raft.ready())
        if (isSnapshotStepped) this.#snapshots.settleIncoming()
        this.#waiters.settleReads(this.#applied.index, this.#init.clock.nowMs())
      }
    } catch (error) {
      this.#fail(error)
    }
    await this.#shutDown()
  }

  async #carryOut (ready: Ready): Promise<void> {
    this.#sender.send(ready.messages.filter(mayPrecedeSync))
    let restored: Uint8Array | undefined
    if (ready.snapshot !== undefined) restored = await this.#snapshots.install(ready.snapshot, ready.hardState)
    // a snapshot was installed together with the hard state
    const hardState = restored === undefined ? ready.hardState : undefined
    await this.#store.append({ hardState, entries: ready.entries, peers: this.#acquaintances.takeChanges() }, ready.mustSync)
    this.#sender.send(ready.messages.filter(message => !mayPrecedeSync(message)))
    if (ready.hardState !== undefined) this.#term = ready.hardState.term
    if (ready.softState !== undefined) {
      if (ready.softState.role === 'leader' && this.#role !== 'leader') this.#leaderSinceMs = this.#init.clock.nowMs()
      this.#role = ready.softState.role
      this.#leader = ready.softState.leader
    }
    for (const result of ready.proposals) this.#waiters.noteResult(result, this.#leader)
    if (ready.snapshot !== undefined && restored !== undefined) this.#restore(ready.snapshot.index, ready.snapshot.term, ready.snapshot.conf, restored)
    this.#apply(ready.committed)
    for (const state of ready.readStates) this.#waiters.noteRead(state, this.#leader)
    this.#raft.advance(ready)
    if (this.#role !== 'leader') this.#waiters.leadershipLost()
    if (ready.softState !== undefined) {
      this.#emit({ type: 'leader:change', leader: this.#leader, role: this.#role, term: this.#term })
    }
    if (this.#snapshots.isDue) this.#beginSnapshot()
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
      if (entry.kind === 'conf') this.#setConf(this.#raft.applyConfChange(entry), entry.index)
    }
    this.#snapshots.noteApplied(entries)
    this.#waiters.noteApplied(entries)
    this.#emit({ type: 'commit', entries })
  }

  #setConf (conf: ConfState, index: number): void {
    this.#conf = conf
    this.#acquaintances.confChanged(conf)
    const members = membersOf(conf)
    for (const id of this.#lastHeardMs.keys()) if (!members.includes(id)) this.#lastHeardMs.delete(id)
    for (const id of members) if (!this.#lastHeardMs.has(id)) this.#lastHeardMs.set(id, this.#init.clock.nowMs())
    this.#emit({ type: 'conf:change', conf, index })
  }

  #beginSnapshot (): void {
    const meta = { ...this.#applied, conf: this.#conf }
    this.#snapshots.begin(meta, this.#init.machine.snapshot(), error => {
      this.#mailbox.post(() => { if (error !== undefined) throw error })
    })
  }

  async #adoptSnapshot (): Promise<void> {
    const adopted = await this.#snapshots.adopt()
    if (adopted === undefined) return
    this.#raft.snapshotted(adopted.meta)
    this.#raft.compact(adopted.compactTo)
    this.#init.log({ level: 'info', event: 'raft:snapshot', index: adopted.meta.index, bytes: this.#snapshots.latest?.data.length ?? 0 })
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
    await this.#snapshots.stop()
    try {
      await this.#store.close()
    } catch (error) {
      if (this.#failure === undefined) this.#fail(error)
    }
    this.#role = 'follower'
    this.#leader = ''
    for (const reject of this.#asking) reject(this.#stoppedError())
    this.#snapshots.settleIncoming(this.#stoppedError())
    this.#emit(this.#failure === undefined ? { type: 'stopped' } : { type: 'stopped', error: this.#failure })
  }

  #stoppedError (): ConclaveError {
    return new ConclaveError('STOPPED', this.#failure === undefined ? 'this node is stopping' : `this node stopped: ${this.#failure.message}`,
      { ...(this.#failure === undefined ? {} : { cause: this.#failure }), next: 'Ask another node, or start this one again.' })
  }

  #emit (event: ConsensusEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}

const toApplied = (entry: Entry): AppliedEntry => ({ index: entry.index, term: entry.term, data: entry.kind === 'normal' ? entry.data : NO_BYTES })

const transferFailed = (reason: string): ConclaveError =>
  new ConclaveError('TRANSFER_FAILED', `leadership stays here: ${reason}`, { next: 'Try again, or name another voter.' })
