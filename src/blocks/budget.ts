/**
 * Who is in the block store, how large, in what order they were last used, and who is pinned. Pure bookkeeping: no disk, no clock.
 */
import type { CidStr } from './cid.ts'

/** One stored block. The store owns the two flags. */
export interface StoredBlock {
  readonly bytes: number
  /** what it links to: pinned with it */
  readonly links: readonly CidStr[]
  /** its bytes were compared with its CID since this process started */
  isVerified: boolean
  /** fsynced since this process started, its name in the directory too */
  isDurable: boolean
}

export interface Budget {
  readonly bytes: number
  readonly count: number
  /** bytes of pinned blocks, and of those being written: what eviction cannot give back */
  readonly heldBytes: number
  /** bytes being written */
  readonly reservedBytes: number
  get (cid: CidStr): StoredBlock | undefined
  /** It becomes the most recently used. */
  touch (cid: CidStr): void
  /** @param block - of a CID that is not there yet */
  add (cid: CidStr, block: StoredBlock): void
  remove (cid: CidStr): void
  /**
   * Make room for a block of this size and hold it.
   *
   * @returns the blocks to evict, least recently used first; undefined where even that would not be enough, and nothing is held then
   */
  reserve (bytes: number): CidStr[] | undefined
  /** Give back what `reserve` held. */
  release (bytes: number): void
  /** It and everything that it links to, as soon as that is known. Idempotent; the block need not be there (yet). */
  pin (cid: CidStr, owner: string): void
  /** Everything that this owner pinned. Idempotent. */
  unpin (owner: string): void
  isPinned (cid: CidStr): boolean
}

export function createBudget (limits: { maxBytes: number, maxCount: number }): Budget {
  // Insertion order is order of use: a touched block is put in again at the end.
  const blocks = new Map<CidStr, StoredBlock>()
  const ownersOf = new Map<CidStr, Set<string>>()
  const pinsOf = new Map<string, Set<CidStr>>()
  let bytes = 0
  let pinnedBytes = 0
  let reservedBytes = 0
  let reservedCount = 0

  /** A worklist, since the depth of a DAG is up to whoever made it; what the owner has pinned already is not walked again. */
  function pinAll (roots: Iterable<CidStr>, owner: string): void {
    let pins = pinsOf.get(owner)
    if (pins === undefined) {
      pins = new Set()
      pinsOf.set(owner, pins)
    }
    const todo = [...roots]
    for (let cid = todo.pop(); cid !== undefined; cid = todo.pop()) {
      if (pins.has(cid)) continue
      pins.add(cid)
      const block = blocks.get(cid)
      const owners = ownersOf.get(cid)
      if (owners === undefined) {
        ownersOf.set(cid, new Set([owner]))
        pinnedBytes += block?.bytes ?? 0
      } else {
        owners.add(owner)
      }
      todo.push(...block?.links ?? [])
    }
  }

  return {
    get bytes () { return bytes },
    get count () { return blocks.size },
    get heldBytes () { return pinnedBytes + reservedBytes },
    get reservedBytes () { return reservedBytes },
    get: cid => blocks.get(cid),
    isPinned: cid => ownersOf.has(cid),

    touch (cid) {
      const block = blocks.get(cid)
      if (block === undefined) return
      blocks.delete(cid)
      blocks.set(cid, block)
    },

    add (cid, block) {
      if (blocks.has(cid)) throw new Error(`invariant: ${cid} is stored once`)
      blocks.set(cid, block)
      bytes += block.bytes
      const owners = ownersOf.get(cid)
      if (owners === undefined) return
      pinnedBytes += block.bytes
      for (const owner of owners) pinAll(block.links, owner)
    },

    remove (cid) {
      const block = blocks.get(cid)
      if (block === undefined) return
      blocks.delete(cid)
      bytes -= block.bytes
      if (ownersOf.has(cid)) pinnedBytes -= block.bytes
    },

    reserve (wanted) {
      const evict: CidStr[] = []
      let freeBytes = limits.maxBytes - bytes - reservedBytes - wanted
      let freeCount = limits.maxCount - blocks.size - reservedCount - 1
      for (const [cid, block] of blocks) {
        if (freeBytes >= 0 && freeCount >= 0) break
        if (ownersOf.has(cid)) continue
        evict.push(cid)
        freeBytes += block.bytes
        freeCount++
      }
      if (freeBytes < 0 || freeCount < 0) return undefined
      reservedBytes += wanted
      reservedCount++
      return evict
    },

    release (held) {
      reservedBytes -= held
      reservedCount--
    },

    pin: (cid, owner) => { pinAll([cid], owner) },

    unpin (owner) {
      for (const cid of pinsOf.get(owner) ?? []) {
        const owners = ownersOf.get(cid)
        owners?.delete(owner)
        if (owners?.size !== 0) continue
        ownersOf.delete(cid)
        pinnedBytes -= blocks.get(cid)?.bytes ?? 0
      }
      pinsOf.delete(owner)
    }
  }
}
