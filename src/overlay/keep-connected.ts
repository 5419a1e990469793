/**
 * Carries out the redial schedule: remembers addresses, dials who is due, and sleeps until the next one is.
 */
import { RedialSchedule } from './redial.ts'
import type { LogEvent } from './overlay.ts'
import type { OverlayLimits } from './limits.ts'
import type { Peers } from './peers.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

export interface KeepConnectedInit {
  self: PeerIdStr
  limits: OverlayLimits
  peers: Peers
  /** monotonic */
  nowMs: () => number
  /** in [0, 1) */
  random: () => number
  /** remember the addresses, then dial; rejects where it does not come to a usable connection */
  dial: (peer: PeerIdStr, addrs: readonly string[], signal: AbortSignal) => Promise<unknown>
  log: (event: LogEvent) => void
}

export class KeepConnected {
  readonly #init: KeepConnectedInit
  readonly #schedule: RedialSchedule
  #addrs = new Map<PeerIdStr, readonly string[]>()
  #timer: NodeJS.Timeout | undefined
  #running: AbortController | undefined

  constructor (init: KeepConnectedInit) {
    const { limits, peers, nowMs, random } = init
    this.#init = init
    this.#schedule = new RedialSchedule(init.self, { baseMs: limits.redialBaseMs, capMs: limits.redialCapMs, maxPeers: limits.maxKeptPeers })
    peers.onPeer(({ type, peerId }) => {
      if (type === 'peer:connect') this.#schedule.connected(peerId)
      else this.#schedule.disconnected(peerId, nowMs(), random())
      this.#sleep()
    })
  }

  /** Replace the set; works before `start` too. */
  keep (wanted: Iterable<{ peerId: PeerIdStr, addrs: string[] }>): void {
    const { peers, nowMs, random, log, limits } = this.#init
    this.#addrs = new Map([...wanted].map(({ peerId, addrs }) => [peerId, [...addrs]]))
    const leftOut = this.#schedule.keep(this.#addrs.keys(), peer => peers.isConnected(peer), nowMs(), random)
    if (leftOut > 0) log({ level: 'warn', event: 'redial:limit', leftOut, maxKeptPeers: limits.maxKeptPeers })
    this.#sleep()
  }

  start (): void {
    this.#running = new AbortController()
    this.#sleep()
  }

  stop (reason: Error): void {
    this.#running?.abort(reason)
    this.#running = undefined
    clearTimeout(this.#timer)
  }

  #sleep (): void {
    clearTimeout(this.#timer)
    const running = this.#running
    const dueMs = this.#schedule.nextDueMs()
    if (running === undefined || dueMs === undefined) return
    this.#timer = setTimeout(() => {
      for (const peer of this.#schedule.due(this.#init.nowMs())) void this.#dial(peer, running.signal)
      this.#sleep()
    }, Math.max(0, dueMs - this.#init.nowMs()))
  }

  async #dial (peer: PeerIdStr, stopped: AbortSignal): Promise<void> {
    const { limits, dial, log, nowMs, random } = this.#init
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(limits.dialTimeoutMs)])
    try {
      await dial(peer, this.#addrs.get(peer) ?? [], signal)
      this.#schedule.connected(peer)
    } catch (error) {
      if (stopped.aborted) return
      log({ level: 'debug', event: 'peer:dial-failed', peer, code: error instanceof Error ? error.name : '', error: String(error) })
      this.#schedule.failed(peer, nowMs(), random())
      this.#sleep()
    }
  }
}
