/**
 * The answering side of `/conclave/blocks/1`: one stream, one request after another.
 */
import { ConclaveError } from '../errors.ts'
import { decodeRequest, encodeReply } from './messages.ts'
import type { Reply, Request } from './messages.ts'
import type { CidStr } from './cid.ts'
import type { Gate } from './gate.ts'
import type { Holds } from './holds.ts'
import type { Session } from './session.ts'
import type { BlockStore } from './store.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

/** Blocks of one put that are being written to the disk while the next one is read. */
const WRITES_AT_ONCE = 4

export interface ServeInit {
  store: BlockStore
  /** bounds the requests served at once, over all streams */
  gate: Gate
  holds: Holds
  /** a stream without a request for this long is ended */
  idleMs: number
  onBadBlock: (event: { sender: PeerIdStr, cid: CidStr }) => void
}

/**
 * Serve one stream until the peer ends it.
 *
 * @throws what ended the session otherwise
 */
export async function serveSession (init: ServeInit, session: Session, from: PeerIdStr): Promise<void> {
  for (;;) {
    const frame = await session.readFrame(init.idleMs)
    if (frame === undefined) return
    const request = decodeRequest(frame)
    if (request.verdict !== 'accept') {
      await session.writeFrame(encodeReply({ code: request.code, message: request.reason }))
      throw new ConclaveError(request.code, request.reason)
    }
    const refusal = await attempt(async () => { await init.gate.run(async () => { await answer(init, session, from, request.value) }) })
    if (refusal !== undefined) await session.writeFrame(encodeReply(refusal))
  }
}

/** An own failure that the peer is told of, after which the stream goes on. */
class Refusal extends Error {
  readonly reply: Partial<Reply>
  constructor (reply: Partial<Reply>) {
    super(reply.code)
    this.reply = reply
  }
}

async function attempt (work: () => Promise<void>): Promise<Partial<Reply> | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    if (error instanceof Refusal) return error.reply
    // The gate is the only one to say so before anything was written.
    if (error instanceof ConclaveError && error.code === 'BLOCKS_BUSY') return { code: error.code, message: error.message }
    throw error
  }
}

async function answer (init: ServeInit, session: Session, from: PeerIdStr, request: Request): Promise<void> {
  if (request.kind === 'want') await sendBlocks(init.store, session, request.cids)
  else await takeBlocks(init, session, from, request)
}

async function sendBlocks (store: BlockStore, session: Session, cids: CidStr[]): Promise<void> {
  const missing: CidStr[] = []
  // A block that cannot be read is as good as missing for the peer; the store has told our own log why.
  const read = async (cid: CidStr | undefined): Promise<Uint8Array | undefined> => {
    if (cid === undefined) return undefined
    try { return await store.get(cid) } catch (error) {
      if (error instanceof ConclaveError) return undefined
      throw error
    }
  }
  async function * found (): AsyncGenerator<{ cid: CidStr, block: Uint8Array }> {
    let next = read(cids[0])
    for (let i = 0; i < cids.length; i++) {
      const cid = cids[i]!
      const block = await next
      // Read the next one from the disk while this one goes out.
      next = read(cids[i + 1])
      if (block === undefined) missing.push(cid)
      else yield { cid, block }
    }
  }
  await session.writeFrame(encodeReply({}))
  await session.writeCar(found())
  await session.writeFrame(encodeReply({ cids: missing }))
}

async function takeBlocks (init: ServeInit, session: Session, from: PeerIdStr, request: Request & { kind: 'put' }): Promise<void> {
  const { store, holds } = init
  const refused = holds.judge(from, request.bytes)
  if (refused !== undefined) throw new Refusal({ code: refused.code, message: refused.message })
  const hold = holds.take(from, request.cids, request.bytes)
  try {
    const wanted = new Set<CidStr>()
    for (const cid of request.cids) if (!await isDurablyStored(store, cid)) wanted.add(cid)
    await session.writeFrame(encodeReply({ cids: [...wanted] }))
    if (wanted.size > 0) await storeCar(init, session, from, wanted, request.bytes)
  } catch (error) {
    hold.drop()
    if (!(error instanceof ConclaveError) || !OWN_FAILURES.has(error.code)) throw error
    // The peer is still sending: it listens for this while it does, and ends the stream.
    await session.writeFrame(encodeReply({ code: error.code, message: error.message }))
    throw error
  }
  await session.writeFrame(encodeReply({}))
}

/** Failures of this node's own store, which the peer is told of. */
export const OWN_FAILURES: ReadonlySet<string> = new Set(['BLOCK_STORE_FULL', 'DISK_FULL', 'BLOCK_IO', 'BLOCKS_BUSY', 'BLOCK_STORE_CLOSED'])

async function isDurablyStored (store: BlockStore, cid: CidStr): Promise<boolean> {
  const bytes = await store.get(cid)
  if (bytes === undefined) return false
  await store.put(bytes, { expect: cid, durable: true })
  return true
}

/** A few are written while the next is read, so that their fsyncs share the disk's time. */
async function storeCar (init: ServeInit, session: Session, from: PeerIdStr, wanted: Set<CidStr>, maxBytes: number): Promise<void> {
  const writing = new Set<Promise<void>>()
  let failure: unknown
  let bytes = 0
  const store = async (cid: CidStr, block: Uint8Array): Promise<void> => {
    try {
      await init.store.put(block, { expect: cid, durable: true })
    } catch (error) {
      if (isBad(error)) init.onBadBlock({ sender: from, cid })
      failure ??= error
    }
  }
  try {
    for await (const { cid, block } of session.readCar()) {
      bytes += block.length
      if (!wanted.delete(cid) || bytes > maxBytes) throw new ConclaveError('BLOCKS_PROTOCOL', `${from} sent more than it announced, or the same block twice`)
      const written = store(cid, block).finally(() => { writing.delete(written) })
      writing.add(written)
      if (writing.size >= WRITES_AT_ONCE) await Promise.race(writing)
      if (failure !== undefined) throw failure
    }
  } finally {
    await Promise.all(writing)
  }
  if (failure !== undefined) throw failure
  if (wanted.size > 0) throw new ConclaveError('BLOCKS_PROTOCOL', `${from} did not send what it announced`)
}

/** Whether a `put` failed because of the bytes themselves. */
export function isBad (error: unknown): boolean {
  return error instanceof ConclaveError && (error.code === 'BLOCK_BAD' || error.code === 'BLOCK_MALFORMED' || error.code === 'BLOCK_UNSUPPORTED')
}
