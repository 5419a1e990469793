/**
 * Moving blocks between members: fetch what is missing from whoever holds it, push copies, serve others. Spec: protocols/blocks/README.md
 */
import { ConclaveError } from '../errors.ts'
import { isCid } from './cid.ts'
import type { CidStr } from './cid.ts'
import { createGate } from './gate.ts'
import { createHolds } from './holds.ts'
import { BLOCKS_PROTOCOL, MAX_CIDS } from './messages.ts'
import { MAX_OBJECT_BYTES } from './object.ts'
import { OWN_FAILURES, serveSession } from './serve.ts'
import { createSession, streamError } from './session.ts'
import type { Session } from './session.ts'
import type { BlockStore } from './store.ts'
import { createWire } from './wire.ts'
import type { Wire } from './wire.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { LogEvent, Overlay } from '../overlay/overlay.ts'

export interface ExchangeLimits {
  /** a peer that neither sends nor takes 64 KiB, a frame or a small block within this has failed */
  stallMs: number
  /** a stream on which nothing is asked for this long is ended by the serving side */
  idleMs: number
  /** requests served at once; past it they wait in line */
  maxServed: number
  /** the line; past it BLOCKS_BUSY is the answer */
  maxServeQueue: number
  /** requests made at once */
  maxRequests: number
  /** blocks wanted of one peer that wait; past it BLOCKS_BUSY */
  maxQueued: number
  /** blocks of one object that are asked for at once */
  fetchWindow: number
  /** of one object */
  maxObjectBlocks: number
  maxObjectBytes: number
  /** share of the block store that one sender's pushes may fill while they are held */
  maxHeldShare: number
  /** how long a pushed block is kept without a pin of our own */
  holdMs: number
}

export const EXCHANGE_LIMITS: ExchangeLimits = {
  stallMs: 10_000,
  idleMs: 30_000,
  maxServed: 16,
  maxServeQueue: 256,
  maxRequests: 16,
  maxQueued: 4096,
  fetchWindow: 64,
  maxObjectBlocks: 4096,
  maxObjectBytes: MAX_OBJECT_BYTES,
  maxHeldShare: 0.5,
  holdMs: 10 * 60_000
}

const EXPIRE_MS = 30_000

export interface ExchangeInit {
  overlay: Pick<Overlay, 'peerId' | 'openStream' | 'handleStream'>
  store: BlockStore
  limits?: Partial<ExchangeLimits>
  /** a member sent bytes that are not the block they were said to be */
  onBadBlock?: (event: { sender: PeerIdStr, cid: CidStr }) => void
  log?: (event: LogEvent) => void
}

export interface Exchange {
  /**
   * Bring a whole object here, from all these holders together; what is here already is not fetched again. While it runs, what has arrived
   * cannot be evicted; afterwards the caller's own pins hold it. Two fetches of the same blocks share one transfer.
   *
   * @param holders - in any order; ourselves among them is no harm
   * @throws BLOCK_MISSING {cid, object, tried, reasons} where no holder gave a block; OBJECT_TOO_LARGE; the codes of `BlockStore.put`; the signal's reason
   */
  fetch (cid: CidStr, holders: readonly PeerIdStr[], signal: AbortSignal): Promise<void>
  /**
   * Have a member keep a copy of a whole object of ours; resolves when it is on its disk. It keeps it for 10 minutes by itself.
   *
   * @throws PEER_REFUSED {peer, code}, BLOCK_MISSING, BLOCKS_STALLED, BLOCKS_PROTOCOL, BLOCKS_BUSY, the overlay's codes; the signal's reason
   */
  push (cid: CidStr, to: PeerIdStr, signal: AbortSignal): Promise<void>
  /** Answer others. */
  serve (): Promise<void>
  /** Ends every transfer. Idempotent. */
  stop (): void
}

/** How a block was not got: what each holder answered. */
type Tried = Map<PeerIdStr, string>

interface Transfer { result: Promise<Tried | 'stored'>, waiters: number, abort: AbortController }

export function createExchange (init: ExchangeInit): Exchange {
  const { overlay, store } = init
  const limits = { ...EXCHANGE_LIMITS, ...init.limits }
  const wires = new Map<PeerIdStr, Wire>()
  const transfers = new Map<CidStr, Transfer>()
  const requests = createGate('requests for blocks', limits.maxRequests, limits.maxQueued)
  const serving = createGate('requests served', limits.maxServed, limits.maxServeQueue)
  const holds = createHolds({ store, maxBytesPerSender: store.usage().maxBytes * limits.maxHeldShare, holdMs: limits.holdMs, nowMs: () => performance.now() })
  const stopping = new AbortController()
  let expiry: NodeJS.Timeout | undefined
  let fetches = 0

  function onBadBlock (event: { sender: PeerIdStr, cid: CidStr }): void {
    init.log?.({ level: 'warn', event: 'block:bad', message: 'a member sent bytes that are not the block they were said to be', ...event })
    init.onBadBlock?.(event)
  }

  function wireTo (peer: PeerIdStr): Wire {
    let wire = wires.get(peer)
    if (wire === undefined) {
      const open = async (signal: AbortSignal): Promise<Session> => {
        try {
          const either = AbortSignal.any([signal, AbortSignal.timeout(limits.stallMs)])
          return createSession(await overlay.openStream(peer, BLOCKS_PROTOCOL, either), limits.stallMs)
        } catch (error) {
          throw streamError(error)
        }
      }
      wire = createWire({ peer, store, open, gate: requests, stallMs: limits.stallMs, maxQueued: limits.maxQueued, onBadBlock })
      wires.set(peer, wire)
    }
    return wire
  }

  /** Ask one holder after another, the least busy first. */
  async function askHolders (cid: CidStr, holders: Iterable<PeerIdStr>, signal: AbortSignal): Promise<Tried | 'stored'> {
    const tried: Tried = new Map()
    const left = new Set(holders)
    left.delete(overlay.peerId)
    while (left.size > 0) {
      let peer: PeerIdStr | undefined
      for (const holder of left) if (peer === undefined || wireTo(holder).load < wireTo(peer).load) peer = holder
      if (peer === undefined) break
      left.delete(peer)
      try {
        if (await wireTo(peer).want(cid, signal) === 'stored') return 'stored'
        tried.set(peer, 'missing')
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof ConclaveError) || OWN_FAILURES.has(error.code)) throw error
        tried.set(peer, error.code)
      }
    }
    return tried
  }

  /** One transfer a block, however many wait for it; it ends with the last of them. */
  async function shareTransfer (cid: CidStr, holders: Iterable<PeerIdStr>, signal: AbortSignal): Promise<Tried | 'stored'> {
    let transfer = transfers.get(cid)
    if (transfer === undefined) {
      const abort = new AbortController()
      const started: Transfer = { result: askHolders(cid, holders, abort.signal), waiters: 0, abort }
      const forget = (): void => { if (transfers.get(cid) === started) transfers.delete(cid) }
      started.result.then(forget, forget)
      transfers.set(cid, started)
      transfer = started
    }
    transfer.waiters++
    try {
      return await untilAborted(transfer.result, signal)
    } finally {
      if (--transfer.waiters === 0) {
        if (transfers.get(cid) === transfer) transfers.delete(cid)
        transfer.abort.abort(new ConclaveError('TRANSFER_ABORTED', 'nobody waits for this block any longer'))
      }
    }
  }

  async function fetchBlock (cid: CidStr, object: CidStr, holders: readonly PeerIdStr[], signal: AbortSignal): Promise<void> {
    const tried: Tried = new Map()
    let left = holders.filter(holder => holder !== overlay.peerId)
    while (!await store.check(cid)) {
      // A transfer that was under way may have asked other holders than ours.
      const result = left.length === 0 ? tried : await shareTransfer(cid, left, signal)
      if (result !== 'stored') for (const [peer, why] of result) tried.set(peer, why)
      left = left.filter(holder => !tried.has(holder))
      if (result !== 'stored' && left.length === 0) {
        throw new ConclaveError('BLOCK_MISSING', `no holder gave block ${cid}: ${tried.size === 0 ? 'none is known' : [...tried].map(([peer, why]) => `${peer} ${why}`).join(', ')}`,
          { next: 'conclave peers', details: { cid, object, tried: [...tried.keys()], reasons: Object.fromEntries(tried) } })
      }
    }
  }

  /** Calls `visit` for every block of a DAG once, up to `fetchWindow` at once, children after their parent. */
  async function walk (root: CidStr, visit: (cid: CidStr) => Promise<void>): Promise<CidStr[]> {
    if (!isCid(root)) throw new ConclaveError('OBJECT_MALFORMED', `${JSON.stringify(root.slice(0, 80))} is not a CID of ours`)
    const seen = new Set([root])
    const todo = [root]
    const active = new Set<Promise<void>>()
    let bytes = 0
    const visitOne = async (cid: CidStr): Promise<void> => {
      await visit(cid)
      const stat = store.stat(cid)
      bytes += stat?.bytes ?? 0
      for (const link of stat?.links ?? []) {
        if (seen.has(link)) continue
        seen.add(link)
        todo.push(link)
      }
      if (seen.size > limits.maxObjectBlocks || bytes > limits.maxObjectBytes) {
        throw new ConclaveError('OBJECT_TOO_LARGE', `object ${root} has more than ${limits.maxObjectBlocks} blocks or ${limits.maxObjectBytes} bytes`, { details: { cid: root } })
      }
    }
    try {
      for (let next = todo.shift(); next !== undefined || active.size > 0; next = todo.shift()) {
        if (next !== undefined) {
          const visited = visitOne(next).finally(() => { active.delete(visited) })
          active.add(visited)
        }
        if (next === undefined || active.size >= limits.fetchWindow) await Promise.race(active)
      }
    } finally {
      await Promise.allSettled(active)
    }
    return [...seen]
  }

  return {
    async fetch (cid, holders, signal) {
      const owner = `fetch/${++fetches}`
      // The first failure ends the others.
      const failed = new AbortController()
      const either = AbortSignal.any([signal, stopping.signal, failed.signal])
      either.throwIfAborted()
      store.pin(cid, owner)
      try {
        await walk(cid, async link => {
          try {
            await fetchBlock(link, cid, holders, either)
          } catch (error) {
            failed.abort(error)
            throw error
          }
        })
      } catch (error) {
        throw failed.signal.aborted ? failed.signal.reason : error
      } finally {
        store.unpin(owner)
      }
    },

    async push (cid, to, signal) {
      const either = AbortSignal.any([signal, stopping.signal])
      const all = await walk(cid, async link => {
        if (!await store.check(link)) throw new ConclaveError('BLOCK_MISSING', `block ${link} of object ${cid} is not here`, { details: { cid: link, object: cid, tried: [] } })
      })
      // The root last: who has it has all of it.
      all.reverse()
      const perPut = Math.min(MAX_CIDS, limits.fetchWindow)
      for (let from = 0; from < all.length; from += perPut) await wireTo(to).put(all.slice(from, from + perPut), either)
    },

    async serve () {
      expiry = setInterval(() => { holds.expire() }, EXPIRE_MS).unref()
      await overlay.handleStream(BLOCKS_PROTOCOL, 'blocks', async (stream, ctx) => {
        const session = createSession(stream, limits.stallMs)
        const end = (): void => { session.fail(new ConclaveError('STREAM_CLOSED', 'this node or the connection is stopping')) }
        const over = AbortSignal.any([ctx.signal, stopping.signal])
        over.addEventListener('abort', end, { once: true })
        try {
          await serveSession({ store, gate: serving, holds, idleMs: limits.idleMs, onBadBlock }, session, ctx.from)
        } finally {
          over.removeEventListener('abort', end)
        }
      })
    },

    stop () {
      const error = new ConclaveError('NODE_STOPPED', 'this node is stopping')
      clearInterval(expiry)
      stopping.abort(error)
      for (const wire of wires.values()) wire.stop(error)
    }
  }
}

/** @throws the signal's reason as soon as it aborts */
async function untilAborted <T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  return await new Promise<T>((resolve, reject) => {
    const abort = (): void => { reject(signal.reason as Error) }
    const over = (): void => { signal.removeEventListener('abort', abort) }
    signal.addEventListener('abort', abort, { once: true })
    result.then(value => { over(); resolve(value) }, (error: unknown) => { over(); reject(error as Error) })
  })
}
