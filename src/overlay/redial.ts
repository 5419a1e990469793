/**
 * When to dial whom: peers of the roster are dialled for ever while they are not connected. Pure: time and dice are arguments.
 */
import type { PeerIdStr } from '../../keys/ids.ts'

export interface RedialLimits { baseMs: number, capMs: number, maxPeers: number }

interface Kept {
  /** failed dials since it was last connected */
  failures: number
  state: 'connected' | 'dialling' | 'waiting'
  dueMs: number
}

/**
 * Wait before the next dial: doubles with each failure up to the cap, and is between half and all of that.
 *
 * @param failures - from 0
 * @param random - in [0, 1)
 */
export function backoffMs (failures: number, limits: Pick<RedialLimits, 'baseMs' | 'capMs'>, random: number): number {
  const fullMs = Math.min(limits.capMs, limits.baseMs * 2 ** Math.min(failures, 30))
  return fullMs * (0.5 + random / 2)
}

export class RedialSchedule {
  readonly #self: PeerIdStr
  readonly #limits: RedialLimits
  readonly #kept = new Map<PeerIdStr, Kept>()

  constructor (self: PeerIdStr, limits: RedialLimits) {
    this.#self = self
    this.#limits = limits
  }

  /**
   * Replace the set of peers. Those that stay keep their backoff. Of two peers that learn of each other at once, the one with the smaller
   * id dials at once and the other a little later, so that they rarely end up with two connections.
   *
   * @returns how many were left out because of `maxPeers`
   */
  keep (peers: Iterable<PeerIdStr>, isConnected: (peer: PeerIdStr) => boolean, nowMs: number, random: () => number): number {
    const wanted = new Set(peers)
    wanted.delete(this.#self)
    for (const peer of this.#kept.keys()) if (!wanted.has(peer)) this.#kept.delete(peer)
    let leftOut = 0
    for (const peer of wanted) {
      if (this.#kept.has(peer)) continue
      if (this.#kept.size >= this.#limits.maxPeers) { leftOut++; continue }
      const waitMs = this.#self < peer ? 0 : backoffMs(0, this.#limits, random())
      this.#kept.set(peer, { failures: 0, state: isConnected(peer) ? 'connected' : 'waiting', dueMs: nowMs + waitMs })
    }
    return leftOut
  }

  connected (peer: PeerIdStr): void {
    const kept = this.#kept.get(peer)
    if (kept === undefined) return
    kept.state = 'connected'
    kept.failures = 0
  }

  disconnected (peer: PeerIdStr, nowMs: number, random: number): void {
    const kept = this.#kept.get(peer)
    if (kept?.state !== 'connected') return
    kept.state = 'waiting'
    kept.dueMs = nowMs + backoffMs(0, this.#limits, random)
  }

  /** A dial ended without a connection. */
  failed (peer: PeerIdStr, nowMs: number, random: number): void {
    const kept = this.#kept.get(peer)
    if (kept?.state !== 'dialling') return
    kept.state = 'waiting'
    kept.failures++
    kept.dueMs = nowMs + backoffMs(kept.failures, this.#limits, random)
  }

  /** @returns the peers to dial now; each counts as being dialled until `connected` or `failed` */
  due (nowMs: number): PeerIdStr[] {
    const due: PeerIdStr[] = []
    for (const [peer, kept] of this.#kept) {
      if (kept.state !== 'waiting' || kept.dueMs > nowMs) continue
      kept.state = 'dialling'
      due.push(peer)
    }
    return due
  }

  /** @returns when `due` will next have something; undefined: not before another call */
  nextDueMs (): number | undefined {
    let nextMs: number | undefined
    for (const { state, dueMs } of this.#kept.values()) {
      if (state === 'waiting' && (nextMs === undefined || dueMs < nextMs)) nextMs = dueMs
    }
    return nextMs
  }
}
