/** The simulated network: links that are cut one way or both, and messages that are lost, doubled, late, overtaken or cut short. */
import type { Message } from '../../src/consensus/types.ts'
import { createRandom } from './random.ts'
import type { Random } from './random.ts'

export interface Weather {
  lossRate: number
  duplicateRate: number
  /** of appends: the tail of the entries is missing, as if the sender's limit were lower */
  chopRate: number
  /** in units */
  maxDelay: number
}

/** how late a message may come that somebody kept, in units */
const OLDEST = 4000

export const FAIR: Weather = { lossRate: 0, duplicateRate: 0, chopRate: 0, maxDelay: 5 }

export class Network {
  /** `from>to` */
  readonly #blocked = new Set<string>()
  readonly #links = new Map<string, Random>()
  readonly #seed: number
  weather: Weather = FAIR

  constructor (seed: number) { this.#seed = seed }

  get cuts (): string[] { return [...this.#blocked] }

  isBlocked (from: string, to: string): boolean { return this.#blocked.size > 0 && this.#blocked.has(from + to) }
  block (from: string, to: string): void { this.#blocked.add(from + to) }
  unblock (from: string, to: string): void { this.#blocked.delete(from + to) }
  heal (): void { this.#blocked.clear() }

  /** `side` and the others hear nothing of each other; or, one way, `side` is not heard. */
  cut (ids: readonly string[], side: ReadonlySet<string>, isOneWay: boolean): void {
    this.heal()
    for (const a of side) {
      for (const b of ids) {
        if (side.has(b)) continue
        this.block(a, b)
        if (!isOneWay) this.block(b, a)
      }
    }
  }

  /** What becomes of a message: `arrives` is called for each time that it does, with its delay in units. @returns false if it is lost */
  carry (message: Message, extraDelay: number, arrives: (delay: number, message: Message) => void): boolean {
    const random = this.#link(message.from, message.to)
    const { lossRate, duplicateRate, chopRate, maxDelay } = this.weather
    const isLost = random.chance(lossRate)
    const delay = random.between(1, maxDelay) + (extraDelay > 0 ? random.int(extraDelay) : 0)
    if (duplicateRate > 0 && random.chance(duplicateRate)) arrives(random.between(1, random.chance(0.5) ? 30 * maxDelay : OLDEST), message)
    if (isLost) return false
    if (chopRate > 0 && message.entries.length > 0 && random.chance(chopRate)) {
      arrives(delay, { ...message, entries: message.entries.slice(0, random.int(message.entries.length)) })
    } else {
      arrives(delay, message)
    }
    return true
  }

  /** Each link has dice of its own, so that a fault left out elsewhere changes little here. */
  #link (from: string, to: string): Random {
    const key = from + to
    let random = this.#links.get(key)
    if (random === undefined) {
      random = createRandom(Math.imul(this.#seed, 0x27d4eb2d) ^ (from.charCodeAt(0) << 8) ^ to.charCodeAt(0))
      this.#links.set(key, random)
    }
    return random
  }
}
