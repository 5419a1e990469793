/**
 * Items that gather while the ones before them are being handled, handled together next: a lone item does not wait, a crowd shares one
 * signature and one fsync.
 */
export interface Batcher<T> {
  push (item: T): void
  /** Resolves when nothing is being handled. */
  idle (): Promise<void>
}

/**
 * @param maxItems - of one batch
 * @param handle - one batch at a time, in order of `push`; must not reject
 */
export function createBatcher<T> (maxItems: number, handle: (batch: T[]) => Promise<void>): Batcher<T> {
  const items: T[] = []
  let working: Promise<void> | undefined

  async function work (): Promise<void> {
    while (items.length > 0) await handle(items.splice(0, maxItems))
    working = undefined // in the same turn as the last look at `items`: one that came between would wait for the next
  }

  return {
    push (item) {
      items.push(item)
      working ??= work()
    },
    idle: async () => { await working }
  }
}
