/**
 * What peers send: checked, and stepped into the core when its turn comes. Never throws on what a peer sent.
 */
import { ConclaveError } from '../../keys/conclave-error.ts'
import type { Acquaintances } from './acquaintances.ts'
import { MAX_FRAME_BYTES, decodeFrame, decodeSnapshotTransfer, type Envelope } from './codec.ts'
import { membersOf } from './conf-change.ts'
import type { Clock, ConsensusLimits, ConsensusLogEvent } from './consensus.ts'
import type { Mailbox } from './mailbox.ts'
import type { Raft } from './raft.ts'
import type { Sender } from './sender.ts'
import type { Snapshots } from './snapshots.ts'
import type { ConfState, Message, RaftId } from './types.ts'

export interface InboundInit {
  id: RaftId
  raft: Raft
  mailbox: Mailbox
  acquaintances: Acquaintances
  sender: Sender
  snapshots: Snapshots
  clock: Clock
  limits: ConsensusLimits
  log: (event: ConsensusLogEvent) => void
}

export class Inbound {
  readonly #init: InboundInit
  /** of members only */
  readonly #lastHeardMs = new Map<RaftId, number>()
  /** Monotonic ms of the last time that anybody asked for this node's vote or pre-vote; 0: never. */
  rivalHeardMs = 0
  #conf: ConfState
  #isSnapshotStepped = false

  constructor (init: InboundInit, conf: ConfState) {
    this.#init = init
    this.#conf = conf
    this.confChanged(conf)
  }

  /** Monotonic ms of the last message that was stepped, or since when the peer is a member; 0 where it is none. */
  lastHeardMs (peer: RaftId): number { return this.#lastHeardMs.get(peer) ?? 0 }

  confChanged (conf: ConfState): void {
    this.#conf = conf
    const members = membersOf(conf)
    for (const id of this.#lastHeardMs.keys()) if (!members.includes(id)) this.#lastHeardMs.delete(id)
    for (const id of members) if (!this.#lastHeardMs.has(id)) this.#lastHeardMs.set(id, this.#init.clock.nowMs())
  }

  onFrame (from: RaftId, bytes: Uint8Array): void {
    const { mailbox, log } = this.#init
    if (bytes.length > MAX_FRAME_BYTES || !mailbox.post(() => { this.#stepFrame(from, bytes) }, Math.max(1, bytes.length))) {
      log({ level: 'warn', event: 'raft:frame-dropped', peer: from, bytes: bytes.length })
    }
  }

  /** @returns when the snapshot is on disk, or was not wanted @throws SNAPSHOT_REFUSED, BUSY */
  async onSnapshot (from: RaftId, payload: Uint8Array): Promise<void> {
    const { id, limits, mailbox, acquaintances, snapshots } = this.#init
    const transfer = decodeSnapshotTransfer(payload, from, id, limits.maxSnapshotBytes)
    if (transfer.verdict !== 'accept') throw new ConclaveError('SNAPSHOT_REFUSED', transfer.reason, { details: { code: transfer.code } })
    const { message, data } = transfer.value
    if (message.snapshot === undefined) throw new ConclaveError('SNAPSHOT_REFUSED', 'a snapshot message without its facts')
    if (snapshots.isReceiving) throw new ConclaveError('BUSY', 'another snapshot is being taken in', { next: 'Try again later.' })
    const done = snapshots.receive(message.snapshot, data)
    mailbox.post(() => {
      acquaintances.meet(from, transfer.value.incarnation, this.#conf)
      const refusal = this.#step(message, transfer.value)
      if (refusal === undefined) this.#isSnapshotStepped = true
      else snapshots.settleIncoming(new ConclaveError('SNAPSHOT_REFUSED', `this replica does not take it: ${refusal}`))
    })
    await done
  }

  /** @returns whether a snapshot was stepped since the last call: its fate is decided by the batch that follows */
  takeSnapshotStepped (): boolean {
    const wasStepped = this.#isSnapshotStepped
    this.#isSnapshotStepped = false
    return wasStepped
  }

  #stepFrame (from: RaftId, bytes: Uint8Array): void {
    const { id, acquaintances, sender, log } = this.#init
    const frame = decodeFrame(bytes, from, id)
    if (frame.verdict !== 'accept') {
      log({ level: 'warn', event: 'raft:frame-rejected', peer: from, code: frame.code, reason: frame.reason })
      return
    }
    acquaintances.meet(from, frame.value.incarnation, this.#conf)
    const refusals = frame.value.messages.map(message => this.#step(message, frame.value))
    // an empty frame tells the sender whom it really speaks to, and is never answered
    if (refusals.includes('selfWiped')) sender.introduce(from)
  }

  /** @returns why the message had no effect, if it was refused */
  #step (message: Message, envelope: Envelope): string | undefined {
    const { raft, acquaintances, clock, log } = this.#init
    const isLogEmpty = this.#conf.voters.length === 0 && raft.status().lastIndex === 0
    const refusal = acquaintances.judge(message, envelope, isLogEmpty)
    if (refusal !== undefined) {
      log({ level: 'warn', event: 'raft:incarnation', peer: message.from, type: message.type, refusal })
      return refusal
    }
    if (message.type === 'preVote' || message.type === 'vote') this.rivalHeardMs = clock.nowMs()
    const verdict = raft.step(message)
    if (verdict.verdict === 'accept') {
      if (this.#lastHeardMs.has(message.from)) this.#lastHeardMs.set(message.from, clock.nowMs())
      return undefined
    }
    log({ level: 'warn', event: 'raft:message-rejected', peer: message.from, type: message.type, code: verdict.code, reason: verdict.reason })
    return verdict.code
  }
}
