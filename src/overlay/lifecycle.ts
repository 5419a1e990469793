/**
 * When an overlay runs, and how what was started is undone.
 */
import { ConclaveError } from '../errors.ts'
import type { Assembled } from './libp2p.ts'

/** Started once, stopped once; what was started is undone in the opposite order, also after a start that failed halfway. */
export class Lifecycle {
  assembled: Assembled | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  readonly #undo: Array<() => Promise<void>> = []

  /** @throws NODE_STOPPED */
  running (): Assembled {
    if (this.assembled === undefined || this.#stopping !== undefined) throw nodeStopped()
    return this.assembled
  }

  started (assembled: Assembled): void {
    this.assembled = assembled
  }

  onStop (undo: () => Promise<void>): void {
    this.#undo.push(undo)
  }

  async start (start: () => Promise<void>): Promise<void> {
    if (this.#stopping !== undefined) throw nodeStopped()
    this.#starting ??= start()
    try {
      await this.#starting
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop (): Promise<void> {
    this.#stopping ??= this.#stop()
    await this.#stopping
  }

  async #stop (): Promise<void> {
    await this.#starting?.catch(() => undefined) // its caller hears of it
    for (const undo of this.#undo.splice(0).reverse()) await undo()
    this.assembled = undefined
  }
}

export function nodeStopped (): ConclaveError {
  return new ConclaveError('NODE_STOPPED', 'the node is not running')
}
