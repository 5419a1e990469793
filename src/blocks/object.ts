/**
 * Objects: one raw block up to 1 MiB, beyond that a UnixFS DAG of 1 MiB raw leaves with at most 1,024 links a node.
 * The CID equals that of `ipfs add` with the profile `unixfs-v1-2025`.
 * Sources: https://github.com/ipfs/specs/pull/499 (IPIP-499), https://specs.ipfs.tech/unixfs/
 */
import { exporter } from 'ipfs-unixfs-exporter'
import { importBytes } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import { ConclaveError } from '../errors.ts'
import { codecOf, isCid } from './cid.ts'
import type { CidStr } from './cid.ts'
import { MAX_BLOCK_BYTES } from './store.ts'
import type { BlockStore } from './store.ts'

/** Default limit of one object: twice the largest input or output of a task (`TASK_LIMITS`). */
export const MAX_OBJECT_BYTES = 128 << 20

/** Leaves that are hashed and written at once; bounds what a large object holds in the disk's queue. */
const LEAVES_AT_ONCE = 8

export interface PutObjectOptions {
  /** resolves once all of it survives a power cut; default false */
  durable?: boolean
  /** pins every block for this owner before it is written, so that none is evicted by the next */
  owner?: string
  /** default MAX_OBJECT_BYTES */
  maxBytes?: number
}

/**
 * Store an object. The caller must not change `bytes` until it resolves.
 *
 * @returns the CID of its root, and its size
 * @throws OBJECT_TOO_LARGE; the codes of `BlockStore.put`
 */
export async function putObject (store: BlockStore, bytes: Uint8Array, options: PutObjectOptions = {}): Promise<{ cid: CidStr, bytes: number }> {
  const { durable = false, owner, maxBytes = MAX_OBJECT_BYTES } = options
  if (bytes.length > maxBytes) throw tooLarge(`this object has ${bytes.length} bytes`, maxBytes)
  if (bytes.length <= MAX_BLOCK_BYTES) {
    const cid = await store.put(bytes, { durable })
    if (owner !== undefined) store.pin(cid, owner)
    return { cid, bytes: bytes.length }
  }
  const active = new Set<Promise<CidStr>>()
  const put = async (cid: CID, block: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<CID> => {
    if (!(block instanceof Uint8Array)) throw new Error('invariant: the importer writes whole blocks')
    const expect = cid.toString()
    if (owner !== undefined) store.pin(expect, owner)
    const stored = store.put(block, { expect, durable }).finally(() => { active.delete(stored) })
    active.add(stored)
    await stored
    return cid
  }
  try {
    const { cid } = await importBytes(bytes, { put }, { profile: 'unixfs-v1-2025', blockWriteConcurrency: LEAVES_AT_ONCE })
    return { cid: cid.toString(), bytes: bytes.length }
  } finally {
    // After a failure others are still being written: the caller's `unpin` and its bytes have to wait for them.
    await Promise.allSettled(active)
  }
}

/**
 * Read an object whose blocks are all here.
 *
 * @param maxBytes - of the whole object; a DAG that claims or turns out to be larger is not read further
 * @returns its bytes; the caller owns them
 * @throws BLOCK_MISSING {cid}, OBJECT_TOO_LARGE, OBJECT_MALFORMED (a DAG that is no file); the codes of `BlockStore.get`
 */
export async function getObject (store: BlockStore, cid: CidStr, maxBytes: number = MAX_OBJECT_BYTES): Promise<Uint8Array> {
  if (!isCid(cid)) throw new ConclaveError('OBJECT_MALFORMED', `${JSON.stringify(cid.slice(0, 80))} is not a CID of ours`)
  const get = async (wanted: CidStr): Promise<Uint8Array> => {
    const bytes = await store.get(wanted)
    if (bytes === undefined) throw missing(wanted, cid)
    return bytes
  }
  if (codecOf(cid) === 'raw') {
    const bytes = await get(cid)
    if (bytes.length > maxBytes) throw tooLarge(`object ${cid} has ${bytes.length} bytes`, maxBytes)
    return bytes
  }
  try {
    const entry = await exporter(cid, { get: async function * (link: CID) { yield await get(link.toString()) } })
    if (entry.type !== 'file') throw malformed(cid, `it is a ${entry.type}`)
    if (entry.size > BigInt(maxBytes)) throw tooLarge(`object ${cid} has ${entry.size} bytes`, maxBytes)
    const whole = new Uint8Array(Number(entry.size))
    let at = 0
    for await (const part of entry.content()) {
      if (at + part.length > whole.length) throw malformed(cid, 'it holds more than it says')
      whole.set(part, at)
      at += part.length
    }
    if (at !== whole.length) throw malformed(cid, 'it holds less than it says')
    return whole
  } catch (error) {
    if (error instanceof ConclaveError) throw error
    throw malformed(cid, error instanceof Error ? error.message : String(error), error)
  }
}

function missing (cid: CidStr, object: CidStr): ConclaveError {
  return new ConclaveError('BLOCK_MISSING', cid === object ? `block ${cid} is not here` : `block ${cid} of object ${object} is not here`, { details: { cid, object } })
}

function malformed (cid: CidStr, why: string, cause?: unknown): ConclaveError {
  return new ConclaveError('OBJECT_MALFORMED', `object ${cid} cannot be read: ${why}`, { cause, details: { cid } })
}

function tooLarge (what: string, maxBytes: number): ConclaveError {
  return new ConclaveError('OBJECT_TOO_LARGE', `${what}, at most ${maxBytes} are taken`, { details: { maxBytes } })
}
