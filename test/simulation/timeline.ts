/** Virtual time: a wheel of buckets, one a unit; events of one unit happen in the order in which they were planned. */
const HORIZON = 4096

export class Timeline<T> {
  #buckets: T[][] = Array.from({ length: HORIZON }, () => [])
  #at = 0
  now = 0

  /** @param delay - in units, at least 1; beyond the horizon it is cut to it */
  plan (delay: number, event: T): void {
    this.#buckets[(this.now + Math.max(1, Math.min(delay, HORIZON - 1))) % HORIZON]!.push(event)
  }

  /** @returns the next event, moving `now` to it; the caller keeps at least one planned */
  next (): T {
    for (;;) {
      const bucket = this.#buckets[this.now % HORIZON]!
      if (this.#at < bucket.length) return bucket[this.#at++]!
      bucket.length = 0
      this.#at = 0
      this.now++
    }
  }
}
