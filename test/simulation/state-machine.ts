/**
 * What the simulated nodes agree on: commands of clients, each with effect once. Source: thesis §6.3 (sessions).
 *
 * Client 0 sends each of its commands once and in no order; the others have one command open at a time and ask again, through any node,
 * until they are told that it is done.
 */
import type { Entry } from '../../src/consensus/types.ts'

export const CLIENTS = 5

export interface Command { client: number, sequence: number }

export function encodeCommand ({ client, sequence }: Command): Uint8Array {
  const data = new Uint8Array(5)
  data[0] = client
  for (let i = 1; i < 5; i++) data[i] = sequence >>> 8 * (i - 1)
  return data
}

export function decodeCommand ({ data }: { data: Uint8Array }): Command {
  return { client: data[0]!, sequence: data[1]! | data[2]! << 8 | data[3]! << 16 | data[4]! << 24 }
}

export const nameOf = ({ client, sequence }: Command): string => `${client}.${sequence}`

/** `digest` depends on all commands that had an effect, and on their order; `latest` is the last sequence number of each client. */
export interface MachineState { digest: number, latest: readonly number[] }

export const INITIAL: MachineState = { digest: 1, latest: Array.from({ length: CLIENTS }, () => 0) }

export class StateMachine {
  #digest = 0
  #latest: number[] = []

  constructor () { this.restore(INITIAL) }

  get digest (): number { return this.#digest }

  /** @returns true if it had an effect: not where the same command of a session was applied before */
  apply (entry: Entry): boolean {
    if (entry.kind !== 'normal') return false
    const { client, sequence } = decodeCommand(entry)
    if (client > 0) {
      if (sequence <= this.#latest[client]!) return false
      this.#latest[client] = sequence
    }
    this.#digest = Math.imul(this.#digest ^ (client << 24) ^ sequence, 0x01000193) + 1 | 0
    return true
  }

  state (): MachineState { return { digest: this.#digest, latest: [...this.#latest] } }

  restore ({ digest, latest }: MachineState): void {
    this.#digest = digest
    this.#latest = [...latest]
  }
}
