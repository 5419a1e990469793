/**
 * Carries out liveness: pings who is due, counts the answers, names the dead.
 */
import { Liveness } from './liveness.ts'
import type { OverlayLimits } from './limits.ts'
import type { Peers } from './peers.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

export interface PingerInit {
  limits: OverlayLimits
  peers: Peers
  /** monotonic */
  nowMs: () => number
  /** resolves with the answer */
  ping: (peer: PeerIdStr) => Promise<void>
  /** drops the connection that the peer was pinged over */
  onDead: (peer: PeerIdStr) => void
}

export class Pinger {
  readonly #init: PingerInit
  readonly #liveness: Liveness
  #timer: NodeJS.Timeout | undefined

  constructor (init: PingerInit) {
    const { limits, peers, nowMs } = init
    this.#init = init
    this.#liveness = new Liveness({ intervalMs: limits.pingIntervalMs, timeoutMs: limits.pingTimeoutMs })
    peers.onPeer(({ type, peerId }) => {
      if (type === 'peer:connect') this.#liveness.add(peerId, nowMs())
      else this.#liveness.remove(peerId)
    })
  }

  rttMs (peer: PeerIdStr): number | undefined {
    return this.#liveness.rttMs(peer)
  }

  start (): void {
    this.#timer = setInterval(() => { this.#tick() }, this.#init.limits.pingIntervalMs / 4)
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  #tick (): void {
    const { nowMs, ping, onDead } = this.#init
    const { ping: due, dead } = this.#liveness.tick(nowMs())
    for (const peer of due) {
      ping(peer).then(() => { this.#liveness.pong(peer, nowMs()) }, () => { this.#liveness.lost(peer) })
    }
    for (const peer of dead) {
      onDead(peer)
      // it has another connection, which gets its own chance
      if (this.#init.peers.isConnected(peer)) this.#liveness.add(peer, nowMs())
    }
  }
}
