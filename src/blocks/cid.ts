/**
 * The CIDs that we make and let in: version 1, sha2-256, raw or dag-pb. Text (`b…`, base32) in code, 36 bytes on the wire.
 * Sources: https://github.com/multiformats/cid, https://github.com/multiformats/multicodec
 */
import { hash } from 'node:crypto'
import { decode as decodePb } from '@ipld/dag-pb'
import { base32 } from 'multiformats/bases/base32'
import { accept, reject } from '../../keys/verdict.ts'
import type { Verdict } from '../../keys/verdict.ts'

/** Base32 text of a CIDv1, 59 characters. */
export type CidStr = string

export type Codec = 'raw' | 'dag-pb'

/** Bytes of a CID of ours. */
export const CID_BYTES = 36

/** Links of one dag-pb block: what our layout makes at most (`object.ts`). */
export const MAX_LINKS = 1024

const CODES: Record<Codec, number> = { raw: 0x55, 'dag-pb': 0x70 }
const SHA2_256 = 0x12
const DIGEST_BYTES = 32
const DIGEST_AT = 4

/** The CID of a block's bytes. */
export function cidOf (bytes: Uint8Array, codec: Codec = 'raw'): CidStr {
  const cid = new Uint8Array(CID_BYTES)
  cid.set([1, CODES[codec], SHA2_256, DIGEST_BYTES])
  cid.set(hash('sha256', bytes, 'buffer'), DIGEST_AT)
  return base32.encode(cid)
}

/** Whether these are the bytes that the CID names. */
export function isBlockOf (cid: CidStr, bytes: Uint8Array): boolean {
  return Buffer.compare(hash('sha256', bytes, 'buffer'), base32.decode(cid).subarray(DIGEST_AT)) === 0
}

/** The text of CID bytes, or undefined where they are no CID of ours: other versions, codecs and hashes (identity too) are not let in. */
export function cidText (bytes: Uint8Array): CidStr | undefined {
  const isOurs = bytes.length === CID_BYTES && bytes[0] === 1 && (bytes[1] === CODES.raw || bytes[1] === CODES['dag-pb']) &&
    bytes[2] === SHA2_256 && bytes[3] === DIGEST_BYTES
  return isOurs ? base32.encode(bytes) : undefined
}

/** Whether this text is a CID of ours in its one canonical spelling, and so safe as a file name. */
export function isCid (text: string): boolean {
  if (text.length !== 59 || !/^b[a-z2-7]{58}$/.test(text)) return false
  const bytes = base32.decode(text)
  return cidText(bytes) === text
}

/**
 * @param cid - one that `isCid` accepts
 * @returns its 36 bytes
 */
export function cidBytes (cid: CidStr): Uint8Array<ArrayBuffer> {
  return new Uint8Array(base32.decode(cid))
}

/** The codec of a CID that `isCid` accepts. */
export function codecOf (cid: CidStr): Codec {
  // `bafkrei…` is raw and `bafybei…` dag-pb: the first bytes decide the first characters.
  return cid.startsWith('bafybei') ? 'dag-pb' : 'raw'
}

/**
 * The blocks that a block links to, in order; a raw block links to none.
 *
 * @param bytes - checked to be the block of `cid`
 * @returns `reject` BLOCK_MALFORMED where dag-pb does not decode, BLOCK_UNSUPPORTED where a link is no CID of ours or there
 *   are more than MAX_LINKS
 */
export function linksOf (cid: CidStr, bytes: Uint8Array): Verdict<CidStr[]> {
  if (codecOf(cid) === 'raw') return accept([])
  let links: CidStr[]
  try {
    links = decodePb(bytes).Links.map(link => cidText(link.Hash.bytes) ?? '')
  } catch (error) {
    return reject('BLOCK_MALFORMED', `block ${cid} is not dag-pb: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (links.length > MAX_LINKS) return reject('BLOCK_UNSUPPORTED', `block ${cid} has ${links.length} links, at most ${MAX_LINKS} are let in`)
  return links.includes('') ? reject('BLOCK_UNSUPPORTED', `block ${cid} links to something that is not a sha2-256 CIDv1, raw or dag-pb`) : accept(links)
}
