/**
 * Blocks that others asked us to keep: pinned for a while, so that a copy that was acknowledged is still there when the ledger names it and
 * the job pins it; and limited per sender, so that no member fills another's disk. Pure but for the pins.
 */
import { ConclaveError } from '../errors.ts'
import type { CidStr } from './cid.ts'
import type { BlockStore } from './store.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

/** Holds of one sender at the same time. */
const MAX_HOLDS = 8192

export interface HoldsInit {
  store: Pick<BlockStore, 'pin' | 'unpin' | 'room'>
  /** pinned for one sender at the same time; past it PUT_QUOTA */
  maxBytesPerSender: number
  holdMs: number
  /** monotonic */
  nowMs: () => number
}

export interface Holds {
  /** @returns why this sender may not store that much now (PUT_QUOTA, BLOCK_STORE_FULL), or undefined */
  judge (sender: PeerIdStr, bytes: number): ConclaveError | undefined
  take (sender: PeerIdStr, cids: readonly CidStr[], bytes: number): { drop (): void }
  /** Let go of what was held long enough. */
  expire (): void
}

interface Hold { owner: string, bytes: number, untilMs: number }

export function createHolds (init: HoldsInit): Holds {
  // Each sender's holds in the order in which they end.
  const bySender = new Map<PeerIdStr, Set<Hold>>()
  let last = 0

  function drop (sender: PeerIdStr, hold: Hold): void {
    init.store.unpin(hold.owner)
    const holds = bySender.get(sender)
    holds?.delete(hold)
    if (holds?.size === 0) bySender.delete(sender)
  }

  function expire (): void {
    const nowMs = init.nowMs()
    for (const [sender, holds] of bySender) {
      for (const hold of holds) {
        if (hold.untilMs > nowMs) break
        drop(sender, hold)
      }
    }
  }

  return {
    expire,

    judge (sender, bytes) {
      expire()
      const holds = bySender.get(sender) ?? new Set()
      let held = 0
      for (const hold of holds) held += hold.bytes
      if (held + bytes > init.maxBytesPerSender || holds.size >= MAX_HOLDS) {
        return new ConclaveError('PUT_QUOTA', `${held} bytes are kept for this sender already, at most ${init.maxBytesPerSender} at the same time`)
      }
      if (bytes > init.store.room()) return new ConclaveError('BLOCK_STORE_FULL', 'what running jobs need fills the block store')
      return undefined
    },

    take (sender, cids, bytes) {
      const hold: Hold = { owner: `held/${sender}/${++last}`, bytes, untilMs: init.nowMs() + init.holdMs }
      let holds = bySender.get(sender)
      if (holds === undefined) {
        holds = new Set()
        bySender.set(sender, holds)
      }
      holds.add(hold)
      for (const cid of cids) init.store.pin(cid, hold.owner)
      return { drop: () => { drop(sender, hold) } }
    }
  }
}
