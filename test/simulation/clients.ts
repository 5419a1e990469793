/** Random load: commands that are sent once, sessions that ask again until they are told, and reads at any node. */
import type { Random } from './random.ts'
import type { Simulation } from './simulation.ts'
import { CLIENTS } from './state-machine.ts'
import type { Command } from './state-machine.ts'

export class Clients {
  readonly #world: Simulation
  #unordered = 0
  readonly #open: Command[] = Array.from({ length: CLIENTS }, (_, client) => ({ client, sequence: 1 }))

  constructor (world: Simulation) { this.#world = world }

  act (random: Random): void {
    const world = this.#world
    const node = world.anyLeader(random) ?? world.anyUp(random)
    if (node === undefined) return
    if (random.chance(0.2)) return (random.chance(0.5) ? node : world.anyUp(random)!).read()
    const command = random.chance(0.2) ? this.#open[random.between(1, CLIENTS - 1)]! : { client: 0, sequence: ++this.#unordered }
    node.propose({ ...command })
  }

  /** A client is told that its command is done. @returns false if it knew */
  hears ({ client, sequence }: Command): boolean {
    if (client === 0) return true
    const open = this.#open[client]!
    if (sequence !== open.sequence) return false
    open.sequence++
    return true
  }
}
