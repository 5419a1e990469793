/**
 * Who waits for what became of a proposal or read. Every waiter is answered exactly once; nobody waits behind a deposed leader.
 */
import { ConclaveError } from '../../keys/conclave-error.ts'
import type { AppliedEntry, ProposalAck } from './consensus.ts'
import type { ProposalResult, RaftId, ReadState } from './types.ts'

export interface Waiter<T> {
  resolve: (value: T) => void
  reject: (error: unknown) => void
}

interface WaitingRead extends Waiter<number> { deadlineMs: number, index: number | undefined }

export class Waiters {
  #serial = 0
  /** by context: given to the core, no result yet */
  readonly #proposed = new Map<string, Waiter<ProposalAck>>()
  /** by index: in the log, not applied yet */
  readonly #logged = new Map<number, Waiter<ProposalAck> & { term: number }>()
  readonly #reads = new Map<string, WaitingRead>()

  /** @returns the context to hand to the core */
  addProposal (waiter: Waiter<ProposalAck>): Uint8Array {
    const context = this.#context()
    this.#proposed.set(keyOf(context), waiter)
    return context
  }

  addRead (waiter: Waiter<number>, deadlineMs: number): Uint8Array {
    const context = this.#context()
    this.#reads.set(keyOf(context), { ...waiter, deadlineMs, index: undefined })
    return context
  }

  noteResult (result: ProposalResult, leader: RaftId): void {
    const waiter = this.#proposed.get(keyOf(result.context))
    if (waiter === undefined) return
    this.#proposed.delete(keyOf(result.context))
    if (result.dropped !== undefined) waiter.reject(dropped(result.dropped, leader))
    else this.#logged.set(result.index, { ...waiter, term: result.term })
  }

  /** Entries that were applied, in order. */
  noteApplied (entries: readonly AppliedEntry[]): void {
    if (this.#logged.size === 0) return
    for (const { index, term } of entries) {
      const waiter = this.#logged.get(index)
      if (waiter === undefined) continue
      this.#logged.delete(index)
      if (waiter.term === term) waiter.resolve({ index, term })
      else waiter.reject(lost())
    }
  }

  noteRead (state: ReadState, leader: RaftId): void {
    const read = this.#reads.get(keyOf(state.context))
    if (read === undefined) return
    if (state.dropped === undefined) {
      read.index = state.index
      return
    }
    this.#reads.delete(keyOf(state.context))
    read.reject(dropped(state.dropped, leader))
  }

  /** Reads that are confirmed and applied are answered; those that waited too long fail. */
  settleReads (appliedIndex: number, nowMs: number): void {
    for (const [key, read] of this.#reads) {
      if (read.index !== undefined && read.index <= appliedIndex) read.resolve(read.index)
      else if (nowMs >= read.deadlineMs) read.reject(new ConclaveError('READ_TIMEOUT', 'no leader confirmed the read in time', { next: 'Try again.' }))
      else continue
      this.#reads.delete(key)
    }
  }

  /** This node does not lead any more: what it logged may still commit, or not. */
  leadershipLost (): void {
    for (const waiter of this.#logged.values()) waiter.reject(lost())
    this.#logged.clear()
  }

  #context (): Uint8Array {
    const context = new Uint8Array(8)
    new DataView(context.buffer).setBigUint64(0, BigInt(++this.#serial))
    return context
  }
}

const keyOf = (context: Uint8Array): string => Buffer.from(context).toString('latin1')

/** @param leader - '' while unknown */
export function notLeader (leader: RaftId): ConclaveError {
  return new ConclaveError('NOT_LEADER', leader === '' ? 'there is no leader now' : `the leader is ${leader}`,
    { next: leader === '' ? 'Try again in a second.' : 'Ask the leader.', details: { leader } })
}

function dropped (reason: NonNullable<ProposalResult['dropped']>, leader: RaftId): ConclaveError {
  if (reason === 'noLeader') return notLeader(leader)
  return new ConclaveError('PROPOSAL_DROPPED', `the leader did not take the proposal: ${reason}`, {
    next: reason === 'confInvalid' || reason === 'tooLarge' ? 'It will not be taken as it is.' : 'Try again in a moment.', details: { reason }
  })
}

function lost (): ConclaveError {
  return new ConclaveError('LEADERSHIP_LOST', 'another leader was elected before the proposal was known to be committed',
    { next: 'Propose the same command again: it is applied once.' })
}
