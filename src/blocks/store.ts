/**
 * Content-addressed blocks as plain files named by their CIDs, in 32 folders. What is read is checked: a block is right or absent.
 *
 *     <dir>/<next-to-last character of the CID>/<CID>
 *     <dir>/tmp/          being written
 *     <dir>/quarantine/   did not match their CIDs; the latest few, for whoever wants to know why
 *
 * A directory belongs to one store of one process: the node's lock on its data directory sees to that.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import { ConclaveError } from '../errors.ts'
import { createBudget } from './budget.ts'
import type { Budget, StoredBlock } from './budget.ts'
import { cidOf, codecOf, isBlockOf, isCid, linksOf } from './cid.ts'
import type { CidStr, Codec } from './cid.ts'
import { createBlockFiles, diskError, syncDirectory } from './disk.ts'
import { createGate } from './gate.ts'
import type { LogEvent } from '../overlay/overlay.ts'

/** No block is larger; larger objects are DAGs of blocks (`object.ts`). */
export const MAX_BLOCK_BYTES = 1 << 20

const SHARDS = 'abcdefghijklmnopqrstuvwxyz234567'
const MAX_QUARANTINED = 16
const MAX_WRITES = 16
const MAX_READS = 32
const MAX_WAITING = 4096

export interface BlockStoreInit {
  /** of all blocks together; past it the least recently used unpinned ones go, and where that is not enough: BLOCK_STORE_FULL */
  maxBytes: number
  /** number of blocks, same rule; default 1,000,000 (some 200 bytes of memory each) */
  maxCount?: number
  /** `block:quarantine` when a stored block did not match its CID */
  log?: (event: LogEvent) => void
}

export interface PutOptions {
  /** default raw */
  codec?: Codec
  /** the CID that the bytes must have, instead of `codec`; else BLOCK_BAD */
  expect?: CidStr
  /** resolves once it survives a power cut: for everything that is then acknowledged; default false */
  durable?: boolean
}

export interface BlockStore {
  /**
   * Store a block; cheap where it is there already. The caller must not change `bytes` until it resolves.
   *
   * @throws BLOCK_TOO_LARGE, BLOCK_BAD, BLOCK_MALFORMED, BLOCK_UNSUPPORTED, BLOCK_STORE_FULL, DISK_FULL, BLOCK_IO, BLOCKS_BUSY, BLOCK_STORE_CLOSED
   */
  put (bytes: Uint8Array, options?: PutOptions): Promise<CidStr>
  /**
   * The block, compared with its CID. One that does not match is quarantined, logged and from then on absent.
   *
   * @returns undefined where it is absent. @throws BLOCK_IO, BLOCKS_BUSY
   */
  get (cid: CidStr): Promise<Uint8Array | undefined>
  /** Whether it is listed here; its bytes may turn out to be wrong. */
  has (cid: CidStr): boolean
  /** What `has` knows: its size, and what it links to. */
  stat (cid: CidStr): { bytes: number, links: readonly CidStr[] } | undefined
  /** Whether it is here and right: read only where its bytes were not compared since the start. @throws as `get` */
  check (cid: CidStr): Promise<boolean>
  /** Pinned or not. No error where it is absent. */
  delete (cid: CidStr): Promise<void>
  /**
   * Never evicted, nor anything that it links to, until every owner has let go of it. Before or after `put`; idempotent. In memory only:
   * whoever needs blocks pins them again after a start.
   */
  pin (cid: CidStr, owner: string): void
  /** Everything that this owner pinned. Idempotent. */
  unpin (owner: string): void
  usage (): { bytes: number, count: number, maxBytes: number }
  /** Bytes that could be stored now, evictions included. */
  room (): number
  /** Resolves when nothing is being written; every `put` after it is refused. Idempotent. */
  close (): Promise<void>
}

/**
 * @param dir - created (0700) where absent
 * @throws DISK_FULL, BLOCK_IO
 */
export async function openBlockStore (dir: string, init: BlockStoreInit): Promise<BlockStore> {
  const budget = createBudget({ maxBytes: init.maxBytes, maxCount: init.maxCount ?? 1_000_000 })
  try {
    await prepare(dir)
    await list(dir, budget)
  } catch (error) {
    throw diskError(error, 'open', dir)
  }
  return createStore(dir, init, budget)
}

function createStore (dir: string, init: BlockStoreInit, budget: Budget): BlockStore {
  const files = createBlockFiles(path.join(dir, 'tmp'))
  const writes = createGate('block writes', MAX_WRITES, MAX_WAITING)
  const reads = createGate('block reads', MAX_READS, MAX_WAITING)
  const exclusive = createLocks()
  const at = (cid: CidStr): string => path.join(dir, shardOf(cid), cid)
  /** evicted, but the file is still there */
  const removing = new Map<CidStr, Promise<void>>()
  /** puts that wait for room, at most MAX_WRITES */
  const waiting: Array<() => void> = []
  let isClosed = false
  let puts = 0

  /** Caller holds the lock of `cid`, which is not in the budget until the file is there. */
  async function write (cid: CidStr, bytes: Uint8Array, isDurable: boolean): Promise<void> {
    const links = linksOf(cid, bytes)
    if (links.verdict !== 'accept') throw new ConclaveError(links.code, links.reason, { details: { cid } })
    let evicted = budget.reserve(bytes.length)
    while (evicted === undefined) {
      // What is being written now can be evicted once it is there. Whoever holds a reservation never waits here.
      if (budget.reservedBytes === 0) throw full(budget, init.maxBytes)
      await new Promise<void>(resolve => { waiting.push(resolve) })
      evicted = budget.reserve(bytes.length)
    }
    try {
      for (const old of evicted) {
        budget.remove(old)
        const removed = files.remove(at(old)).finally(() => { removing.delete(old) })
        removing.set(old, removed)
      }
      // Not under the locks of the evicted: whoever holds one of them may be waiting for us. Who writes one anew waits here instead.
      await Promise.all(evicted.map(async old => await removing.get(old)))
      await removing.get(cid)
      await files.write(at(cid), bytes, isDurable)
      budget.add(cid, { bytes: bytes.length, links: links.value, isVerified: true, isDurable })
    } finally {
      budget.release(bytes.length)
      for (const retry of waiting.splice(0)) retry()
    }
  }

  /** The stored bytes if they are right; else the block is absent afterwards. */
  async function readVerified (cid: CidStr, block: StoredBlock): Promise<Uint8Array | undefined> {
    const bytes = await files.read(at(cid))
    if (bytes !== undefined && isBlockOf(cid, bytes)) {
      block.isVerified = true
      return bytes
    }
    return undefined
  }

  /** Caller holds the lock. */
  async function quarantine (cid: CidStr, block: StoredBlock): Promise<void> {
    // Another reader saw it first, or it has been written anew since: that file is not the bad one.
    if (budget.get(cid) !== block) return
    budget.remove(cid)
    if (await files.read(at(cid)) === undefined) {
      init.log?.({ level: 'warn', event: 'block:lost', message: 'a block file is gone from under the store', cid })
      return
    }
    const folder = path.join(dir, 'quarantine')
    await files.move(at(cid), path.join(folder, cid))
    const others = (await fs.readdir(folder)).filter(name => name !== cid)
    for (const old of others.slice(0, Math.max(0, others.length - MAX_QUARANTINED + 1))) await files.remove(path.join(folder, old))
    init.log?.({ level: 'error', event: 'block:quarantine', message: 'a stored block does not match its CID: check this disk', cid, folder })
  }

  async function store (cid: CidStr, bytes: Uint8Array, isDurable: boolean): Promise<void> {
    const owner = `put/${++puts}`
    budget.pin(cid, owner)
    try {
      const known = budget.get(cid)
      if (known === undefined) {
        await write(cid, bytes, isDurable)
      } else if (!known.isVerified && await readVerified(cid, known) === undefined) {
        await quarantine(cid, known)
        await write(cid, bytes, isDurable)
      } else if (isDurable && !known.isDurable) {
        await files.sync(at(cid))
        known.isDurable = true
      }
      budget.touch(cid)
    } finally {
      budget.unpin(owner)
    }
  }

  async function get (cid: CidStr): Promise<Uint8Array | undefined> {
    const block = budget.get(cid)
    if (block === undefined) return undefined
    budget.touch(cid)
    const bytes = await reads.run(async () => await readVerified(cid, block))
    if (bytes === undefined) await exclusive(cid, async () => { await quarantine(cid, block) })
    return bytes
  }

  return {
    async put (bytes, options = {}) {
      const { codec = 'raw', expect, durable = false } = options
      if (isClosed) throw new ConclaveError('BLOCK_STORE_CLOSED', 'this node is stopping')
      if (bytes.length > MAX_BLOCK_BYTES) throw new ConclaveError('BLOCK_TOO_LARGE', `a block has at most ${MAX_BLOCK_BYTES} bytes, this one ${bytes.length}`)
      if (expect !== undefined && !isBlockOf(expect, bytes)) throw new ConclaveError('BLOCK_BAD', `these bytes are not block ${expect}`, { details: { cid: expect } })
      const cid = expect ?? cidOf(bytes, codec)
      const known = budget.get(cid)
      if (known?.isVerified === true && (!durable || known.isDurable)) {
        budget.touch(cid)
        return cid
      }
      await exclusive(cid, async () => await writes.run(async () => { await store(cid, bytes, durable) }))
      return cid
    },

    get,
    has: cid => budget.get(cid) !== undefined,
    stat: cid => budget.get(cid),

    async check (cid) {
      if (budget.get(cid)?.isVerified !== true) return await get(cid) !== undefined
      budget.touch(cid)
      return true
    },

    async delete (cid) {
      await exclusive(cid, async () => {
        budget.remove(cid)
        if (isCid(cid)) await files.remove(at(cid))
      })
    },

    pin: budget.pin,
    unpin: budget.unpin,
    usage: () => ({ bytes: budget.bytes, count: budget.count, maxBytes: init.maxBytes }),
    room: () => Math.max(0, init.maxBytes - budget.heldBytes),

    async close () {
      isClosed = true
      await exclusive.idle()
    }
  }
}

function full (budget: Budget, maxBytes: number): ConclaveError {
  return new ConclaveError('BLOCK_STORE_FULL', `the block store holds ${budget.bytes} of ${maxBytes} bytes, and running jobs need ${budget.heldBytes} of them`,
    { next: 'Wait for a running job to end or cancel one (conclave jobs, conclave cancel JOB), or give this node a larger block store.',
      details: { bytes: budget.bytes, heldBytes: budget.heldBytes, count: budget.count, maxBytes } })
}

/** 32 folders: the next-to-last character is evenly spread, the last one carries 3 bits only. */
const shardOf = (cid: CidStr): string => cid.at(-2) ?? ''

async function prepare (dir: string): Promise<void> {
  await fs.mkdir(dir, { recursive: true, mode: 0o700 })
  await fs.rm(path.join(dir, 'tmp'), { recursive: true, force: true })
  for (const name of ['tmp', 'quarantine', ...SHARDS]) await fs.mkdir(path.join(dir, name), { recursive: true, mode: 0o700 })
  await syncDirectory(dir)
  await syncDirectory(path.dirname(dir))
}

/** Enter what is on the disk, oldest first: how it was used before this start is not known. */
async function list (dir: string, budget: Budget): Promise<void> {
  const found: { cid: CidStr, bytes: number, mtimeMs: number }[] = []
  for (const shard of SHARDS) {
    const names = (await fs.readdir(path.join(dir, shard))).filter(name => isCid(name) && shardOf(name) === shard)
    for (let from = 0; from < names.length; from += MAX_READS) {
      const stats = await Promise.all(names.slice(from, from + MAX_READS).map(async cid => ({ cid, stat: await fs.stat(path.join(dir, shard, cid)) })))
      for (const { cid, stat } of stats) {
        if (stat.isFile()) found.push({ cid, bytes: stat.size, mtimeMs: stat.mtimeMs })
      }
    }
  }
  found.sort((a, b) => a.mtimeMs - b.mtimeMs)
  for (const { cid, bytes } of found) budget.add(cid, { bytes, links: await linksOnDisk(dir, cid, bytes), isVerified: false, isDurable: false })
}

/** None where the block is wrong: `get` will find that out. */
async function linksOnDisk (dir: string, cid: CidStr, bytes: number): Promise<CidStr[]> {
  if (codecOf(cid) === 'raw' || bytes > MAX_BLOCK_BYTES) return []
  const links = linksOf(cid, await fs.readFile(path.join(dir, shardOf(cid), cid)))
  return links.verdict === 'accept' ? links.value : []
}

interface Locks {
  /** One after another per key, in order of the calls. */
  <T>(key: string, work: () => Promise<T>): Promise<T>
  /** Resolves when nothing holds or waits for a lock. */
  idle (): Promise<void>
}

function createLocks (): Locks {
  const last = new Map<string, Promise<unknown>>()

  async function exclusive <T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = last.get(key)
    const own = before === undefined ? work() : before.then(work, work)
    last.set(key, own)
    try { return await own } finally { if (last.get(key) === own) last.delete(key) }
  }

  async function idle (): Promise<void> {
    while (last.size > 0) await Promise.allSettled(last.values())
  }

  return Object.assign(exclusive, { idle })
}
