/**
 * The two topics: signed envelopes over gossipsub, judged once in the topic validator, remembered on disk against replay.
 * Spec: protocols/gossip/README.md.
 */
import { TopicValidatorResult } from '@libp2p/gossipsub'
import { ConclaveError } from '../errors.ts'
import { signEnvelope } from '../../protocols/gossip/codec.ts'
import { MAX_PAYLOAD_BYTES, TOPIC_NAMES, wireTopic } from '../../protocols/gossip/constants.ts'
import { judgeGossip } from './gossip-judge.ts'
import { readMarks, writeMarks } from './marks-file.ts'
import { ReplayGuard } from './replay.ts'
import type { GossipContext, LogEvent } from './overlay.ts'
import type { OverlayLimits } from './limits.ts'
import type { TopicName } from '../../protocols/gossip/constants.ts'
import type { Identity } from '../../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { Verdict } from '../../keys/verdict.ts'
import type { GossipSub, GossipsubMessage, Message } from '@libp2p/gossipsub'
import type { PeerId } from '@libp2p/interface'

export interface GossipInit {
  identity: Identity
  network: NetworkId
  limits: OverlayLimits
  /** absent: marks live in memory */
  marksFile?: string | undefined
  can: (author: PeerIdStr, topic: TopicName) => boolean
  log: (event: LogEvent) => void
}

interface Subscriber {
  onMessage: (payload: Uint8Array, ctx: GossipContext) => void
  validate: (payload: Uint8Array, ctx: GossipContext) => Verdict<unknown>
}

interface Judged { payload: Uint8Array, ctx: GossipContext }

/**
 * Lifecycle: `open`, then `attach` before libp2p starts and `join` after, `close` before it stops.
 *
 * Invariants: no sequence number of an incarnation is signed twice, and an incarnation is on disk before it signs anything; a message is
 * delivered at most once, across restarts except for what arrived in the last `gossipMarksFlushMs` before a crash.
 */
export class Gossip {
  readonly #init: GossipInit
  readonly #subscribers = new Map<TopicName, Subscriber>()
  /** what the validator found out, for the delivery that follows */
  readonly #judged = new WeakMap<Message, Judged>()
  #guard: ReplayGuard
  #pubsub: GossipSub | undefined
  #incarnation = 0
  #sequence = 0
  #isDirty = false
  #flushTimer: NodeJS.Timeout | undefined
  #flushing: Promise<void> = Promise.resolve()

  constructor (init: GossipInit) {
    this.#init = init
    this.#guard = new ReplayGuard(init.limits.maxGossipAuthors)
  }

  subscribe (topic: TopicName, onMessage: Subscriber['onMessage'], validate: Subscriber['validate']): void {
    if (this.#subscribers.has(topic)) throw new ConclaveError('ALREADY_HANDLED', `the topic ${topic} has a subscriber`)
    this.#subscribers.set(topic, { onMessage, validate })
  }

  /** Read the marks and begin a new incarnation, newer than any before it even where the clock went back. */
  async open (nowMs: number): Promise<void> {
    const { marksFile, limits, log } = this.#init
    const marks = marksFile === undefined ? undefined : await readMarks(marksFile)
    if (marks === 'corrupt') log({ level: 'warn', event: 'gossip:marks-corrupt', file: marksFile, message: 'starting without them: old messages may be taken once more' })
    const known = marks === 'corrupt' || marks === undefined ? { incarnation: 0, authors: [] } : marks
    this.#guard = new ReplayGuard(limits.maxGossipAuthors, known.authors)
    this.#incarnation = Math.max(nowMs, known.incarnation + 1)
    this.#sequence = 0
    await this.#write()
  }

  /** Validators first, so that not one message passes unjudged. */
  attach (pubsub: GossipSub): void {
    this.#pubsub = pubsub
    for (const topic of TOPIC_NAMES) {
      pubsub.topicValidators.set(wireTopic(this.#init.network, topic), (from, message) => this.#validate(topic, from, message))
    }
    pubsub.addEventListener('gossipsub:message', event => { this.#deliver(event.detail) })
  }

  /** Every node joins both topics, whether or not anybody here listens: that is how a neighbour's gossip is known to work. */
  join (): void {
    for (const topic of TOPIC_NAMES) this.#pubsub?.subscribe(wireTopic(this.#init.network, topic))
  }

  async close (): Promise<void> {
    clearTimeout(this.#flushTimer)
    this.#flushTimer = undefined
    this.#pubsub = undefined
    await this.#flushing
    if (this.#isDirty) await this.#write()
  }

  async publish (topic: TopicName, payload: Uint8Array, term: number): Promise<{ recipients: number }> {
    if (payload.byteLength > MAX_PAYLOAD_BYTES) {
      throw new ConclaveError('GOSSIP_TOO_LARGE', `a gossip message of ${payload.byteLength} bytes, at most ${MAX_PAYLOAD_BYTES} may be sent`, {
        next: 'send it by request or as a block', details: { bytes: payload.byteLength, maxBytes: MAX_PAYLOAD_BYTES }
      })
    }
    if (this.#pubsub === undefined) throw new ConclaveError('NODE_STOPPED', 'the node is not running')
    this.#sequence++
    const bytes = signEnvelope(this.#init.identity, {
      network: this.#init.network, topic, incarnation: this.#incarnation, sequence: this.#sequence, term, payload
    })
    const { recipients } = await this.#pubsub.publish(wireTopic(this.#init.network, topic), bytes)
    return { recipients: recipients.length }
  }

  #validate (topic: TopicName, from: PeerId, message: Message): TopicValidatorResult {
    const subscriber = this.#subscribers.get(topic)
    if (subscriber === undefined) return TopicValidatorResult.Ignore
    const { network, identity, can, log } = this.#init
    const envelope = judgeGossip(message.data, topic, { network, self: identity.peerId, guard: this.#guard, can })
    let verdict: Verdict<unknown> = envelope
    if (envelope.verdict === 'accept') {
      this.#markMoved()
      const { author, term } = envelope.value
      // a copy (`slice` of a Buffer is none): gossipsub keeps the original to pass it on
      const judged = { payload: new Uint8Array(envelope.value.payload), ctx: { author, term, from: from.toString() as PeerIdStr } }
      verdict = subscriber.validate(judged.payload, judged.ctx)
      this.#judged.set(message, judged)
    }
    if (verdict.verdict === 'accept') return TopicValidatorResult.Accept
    log({ level: verdict.verdict === 'reject' ? 'warn' : 'debug', event: 'gossip:drop', topic, from: from.toString(), code: verdict.code, message: verdict.reason })
    return verdict.verdict === 'reject' ? TopicValidatorResult.Reject : TopicValidatorResult.Ignore
  }

  #deliver ({ msg }: GossipsubMessage): void {
    const judged = this.#judged.get(msg)
    const topic = TOPIC_NAMES.find(name => wireTopic(this.#init.network, name) === msg.topic)
    if (judged === undefined || topic === undefined) return
    this.#judged.delete(msg)
    this.#subscribers.get(topic)?.onMessage(judged.payload, judged.ctx)
  }

  #markMoved (): void {
    this.#isDirty = true
    if (this.#init.marksFile === undefined || this.#flushTimer !== undefined) return
    this.#flushTimer = setTimeout(() => {
      this.#flushTimer = undefined
      this.#flushing = this.#write().catch((error: unknown) => {
        this.#init.log({ level: 'error', event: 'gossip:marks-unwritten', file: this.#init.marksFile, error: String(error) })
      })
    }, this.#init.limits.gossipMarksFlushMs)
    this.#flushTimer.unref()
  }

  async #write (): Promise<void> {
    this.#isDirty = false
    if (this.#init.marksFile !== undefined) await writeMarks(this.#init.marksFile, { incarnation: this.#incarnation, authors: this.#guard.marks() })
  }
}
