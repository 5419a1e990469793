/**
 * The few bytes of CAR v1 around our blocks: a header without roots, then sections `varint(36 + n) CID block`, each of them known to be
 * small before anything is allocated for it. `@ipld/car` allocates whatever a section's length says, so it only checks us in tests.
 * Source: https://ipld.io/specs/transport/car/carv1/
 */
import { decode as decodeCbor, encode as encodeCbor } from '@ipld/dag-cbor'
import { varint } from 'multiformats'
import { accept, reject } from '../../keys/verdict.ts'
import type { Verdict } from '../../keys/verdict.ts'
import { CID_BYTES, cidBytes, cidText } from './cid.ts'
import type { CidStr } from './cid.ts'
import { MAX_BLOCK_BYTES } from './store.ts'

/** Of a header; ours has 18. */
export const MAX_CAR_HEADER_BYTES = 1024
/** Of a section after its length. */
export const MAX_SECTION_BYTES = CID_BYTES + MAX_BLOCK_BYTES
/** A section of length 0: not a block, so it can say "that was all" on a stream that goes on. */
export const CAR_END = Uint8Array.of(0)

/** A length before what it counts. */
export function withLength (bytes: Uint8Array): Uint8Array {
  const head = varint.encodingLength(bytes.length)
  const whole = new Uint8Array(head + bytes.length)
  varint.encodeTo(bytes.length, whole)
  whole.set(bytes, head)
  return whole
}

/** A header with its length. */
export const CAR_HEADER = withLength(encodeCbor({ version: 1, roots: [] }))

/** What stands before a block of this size. */
export function sectionHead (cid: CidStr, blockBytes: number): Uint8Array {
  const size = CID_BYTES + blockBytes
  const head = new Uint8Array(varint.encodingLength(size) + CID_BYTES)
  varint.encodeTo(size, head)
  head.set(cidBytes(cid), head.length - CID_BYTES)
  return head
}

/**
 * @param bytes - a header without its length
 * @returns `reject` CAR_MALFORMED
 */
export function checkHeader (bytes: Uint8Array): Verdict {
  try {
    const header: unknown = decodeCbor(bytes)
    const isHeader = typeof header === 'object' && header !== null && 'version' in header && header.version === 1 && 'roots' in header && Array.isArray(header.roots)
    return isHeader ? accept(undefined) : reject('CAR_MALFORMED', 'this is not a CAR v1 header')
  } catch (error) {
    return reject('CAR_MALFORMED', `this CAR header is not dag-cbor: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/**
 * @param bytes - a section without its length
 * @returns its CID and its block, which still has to be compared with it; `reject` CAR_MALFORMED where it has no CID of ours
 */
export function readSection (bytes: Uint8Array): Verdict<{ cid: CidStr, block: Uint8Array }> {
  const cid = cidText(bytes.subarray(0, CID_BYTES))
  if (cid === undefined) return reject('CAR_MALFORMED', 'a section whose CID is not version 1, sha2-256, raw or dag-pb')
  return accept({ cid, block: bytes.subarray(CID_BYTES) })
}
