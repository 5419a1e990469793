/**
 * Messages on their way out: packed into frames per peer, snapshots on a stream of their own.
 */
import type { Acquaintances } from './acquaintances.ts'
import { MAX_FRAME_BYTES, encodeFrame, encodeSnapshotTransfer, packFrames } from './codec.ts'
import type { Clock, ConsensusLimits, ConsensusLogEvent, RaftTransport, SnapshotWithData } from './consensus.ts'
import type { Message, RaftId } from './types.ts'

export interface SenderInit {
  transport: RaftTransport
  clock: Clock
  acquaintances: Acquaintances
  limits: ConsensusLimits
  snapshot: () => SnapshotWithData | undefined
  /** a frame to this peer was dropped */
  onUnreachable: (peer: RaftId) => void
  /** called exactly once for each snapshot message */
  onSnapshotSent: (peer: RaftId, ok: boolean) => void
  log: (event: ConsensusLogEvent) => void
}

export class Sender {
  readonly #init: SenderInit
  readonly #stopping = new AbortController()
  readonly #sending = new Set<Promise<void>>()

  constructor (init: SenderInit) {
    this.#init = init
  }

  /** Hands all messages to the transport, in order per peer. Never waits for the network. */
  send (messages: readonly Message[]): void {
    const byPeer = new Map<RaftId, Message[]>()
    for (const message of messages) {
      if (message.type === 'snapshot') {
        this.#sendSnapshot(message)
        continue
      }
      const queue = byPeer.get(message.to)
      if (queue === undefined) byPeer.set(message.to, [message])
      else queue.push(message)
    }
    for (const [peer, queue] of byPeer) this.#sendFrames(peer, queue)
  }

  /** A frame without messages: who this node is now. */
  introduce (peer: RaftId): void {
    this.#init.transport.send(peer, encodeFrame({ ...this.#init.acquaintances.envelopeTo(peer), messages: [] }))
  }

  /** Aborts transfers and waits for their end. */
  async stop (): Promise<void> {
    this.#stopping.abort(new Error('consensus stops'))
    await Promise.all(this.#sending)
  }

  #sendFrames (peer: RaftId, queue: Message[]): void {
    const { transport, acquaintances, onUnreachable, log } = this.#init
    for (const messages of packFrames(queue)) {
      const frame = encodeFrame({ ...acquaintances.envelopeTo(peer), messages })
      if (frame.length > MAX_FRAME_BYTES) {
        log({ level: 'error', event: 'raft:frame-too-large', peer, bytes: frame.length, type: messages[0]?.type })
        continue
      }
      if (transport.send(peer, frame)) continue
      // a frame that is missing in the middle makes the later ones useless; the core sends again
      onUnreachable(peer)
      return
    }
  }

  #sendSnapshot (message: Message): void {
    const { limits, onSnapshotSent, log } = this.#init
    const snapshot = this.#init.snapshot()
    const reason = snapshot === undefined || snapshot.index !== message.snapshot?.index
      ? 'it was replaced by a newer one'
      : snapshot.data.length > limits.maxSnapshotBytes
        ? `its ${snapshot.data.length} bytes are more than the limit of ${limits.maxSnapshotBytes}`
        : this.#sending.size >= limits.maxSnapshotSends ? 'others are being sent' : undefined
    if (reason !== undefined || snapshot === undefined) {
      log({ level: 'warn', event: 'raft:snapshot-unsent', peer: message.to, reason })
      onSnapshotSent(message.to, false)
      return
    }
    const sending = this.#transfer(message, snapshot.data).finally(() => { this.#sending.delete(sending) })
    this.#sending.add(sending)
  }

  async #transfer (message: Message, data: Uint8Array): Promise<void> {
    const { transport, clock, acquaintances, limits, onSnapshotSent, log } = this.#init
    const peer = message.to
    const timeout = new AbortController()
    const cancel = clock.after(limits.snapshotTimeoutMs, () => { timeout.abort(new Error(`no answer within ${limits.snapshotTimeoutMs} ms`)) })
    const startedMs = clock.nowMs()
    let ok = false
    try {
      const payload = encodeSnapshotTransfer({ ...acquaintances.envelopeTo(peer), message, data })
      const signal = AbortSignal.any([timeout.signal, this.#stopping.signal])
      // the deadline holds even where the transport is deaf to it
      const aborted = new Promise<never>((_, reject) => { signal.addEventListener('abort', () => { reject(signal.reason) }) })
      await Promise.race([transport.sendSnapshot(peer, payload, signal), aborted])
      ok = true
      log({ level: 'info', event: 'raft:snapshot-sent', peer, bytes: data.length, ms: Math.round(clock.nowMs() - startedMs) })
    } catch (error) {
      log({ level: 'warn', event: 'raft:snapshot-failed', peer, reason: error instanceof Error ? error.message : String(error) })
    } finally {
      cancel()
      onSnapshotSent(peer, ok)
    }
  }
}
