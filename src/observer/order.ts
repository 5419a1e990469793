/**
 * Committed entries in, in any order, several times or never; the same entries out once each, in ledger order, without a gap. Pure: the
 * caller fetches what is missing and decides how often it asks.
 *
 * Whatever is dropped here (the buffer is bounded) is asked for again as part of a gap: nothing is lost by dropping.
 */
import type { LedgerEntry } from '../ledger/apply.ts'

export interface OrderLimits {
  /** how far beyond the next index an entry may lie to wait here */
  readonly maxEntries: number
  readonly maxBytes: number
}

export const ORDER_LIMITS: OrderLimits = { maxEntries: 4_096, maxBytes: 8 * 1_048_576 }

/** Owned by its caller; changed by the functions here. */
export interface Order {
  /** index of the entry to be given out next */
  next: number
  /** the highest index known to be committed */
  head: number
  /** entries beyond `next`, by index */
  readonly waiting: Map<number, LedgerEntry>
  waitingBytes: number
  readonly limits: OrderLimits
  readonly stats: { duplicates: number, dropped: number }
}

/** A hole: these indexes, both included, are committed but not here. */
export interface Gap { readonly from: number, readonly to: number }

/** @param next - index of the first entry wanted: one after what the replica has applied */
export function createOrder (next: number, limits: OrderLimits = ORDER_LIMITS): Order {
  return { next, head: next - 1, waiting: new Map(), waitingBytes: 0, limits, stats: { duplicates: 0, dropped: 0 } }
}

/**
 * Take entries in.
 *
 * @returns those that can be applied now, in order and without a gap to what was given out before; the caller owns them
 */
export function ingest (order: Order, entries: readonly LedgerEntry[]): LedgerEntry[] {
  const ready: LedgerEntry[] = []
  for (const entry of entries) {
    order.head = Math.max(order.head, entry.index)
    if (entry.index < order.next || order.waiting.has(entry.index)) order.stats.duplicates++
    else if (entry.index === order.next) ready.push(...follow(order, entry))
    else keep(order, entry)
  }
  return ready
}

/** Give out an entry that is next, and the waiting ones behind it. */
function follow (order: Order, first: LedgerEntry): LedgerEntry[] {
  const ready: LedgerEntry[] = []
  let entry: LedgerEntry | undefined = first
  while (entry !== undefined) {
    ready.push(entry)
    order.next = entry.index + 1
    entry = order.waiting.get(order.next)
    if (entry !== undefined) forget(order, entry)
  }
  return ready
}

function forget (order: Order, entry: LedgerEntry): void {
  order.waiting.delete(entry.index)
  order.waitingBytes -= entry.data.length
}

/** Where there is no room, the entry farthest from being needed goes. */
function keep (order: Order, entry: LedgerEntry): void {
  if (entry.index - order.next > order.limits.maxEntries) {
    order.stats.dropped++
    return
  }
  order.waiting.set(entry.index, entry)
  order.waitingBytes += entry.data.length
  while (order.waitingBytes > order.limits.maxBytes) {
    const farthest = order.waiting.get(Math.max(...order.waiting.keys()))
    if (farthest === undefined) return
    forget(order, farthest)
    order.stats.dropped++
  }
}

/** Somebody trustworthy says that this index is committed. */
export function learnHead (order: Order, index: number): void {
  order.head = Math.max(order.head, index)
}

/** The first hole, or undefined where nothing is known to be missing. Up to the next entry that waits here, or to the head. */
export function gapOf (order: Order): Gap | undefined {
  if (order.next > order.head) return undefined
  let to = order.head
  for (const index of order.waiting.keys()) to = Math.min(to, index - 1)
  return { from: order.next, to }
}

/**
 * The replica was restored from a snapshot at `index`: go on behind it. A snapshot that is older than what was given out changes nothing.
 *
 * @returns waiting entries that can be applied now
 */
export function jump (order: Order, index: number): LedgerEntry[] {
  order.head = Math.max(order.head, index)
  if (index < order.next) return []
  for (const entry of [...order.waiting.values()]) if (entry.index <= index) forget(order, entry)
  order.next = index + 1
  const entry = order.waiting.get(order.next)
  if (entry === undefined) return []
  forget(order, entry)
  return follow(order, entry)
}
