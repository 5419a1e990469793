/**
 * Consensus for the rest of the node: opens a replica, and asks it. What runs is `replica.ts`.
 */
import { randomBytes } from 'node:crypto'
import { ConclaveError } from '../../keys/conclave-error.ts'
import { systemClock } from './clock.ts'
import type { AppliedEntry, Consensus, ConsensusEvent, ConsensusInit, ConsensusStatus, PeerProgress, ProposalAck, SnapshotWithData } from './consensus.ts'
import { openDirectory, type Disk } from './disk.ts'
import { openLogStore } from './log-store.ts'
import { Replica, toApplied, type ReplicaInit } from './replica.ts'
import { settle } from './settings.ts'
import type { ConfChangeSingle, RaftId } from './types.ts'
import { notLeader } from './waiters.ts'

/** campaigns after the first, when a leader's connection closed; then the election timeout is as near */
const MAX_FAST_RETRIES = 3

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
  const settled: ReplicaInit = { ...init, timing, limits, log, clock: init.clock ?? systemClock, random: init.random ?? Math.random }
  return new Driver(settled, new Replica(settled, opened))
}

class Driver implements Consensus {
  readonly id: RaftId
  readonly #init: ReplicaInit
  readonly #replica: Replica
  /** counts lost leaders: only the campaigns for the last one's place go on */
  #succession = 0
  #cancelCampaign: () => void = () => {}

  constructor (init: ReplicaInit, replica: Replica) {
    this.id = init.id
    this.#init = init
    this.#replica = replica
  }

  start (): void { this.#replica.start() }

  async stop (): Promise<void> {
    this.#succession++
    this.#cancelCampaign()
    await this.#replica.stop()
  }

  async propose (data: Uint8Array, signal?: AbortSignal): Promise<ProposalAck> {
    const { raft, waiters } = this.#replica
    return await this.#replica.ask<ProposalAck>(signal, true, waiter => { raft.propose(data, waiters.addProposal(waiter)) })
  }

  async changeMembers (changes: ConfChangeSingle[], signal?: AbortSignal): Promise<ProposalAck> {
    const { raft, waiters } = this.#replica
    return await this.#replica.ask<ProposalAck>(signal, true, waiter => {
      raft.proposeConfChange({ transition: 'auto', changes, context: new Uint8Array(0) }, waiters.addProposal(waiter))
    })
  }

  async readBarrier (signal?: AbortSignal): Promise<number> {
    const { raft, waiters } = this.#replica
    return await this.#replica.ask<number>(signal, false, waiter => {
      raft.readIndex(waiters.addRead(waiter, this.#init.clock.nowMs() + this.#patienceMs))
    })
  }

  async transferLeadership (to?: RaftId, signal?: AbortSignal): Promise<RaftId> {
    signal?.throwIfAborted()
    const { role, leader } = this.#replica.state
    if (role !== 'leader') throw notLeader(leader)
    const { conf, progress } = this.status()
    const target = [...progress]
      .filter(([id, { silentMs }]) => conf.voters.includes(id) && (to === undefined ? silentMs <= this.#patienceMs / 2 : id === to))
      .sort(([, a], [, b]) => b.match - a.match)[0]?.[0]
    if (target === undefined) throw transferFailed(to === undefined ? 'no other voter is there' : `${to} is not another voter`)
    const { promise, resolve, reject } = Promise.withResolvers<RaftId>()
    const onAbort = (): void => { reject(signal?.reason) }
    signal?.addEventListener('abort', onAbort)
    const cancel = this.#init.clock.after(this.#patienceMs, () => { reject(transferFailed(`${target} did not take over in time`)) })
    const off = this.onEvent(event => {
      if (event.type === 'leader:change' && event.leader !== '' && event.leader !== this.id) resolve(event.leader)
      if (event.type === 'stopped') reject(this.#replica.stoppedError())
    })
    this.#replica.post(() => { this.#replica.raft.transferLeadership(target) })
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      cancel()
      off()
    }
  }

  status (): ConsensusStatus {
    const { raft, state, inbound, acquaintances } = this.#replica
    const status = raft.status()
    const nowMs = this.#init.clock.nowMs()
    const progress = new Map<RaftId, PeerProgress>()
    for (const { id, match } of status.peers) {
      if (id === this.id) continue
      progress.set(id, { match, silentMs: nowMs - Math.max(state.leaderSinceMs, inbound.lastHeardMs(id)), isWiped: acquaintances.isWiped(id) })
    }
    return {
      id: this.id,
      role: state.role,
      term: state.term,
      leader: state.leader,
      conf: status.conf,
      commitIndex: status.commit,
      appliedIndex: state.applied,
      lastIndex: status.lastIndex,
      firstIndex: status.firstIndex,
      snapshotIndex: status.snapshotIndex,
      progress
    }
  }

  entries (from: number, maxBytes: number): AppliedEntry[] | undefined {
    const { raft, state } = this.#replica
    if (from > state.applied) return []
    return raft.committedEntries(from, maxBytes)?.filter(entry => entry.index <= state.applied).map(toApplied)
  }

  latestSnapshot (): SnapshotWithData | undefined { return this.#replica.snapshots.latest }

  peerLost (id: RaftId): void {
    const replica = this.#replica
    const wasLeader = id === replica.state.leader && id !== this.id
    replica.post(() => { replica.raft.reportUnreachable(id) })
    if (!wasLeader) return
    this.#succession++
    this.#cancelCampaign()
    this.#standIn(this.#succession, 0, this.#init.clock.nowMs())
  }

  onEvent (listener: (event: ConsensusEvent) => void): () => void { return this.#replica.onEvent(listener) }

  /**
   * Campaign soon, and again soon while nobody leads: several who do so at once split the vote, and waiting for the election timeout
   * after that costs more than the election itself. Who is asked for its vote before its first turn lets the other go first. The waits
   * grow, so that a slow election is not overtaken by the next; after the last one the election timeout decides. A leader that lives after
   * all is not deposed: pre-vote, and its next message ends this.
   */
  #standIn (succession: number, tries: number, sinceMs: number): void {
    const { clock, random, limits } = this.#init
    const waitMs = tries === 0 ? random() * limits.maxStaggerMs : limits.maxStaggerMs * 2 ** tries * (0.5 + random())
    this.#cancelCampaign = clock.after(waitMs, () => {
      this.#replica.post(() => {
        const { raft, inbound } = this.#replica
        if (succession !== this.#succession || raft.status().leader !== '') return
        if (tries > 0 || inbound.rivalHeardMs <= sinceMs) raft.campaign()
        if (tries < MAX_FAST_RETRIES) this.#standIn(succession, tries + 1, clock.nowMs())
      })
    })
  }

  /** Two election timeouts: by then somebody leads, or nobody can. */
  get #patienceMs (): number { return 2 * this.#init.timing.electionTicks * this.#init.timing.tickMs }
}

const transferFailed = (reason: string): ConclaveError =>
  new ConclaveError('TRANSFER_FAILED', `leadership stays here: ${reason}`, { next: 'Try again, or name another voter.' })
