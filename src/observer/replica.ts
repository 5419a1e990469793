/**
 * This node's copy of the ledger and whoever waits for it to change. Two feeds may offer the same entry (Raft, and gossip with its
 * repairs): each index is applied once, in order.
 */
import { apply } from '../ledger/apply.ts'
import type { LedgerEvent } from '../ledger/event.ts'
import { decodeLedger, encodeLedger } from '../ledger/snapshot.ts'
import type { Ledger } from '../ledger/state.ts'

export interface CommittedEntry { readonly index: number, readonly term: number, readonly data: Uint8Array }

export interface Replica {
  /** The state after `ledger.index`. Read only; replaced as a whole by `restore`. */
  readonly ledger: Ledger
  /**
   * Apply the entries that follow `ledger.index`; those at or below it are skipped.
   * @throws an assertion error if `entries` leave a gap: their feed is broken
   */
  apply (entries: readonly CommittedEntry[]): void
  /**
   * Replace the state by a later one, which includes everything up to `index`; an earlier one is ignored.
   *
   * @throws where the bytes are no ledger of this network
   */
  restore (snapshot: Uint8Array, index: number): void
  snapshot (): Uint8Array
  /** Called after every batch that changed something, with its events in ledger order, and with none after a `restore`. @returns stops it */
  onChange (listener: (events: readonly LedgerEvent[]) => void): () => void
  /** Resolves at the next change, or once `ledger.index` ≥ `index` where given. @throws the signal's reason */
  changed (signal?: AbortSignal, index?: number): Promise<void>
}

export function createReplica (ledger: Ledger): Replica {
  let current = ledger
  const listeners = new Set<(events: readonly LedgerEvent[]) => void>()
  const notify = (events: readonly LedgerEvent[]): void => { for (const listener of [...listeners]) listener(events) }

  const replica: Replica = {
    get ledger () { return current },

    apply (entries) {
      const events: LedgerEvent[] = []
      let applied = false
      for (const entry of entries) {
        if (entry.index <= current.index) continue
        if (entry.index !== current.index + 1) throw new Error(`assertion: entry ${entry.index} offered after ${current.index}`)
        events.push(...apply(current, entry))
        applied = true
      }
      if (applied) notify(events)
    },

    restore (snapshot, index) {
      const next = decodeLedger(snapshot)
      if (next.network !== current.network) throw new Error('assertion: a snapshot of another network')
      // a log may begin with a snapshot of nothing at an index of its own
      next.index = Math.max(next.index, index)
      if (next.index <= current.index) return
      current = next
      notify([])
    },

    snapshot: () => encodeLedger(current),

    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },

    async changed (signal, index) {
      if (index !== undefined && current.index >= index) return
      signal?.throwIfAborted()
      await new Promise<void>((resolve, reject) => {
        const off = replica.onChange(() => {
          if (index !== undefined && current.index < index) return
          cleanup()
          resolve()
        })
        const abort = (): void => { cleanup(); reject(signal?.reason) }
        const cleanup = (): void => { off(); signal?.removeEventListener('abort', abort) }
        signal?.addEventListener('abort', abort, { once: true })
      })
    }
  }
  return replica
}
