/**
 * The asking side of `/conclave/blocks/1` towards one peer: wants of all transfers are put together into requests, on at most two streams
 * that stay open for a while.
 */
import { ConclaveError } from '../errors.ts'
import { decodeReply, encodeRequest } from './messages.ts'
import type { Reply, Request } from './messages.ts'
import { isBad } from './serve.ts'
import type { CidStr } from './cid.ts'
import type { Gate } from './gate.ts'
import type { Session } from './session.ts'
import type { BlockStore } from './store.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

const STREAMS_PER_PEER = 2
/** Blocks of one request: enough that a round trip does not count, few enough that others share the work. */
const BATCH_BLOCKS = 32
/** Blocks that are being written to the disk while the next one is read. */
const WRITES_AT_ONCE = 4
/** Shorter than the other side's patience with an idle stream. */
const IDLE_MS = 10_000

export interface WireInit {
  peer: PeerIdStr
  store: BlockStore
  open: (signal: AbortSignal) => Promise<Session>
  /** bounds the requests made at once, over all peers */
  gate: Gate
  stallMs: number
  /** wants and puts that wait for their turn; past it BLOCKS_BUSY */
  maxQueued: number
  onBadBlock: (event: { sender: PeerIdStr, cid: CidStr }) => void
}

export interface Wire {
  /**
   * Fetch one block into the store.
   *
   * @returns `missing` where the peer says that it does not have it
   * @throws BLOCK_BAD, PEER_REFUSED {code}, BLOCKS_STALLED, BLOCKS_PROTOCOL, BLOCKS_BUSY, the overlay's codes; codes of our own store; the signal's reason
   */
  want (cid: CidStr, signal: AbortSignal): Promise<'stored' | 'missing'>
  /** Have the peer keep up to MAX_CIDS blocks of ours, durably. @throws PEER_REFUSED {code}; as `want` */
  put (cids: CidStr[], signal: AbortSignal): Promise<void>
  /** wants that wait or are under way */
  readonly load: number
  stop (error: Error): void
}

interface Wanted { cid: CidStr, isOver: boolean, resolve: (result: 'stored' | 'missing') => void, reject: (error: Error) => void }
interface Turn { run: (session: Session) => Promise<void>, fail: (error: Error) => void, isOver: () => boolean }

export function createWire (init: WireInit): Wire {
  const wants = new Set<Wanted>()
  const puts = new Set<Turn>()
  const stopping = new AbortController()
  /** ends the idle wait of a stream */
  const idle = new Set<() => void>()
  let streams = 0
  let underway = 0

  function takeTurn (): Turn | undefined {
    const [put] = puts
    if (put !== undefined) {
      puts.delete(put)
      return put
    }
    if (wants.size === 0) return undefined
    const batch: Wanted[] = []
    for (const wanted of wants) {
      if (batch.length === BATCH_BLOCKS) break
      wants.delete(wanted)
      batch.push(wanted)
    }
    underway += batch.length
    const leave = (): void => { underway -= batch.length }
    return {
      run: async session => { await requestBlocks(init, session, batch); leave() },
      fail: error => { leave(); for (const wanted of batch) wanted.reject(error) },
      isOver: () => batch.every(wanted => wanted.isOver)
    }
  }

  /** One stream: a turn after another; it waits a while for more before it closes. */
  async function runStream (): Promise<void> {
    let session: Session | undefined
    for (let turn = takeTurn(); turn !== undefined; turn = takeTurn() ?? await waitForTurn()) session = await runTurn(turn, session)
    await session?.close()
  }

  /** @returns the session, where it can be used again */
  async function runTurn (turn: Turn, reused: Session | undefined): Promise<Session | undefined> {
    let session = reused
    const received = reused?.received
    try {
      const opened = session ??= await init.open(stopping.signal)
      await init.gate.run(async () => { await turn.run(opened) }, stopping.signal)
      return session
    } catch (error) {
      session?.fail(error as Error)
      // A stream that died while it was idle says nothing about the peer: once more, on a new one.
      const isStale = reused !== undefined && reused.received === received
      if (isStale && !turn.isOver() && !stopping.signal.aborted) return await runTurn(turn, undefined)
      turn.fail(error as Error)
      return undefined
    }
  }

  async function waitForTurn (): Promise<Turn | undefined> {
    if (stopping.signal.aborted) return undefined
    await new Promise<void>(resolve => {
      const wake = (): void => { clearTimeout(timer); idle.delete(wake); resolve() }
      const timer = setTimeout(wake, IDLE_MS).unref()
      idle.add(wake)
    })
    return takeTurn()
  }

  function wake (): void {
    const [waiting] = idle
    if (waiting !== undefined) {
      waiting()
    } else if (streams < STREAMS_PER_PEER) {
      streams++
      // A stream's own failures have gone to those whose turn it was; closing one that is gone tells nobody anything.
      const over = (): void => { streams--; if (wants.size + puts.size > 0) wake() }
      runStream().then(over, over)
    }
  }

  /** @throws BLOCKS_BUSY, the signal's reason */
  function enqueue (signal: AbortSignal): void {
    signal.throwIfAborted()
    stopping.signal.throwIfAborted()
    if (wants.size + puts.size >= init.maxQueued) throw new ConclaveError('BLOCKS_BUSY', `${init.maxQueued} blocks wait for ${init.peer} already`, { next: 'Try again in a moment.' })
  }

  return {
    async want (cid, signal) {
      enqueue(signal)
      return await new Promise((resolve, reject) => {
        const settle = (): void => { wanted.isOver = true; signal.removeEventListener('abort', abort) }
        const wanted: Wanted = {
          cid,
          isOver: false,
          resolve: result => { settle(); resolve(result) },
          reject: error => { settle(); reject(error) }
        }
        const abort = (): void => { wants.delete(wanted); wanted.reject(signal.reason as Error) }
        signal.addEventListener('abort', abort, { once: true })
        wants.add(wanted)
        wake()
      })
    },

    async put (cids, signal) {
      enqueue(signal)
      await new Promise<void>((resolve, reject) => {
        let current: Session | undefined
        const turn: Turn = {
          run: async session => { current = session; await sendBlocks(init, session, cids); over(); resolve() },
          fail: error => { over(); reject(error) },
          isOver: () => signal.aborted
        }
        const abort = (): void => { puts.delete(turn); turn.fail(signal.reason as Error); current?.fail(signal.reason as Error) }
        const over = (): void => { signal.removeEventListener('abort', abort) }
        signal.addEventListener('abort', abort, { once: true })
        puts.add(turn)
        wake()
      })
    },

    get load () { return wants.size + underway },

    stop (error) {
      stopping.abort(error)
      for (const wanted of wants) wanted.reject(error)
      wants.clear()
      for (const put of puts) put.fail(error)
      puts.clear()
      for (const end of idle) end()
    }
  }
}

async function ask (init: WireInit, session: Session, request: Request): Promise<Reply> {
  await session.writeFrame(encodeRequest(request))
  return await readReply(init, session)
}

/** @throws PEER_REFUSED {code} where the reply says no */
async function readReply (init: WireInit, session: Session, waitMs = init.stallMs): Promise<Reply> {
  const frame = await session.readFrame(waitMs)
  if (frame === undefined) throw new ConclaveError('STREAM_CLOSED', `${init.peer} ended the stream instead of an answer`)
  const reply = decodeReply(frame)
  if (reply.verdict !== 'accept') throw new ConclaveError('BLOCKS_PROTOCOL', `${init.peer}: ${reply.reason}`)
  if (reply.value.code === '') return reply.value
  throw new ConclaveError('PEER_REFUSED', `${init.peer} refused: ${reply.value.message} (${reply.value.code})`, { details: { peer: init.peer, code: reply.value.code } })
}

/** Every want of the batch is settled when this resolves; when it throws, the rest is still open. */
async function requestBlocks (init: WireInit, session: Session, batch: Wanted[]): Promise<void> {
  const open = new Map(batch.filter(wanted => !wanted.isOver).map(wanted => [wanted.cid, wanted]))
  if (open.size === 0) return
  await ask(init, session, { kind: 'want', cids: [...open.keys()] })
  const writing = new Set<Promise<void>>()
  try {
    for await (const { cid, block } of session.readCar()) {
      const wanted = open.get(cid)
      if (wanted === undefined) throw new ConclaveError('BLOCKS_PROTOCOL', `${init.peer} sent a block that was not asked for, or sent it twice`)
      open.delete(cid)
      const written = storeBlock(init, session, wanted, block).finally(() => { writing.delete(written) })
      writing.add(written)
      if (writing.size >= WRITES_AT_ONCE) await Promise.race(writing)
      if (open.size > 0 && [...open.values()].every(other => other.isOver)) throw new ConclaveError('TRANSFER_ABORTED', 'nobody waits for the rest')
    }
  } finally {
    await Promise.all(writing)
  }
  const { cids } = await readReply(init, session)
  for (const cid of cids) {
    open.get(cid)?.resolve('missing')
    open.delete(cid)
  }
  if (open.size > 0) throw new ConclaveError('BLOCKS_PROTOCOL', `${init.peer} neither sent ${open.size} blocks nor said that it does not have them`)
}

/** Settles the want. A wrong block ends the session: whatever else this peer sends is asked for elsewhere. */
async function storeBlock (init: WireInit, session: Session, wanted: Wanted, block: Uint8Array): Promise<void> {
  try {
    await init.store.put(block, { expect: wanted.cid })
    wanted.resolve('stored')
  } catch (error) {
    if (!isBad(error)) {
      wanted.reject(error as Error)
      return
    }
    const { peer: sender } = init
    init.onBadBlock({ sender, cid: wanted.cid })
    const bad = new ConclaveError('BLOCK_BAD', `${sender} sent wrong bytes for block ${wanted.cid}`, { cause: error, details: { sender, cid: wanted.cid } })
    wanted.reject(bad)
    session.fail(bad)
  }
}

async function sendBlocks (init: WireInit, session: Session, cids: CidStr[]): Promise<void> {
  let bytes = 0
  for (const cid of cids) bytes += init.store.stat(cid)?.bytes ?? 0
  const { cids: wanted } = await ask(init, session, { kind: 'put', cids, bytes })
  if (wanted.some(cid => !cids.includes(cid))) throw new ConclaveError('BLOCKS_PROTOCOL', `${init.peer} asked for blocks that were not offered`)
  async function * blocks (): AsyncGenerator<{ cid: CidStr, block: Uint8Array }> {
    for (const cid of wanted) {
      const block = await init.store.get(cid)
      if (block === undefined) throw new ConclaveError('BLOCK_MISSING', `block ${cid} is no longer here`, { details: { cid } })
      yield { cid, block }
    }
  }
  if (wanted.length === 0) {
    await readReply(init, session)
    return
  }
  // A refusal may come while we send (a full disk there): then nobody reads the rest.
  const done = readReply(init, session, init.stallMs * (1 + wanted.length))
  const sent = session.writeCar(blocks())
  const first = await Promise.race([sent.then(() => 'sent'), done.then(() => 'answered')]).catch((error: unknown) => { session.fail(error as Error); throw error })
  if (first === 'answered') await sent
  await done
}
