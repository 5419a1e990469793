/**
 * Which peers to ping and which are dead. Pure: the caller owns the clock and the wire.
 *
 * A peer is dead when it said nothing for `timeoutMs` after a ping. Time in which we ourselves stood still (a suspended laptop, a stopped
 * process) is not held against anybody: after a gap between two ticks every open ping gets its full time again.
 */
import type { PeerIdStr } from '../../keys/ids.ts'

interface Pulse {
  /** monotonic ms of the last ping */
  sentMs: number
  /** whether its answer may still come */
  isOut: boolean
  /** start of the time that the peer has left; undefined: it owes us nothing */
  owesSinceMs: number | undefined
  rttMs: number | undefined
}

/** Weight of the newest round trip in the smoothed one, as TCP has it (RFC 6298). */
const RTT_GAIN = 1 / 8

export class Liveness {
  readonly #intervalMs: number
  readonly #timeoutMs: number
  readonly #pulses = new Map<PeerIdStr, Pulse>()
  #lastTickMs: number | undefined

  constructor (limits: { intervalMs: number, timeoutMs: number }) {
    this.#intervalMs = limits.intervalMs
    this.#timeoutMs = limits.timeoutMs
  }

  add (peer: PeerIdStr, nowMs: number): void {
    this.#pulses.set(peer, { sentMs: nowMs - this.#intervalMs, isOut: false, owesSinceMs: undefined, rttMs: undefined })
  }

  remove (peer: PeerIdStr): void {
    this.#pulses.delete(peer)
  }

  rttMs (peer: PeerIdStr): number | undefined {
    return this.#pulses.get(peer)?.rttMs
  }

  /** The answer to the ping that is out. */
  pong (peer: PeerIdStr, nowMs: number): void {
    const pulse = this.#pulses.get(peer)
    if (pulse?.isOut !== true) return
    const sampleMs = nowMs - pulse.sentMs
    pulse.rttMs = pulse.rttMs === undefined ? sampleMs : pulse.rttMs + RTT_GAIN * (sampleMs - pulse.rttMs)
    pulse.isOut = false
    pulse.owesSinceMs = undefined
  }

  /** The ping that is out will not be answered, its stream is gone: another follows in its turn, the peer's time runs on. */
  lost (peer: PeerIdStr): void {
    const pulse = this.#pulses.get(peer)
    if (pulse !== undefined) pulse.isOut = false
  }

  /**
   * Call a few times per interval.
   *
   * @returns `ping`: send one now, it counts as sent; `dead`: drop their connections, they are forgotten here
   */
  tick (nowMs: number): { ping: PeerIdStr[], dead: PeerIdStr[] } {
    const gapMs = nowMs - (this.#lastTickMs ?? nowMs)
    this.#lastTickMs = nowMs
    const stoodStill = gapMs > 2 * this.#intervalMs
    const ping: PeerIdStr[] = []
    const dead: PeerIdStr[] = []
    for (const [peer, pulse] of this.#pulses) {
      if (stoodStill && pulse.owesSinceMs !== undefined) pulse.owesSinceMs = nowMs
      if (pulse.owesSinceMs !== undefined && nowMs - pulse.owesSinceMs >= this.#timeoutMs) {
        this.#pulses.delete(peer)
        dead.push(peer)
      } else if (!pulse.isOut && nowMs - pulse.sentMs >= this.#intervalMs) {
        pulse.sentMs = nowMs
        pulse.isOut = true
        pulse.owesSinceMs ??= nowMs
        ping.push(peer)
      }
    }
    return { ping, dead }
  }
}
