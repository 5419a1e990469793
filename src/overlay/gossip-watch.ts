/**
 * Which neighbours' gossip is broken. Pure.
 *
 * Gossipsub opens a stream to a neighbour once, when it connects: a stream that was reset later stays gone without an error, and with it
 * every message. So whoever is connected must have one, and must have subscribed to something, since every node of ours does.
 */
import type { PeerIdStr } from '../../keys/ids.ts'

/** Looks in a row before a stream is opened anew: a new neighbour needs a moment. */
const REOPEN_AFTER = 2
/** Looks in a row before the connection itself is given up. */
const REDIAL_AFTER = 10

export class GossipWatch {
  readonly #misses = new Map<PeerIdStr, number>()

  /**
   * @param neighbours - everyone who is connected
   * @returns `reopen`: open a new gossip stream; `redial`: that did not help, drop the connection and dial again
   */
  look (neighbours: Iterable<{ peerId: PeerIdStr, hasStream: boolean, isSubscribed: boolean }>): { reopen: PeerIdStr[], redial: PeerIdStr[] } {
    const reopen: PeerIdStr[] = []
    const redial: PeerIdStr[] = []
    const present = new Set<PeerIdStr>()
    for (const { peerId, hasStream, isSubscribed } of neighbours) {
      present.add(peerId)
      if (hasStream && isSubscribed) {
        this.#misses.delete(peerId)
        continue
      }
      const misses = (this.#misses.get(peerId) ?? 0) + 1
      this.#misses.set(peerId, misses)
      if (misses >= REDIAL_AFTER) {
        this.#misses.delete(peerId)
        redial.push(peerId)
      } else if (misses >= REOPEN_AFTER && !hasStream) {
        reopen.push(peerId)
      }
    }
    for (const peer of this.#misses.keys()) if (!present.has(peer)) this.#misses.delete(peer)
    return { reopen, redial }
  }
}
