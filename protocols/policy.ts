/**
 * Who may say what: the one table from kinds of message to capabilities. Nothing else in the house decides it.
 *
 * Every inbound stream, request, frame and gossip message names its kind; the overlay asks before a handler sees a byte.
 */

/** What a certificate can grant. The same words as in `keys/certificate.ts`, which may not be imported from a table this low. */
type Capability = 'vote' | 'work' | 'submit' | 'observe' | 'invite'

/** `member`: every admitted member, whatever its certificate grants. Otherwise: any one of the capabilities listed suffices. */
type Speakers = 'member' | readonly Capability[]

const TABLE = {
  /** consensus messages; learners are voters to be and hold `vote` as well */
  raft: ['vote'],
  /** a log snapshot, from the leader to a follower */
  snapshot: ['vote'],
  /** submit, cancel, wait */
  job: ['submit'],
  /** join, invite, renew, revoke, liveness; the ledger checks the capability that each of them needs */
  member: 'member',
  /** committed entries and snapshots of the ledger, for replicas */
  ledger: 'member',
  /** receipts, liveness and slots, from a participant to the leader */
  work: ['work'],
  /** content-addressed data, both ways */
  blocks: 'member',
  /** topic `tasks`: the leader's committed assignments */
  tasks: ['vote'],
  /** topic `results`: receipts by participants, commit notices by the leader */
  results: ['work', 'vote']
} as const satisfies Record<string, Speakers>

/** A kind of message, as protocols and topics name it to the overlay. */
export type MessageKind = keyof typeof TABLE

/** Every kind, in the order of the table. */
export const MESSAGE_KINDS = Object.keys(TABLE) as readonly MessageKind[]

/**
 * Whether a peer may speak messages of a kind.
 *
 * @param kind - what it wants to say
 * @param capabilities - what its certificate grants; undefined: not a member, which may say nothing
 */
export function maySpeak (kind: MessageKind, capabilities: readonly string[] | undefined): boolean {
  if (capabilities === undefined) return false
  const speakers: Speakers = TABLE[kind]
  return speakers === 'member' || speakers.some(capability => capabilities.includes(capability))
}

/**
 * What would let a peer say it, in words for a refusal: `membership`, or the capabilities joined by `or`.
 */
export function requiredFor (kind: MessageKind): string {
  const speakers: Speakers = TABLE[kind]
  return speakers === 'member' ? 'membership' : speakers.map(capability => `\`${capability}\``).join(' or ')
}
