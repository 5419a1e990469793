/**
 * The one way into the driver's loop: everything that happens to a replica waits here, in order, and is taken when the last batch is done.
 * That is the group commit: what arrives while the disk syncs shares the next sync.
 */
export class Mailbox {
  readonly #maxBytes: number
  #inputs: Array<() => void> = []
  #bytes = 0
  #ticks = 0
  #wake: (() => void) | undefined
  #isClosed = false

  /** @param maxBytes - of inputs that were posted with a size */
  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * @param bytes - memory that waits with it; 0 for what has a limit of its own
   * @returns false where the box is full or closed: the input is dropped
   */
  post (input: () => void, bytes = 0): boolean {
    if (this.#isClosed) return false
    if (bytes > 0 && this.#bytes + bytes > this.#maxBytes) return false
    this.#bytes += bytes
    this.#inputs.push(input)
    this.#signal()
    return true
  }

  /** Ticks are counted, not queued, up to `max`: a replica whose disk hangs must not race through them afterwards. */
  tick (ticks: number, max: number): void {
    this.#ticks = Math.min(this.#ticks + ticks, max)
    this.#signal()
  }

  /** @returns everything that waits; afterwards the box is empty */
  take (): { inputs: Array<() => void>, ticks: number } {
    const taken = { inputs: this.#inputs, ticks: this.#ticks }
    this.#inputs = []
    this.#bytes = 0
    this.#ticks = 0
    return taken
  }

  /** Nothing comes in any more. */
  close (): void {
    this.#isClosed = true
    this.take()
  }

  /** Resolves when something is there. One waiter. */
  async wait (): Promise<void> {
    if (this.#inputs.length > 0 || this.#ticks > 0) return
    await new Promise<void>(resolve => { this.#wake = resolve })
  }

  #signal (): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
