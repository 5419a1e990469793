import assert from 'node:assert/strict'

/** Waiting on events with a deadline, never on time: a condition is looked at again whenever something has happened. */
export class Changes {
  readonly #looks = new Set<() => void>()

  /** Something has happened. */
  readonly notify = (): void => { for (const look of [...this.#looks]) look() }

  /** @returns once `holds`; fails after `deadlineMs`, naming `what` was missing */
  async until (what: string, holds: () => boolean, deadlineMs = 15_000): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const deadline = setTimeout(() => { reject(new assert.AssertionError({ message: `not within ${deadlineMs} ms: ${what}` })) }, deadlineMs)
    const look = (): void => {
      try {
        if (holds()) resolve()
      } catch (error) {
        reject(error)
      }
    }
    this.#looks.add(look)
    look()
    try {
      await promise
    } finally {
      clearTimeout(deadline)
      this.#looks.delete(look)
    }
  }
}
