/**
 * What to make of a gossip message, cheapest check first, the signature once and last. Pure but for the guard that it moves.
 */
import { decodeEnvelope } from '../../protocols/gossip/codec.ts'
import { requiredFor } from '../../protocols/policy.ts'
import { accept, ignore, reject } from '../../keys/verdict.ts'
import type { ReplayGuard } from './replay.ts'
import type { EnvelopeFields } from '../../protocols/gossip/codec.ts'
import type { TopicName } from '../../protocols/gossip/constants.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { Verdict } from '../../keys/verdict.ts'

export interface GossipRules {
  network: NetworkId
  self: PeerIdStr
  guard: ReplayGuard
  can: (author: PeerIdStr, topic: TopicName) => boolean
}

/**
 * An author that may not speak is ignored, not rejected: an honest neighbour may have heard of its admission before us, or of its
 * revocation after us, and must not pay for passing it on.
 *
 * @param bytes - a SignedEnvelope as it arrived
 * @param topic - where it arrived
 * @returns accept: signed, fresh and allowed, and recorded in the guard. Ignore GOSSIP_OWN, GOSSIP_NOT_ALLOWED, GOSSIP_REPLAYED,
 * GOSSIP_OLD_INCARNATION. Reject ENVELOPE_TOO_LARGE, ENVELOPE_MALFORMED, ENVELOPE_WRONG_NETWORK, ENVELOPE_WRONG_TOPIC, ENVELOPE_FORGED.
 */
export function judgeGossip (bytes: Uint8Array, topic: TopicName, rules: GossipRules): Verdict<EnvelopeFields> {
  const decoded = decodeEnvelope(bytes)
  if (decoded.verdict !== 'accept') return decoded
  const envelope = decoded.value
  if (envelope.network !== rules.network) return reject('ENVELOPE_WRONG_NETWORK', 'made for another network')
  if (envelope.topic !== topic) return reject('ENVELOPE_WRONG_TOPIC', `made for the topic ${envelope.topic}`)
  if (envelope.author === rules.self) return ignore('GOSSIP_OWN', 'our own message came back')
  if (!rules.can(envelope.author, topic)) return ignore('GOSSIP_NOT_ALLOWED', `its author may not publish here: that takes ${requiredFor(topic)}`)
  const fresh = rules.guard.check(envelope.author, envelope.incarnation, envelope.sequence)
  if (fresh.verdict !== 'accept') return fresh
  if (!envelope.verify()) return reject('ENVELOPE_FORGED', 'the signature is not that of its author')
  rules.guard.record(envelope.author, envelope.incarnation, envelope.sequence)
  return accept(envelope)
}
