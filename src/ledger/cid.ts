/**
 * CIDs: bytes in messages, base32 text in the ledger. Only what our block store makes is let in: CIDv1, sha2-256, raw or dag-pb.
 * Source: https://github.com/multiformats/cid
 */
import { base32 } from 'multiformats/bases/base32'
import type { CidStr } from './state.ts'

const LENGTH = 36
const VERSION = 1
const RAW = 0x55
const DAG_PB = 0x70
const SHA2_256 = 0x12

/** The text of these CID bytes, or undefined where they are not a CID of ours. */
export function cidText (bytes: Uint8Array): CidStr | undefined {
  const isOurs = bytes.length === LENGTH && bytes[0] === VERSION && (bytes[1] === RAW || bytes[1] === DAG_PB) && bytes[2] === SHA2_256 && bytes[3] === 32
  return isOurs ? base32.encode(bytes) : undefined
}

/**
 * The bytes of a CID's text.
 *
 * @throws Error where the text is not base32; the ledger's own texts always are
 */
export function cidBytes (cid: CidStr): Uint8Array<ArrayBuffer> {
  return new Uint8Array(base32.decode(cid))
}
