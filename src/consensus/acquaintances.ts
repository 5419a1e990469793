/**
 * Which life of each member's disk this node has met. A member whose disk was wiped has forgotten its votes and acknowledgements; under its
 * old id it could vote twice in a term, so it is not heard until the configuration has dropped it (and perhaps taken it in anew).
 *
 * Pure. The rules:
 * - the first incarnation met of a member is remembered, on disk, until the id leaves the configuration
 * - a *reply* counts only from the incarnation that is remembered: votes and acknowledgements are promises of a disk
 * - a *request* is stepped only if its sender knows this node by its present incarnation, or by none
 * - a node whose log is empty grants no vote: a voter to be has a log before it is promoted
 */
import type { Envelope } from './codec.ts'
import { membersOf } from './conf-change.ts'
import type { ConfState, Message, RaftId } from './types.ts'

export class Acquaintances {
  readonly #self: string
  readonly #known: Map<RaftId, string>
  readonly #wiped = new Set<RaftId>()
  #changed = new Map<RaftId, string>()

  /**
   * @param self - this node's incarnation, hex
   * @param known - what was on disk; owned from now on
   */
  constructor (self: string, known: Map<RaftId, string>) {
    this.#self = self
    this.#known = known
  }

  envelopeTo (peer: RaftId): Envelope {
    return { incarnation: this.#self, peerIncarnation: this.#known.get(peer) ?? '' }
  }

  /** Members that came back with another disk. */
  isWiped (peer: RaftId): boolean { return this.#wiped.has(peer) }

  /** @returns why the message must not be stepped, if it must not */
  judge (message: Message, envelope: Envelope, isLogEmpty: boolean): 'peerWiped' | 'selfWiped' | 'emptyVoter' | undefined {
    if (message.type.endsWith('Reply')) {
      const known = this.#known.get(message.from)
      return known === undefined || known === envelope.incarnation ? undefined : 'peerWiped'
    }
    if (envelope.peerIncarnation !== '' && envelope.peerIncarnation !== this.#self) return 'selfWiped'
    if (isLogEmpty && (message.type === 'vote' || message.type === 'preVote')) return 'emptyVoter'
    return undefined
  }

  /** A frame of this peer has arrived. */
  meet (peer: RaftId, incarnation: string, conf: ConfState): void {
    const known = this.#known.get(peer)
    if (known === undefined) {
      if (!membersOf(conf).includes(peer)) return
      this.#known.set(peer, incarnation)
      this.#changed.set(peer, incarnation)
    } else if (known === incarnation) this.#wiped.delete(peer)
    else this.#wiped.add(peer)
  }

  /** The configuration changed: who left it is forgotten. */
  confChanged (conf: ConfState): void {
    const members = new Set(membersOf(conf))
    for (const peer of this.#known.keys()) {
      if (members.has(peer)) continue
      this.#known.delete(peer)
      this.#wiped.delete(peer)
      this.#changed.set(peer, '')
    }
  }

  /** @returns what is to be written with the next batch, if anything; '' forgets */
  takeChanges (): ReadonlyMap<RaftId, string> | undefined {
    if (this.#changed.size === 0) return undefined
    const changed = this.#changed
    this.#changed = new Map()
    return changed
  }
}
