/**
 * Names and limits of gossip. Spec: README.md beside this file.
 */

export const TOPIC_NAMES = ['tasks', 'results'] as const
export type TopicName = typeof TOPIC_NAMES[number]

/** The topic as gossipsub knows it. */
export function wireTopic (network: string, topic: TopicName): string {
  return `/conclave/${network}/${topic}/1`
}

/** Signing domain of envelopes. */
export const ENVELOPE_DOMAIN = 'gossip'

/** Payload of one message; data never travels by gossip. */
export const MAX_PAYLOAD_BYTES = 64 * 1024

/** What an envelope adds to its payload, at most: ids, numbers, signature, field tags. */
export const ENVELOPE_OVERHEAD_BYTES = 512
