/**
 * The frames of `/conclave/blocks/1` as values: checked on the way in, limits included. Pure.
 * Spec: protocols/blocks/README.md
 */
import { accept, reject } from '../../keys/verdict.ts'
import type { Verdict } from '../../keys/verdict.ts'
import { BlocksReply, BlocksRequest } from '../../protocols/blocks/messages.js'
import { CID_BYTES, cidBytes, cidText } from './cid.ts'
import type { CidStr } from './cid.ts'
import { MAX_BLOCK_BYTES } from './store.ts'

export const BLOCKS_PROTOCOL = '/conclave/blocks/1'
/** CIDs of one request or reply. */
export const MAX_CIDS = 256
const MAX_CODE_CHARS = 64
const MAX_MESSAGE_CHARS = 1024

export type Request =
  | { kind: 'want', cids: CidStr[] }
  | { kind: 'put', cids: CidStr[], bytes: number }

export interface Reply { code: string, message: string, cids: CidStr[] }

export function encodeRequest (request: Request): Uint8Array {
  const cids = request.cids.map(cidBytes)
  return BlocksRequest.encode(request.kind === 'want' ? { want: { cids } } : { put: { cids, bytes: request.bytes } })
}

export function encodeReply (reply: Partial<Reply>): Uint8Array {
  return BlocksReply.encode({ code: reply.code ?? '', message: (reply.message ?? '').slice(0, MAX_MESSAGE_CHARS), cids: (reply.cids ?? []).map(cidBytes) })
}

/** @returns `reject` REQUEST_MALFORMED */
export function decodeRequest (bytes: Uint8Array): Verdict<Request> {
  let message: BlocksRequest
  try {
    message = BlocksRequest.decode(bytes, { limits: { want: { cids: MAX_CIDS }, put: { cids: MAX_CIDS } } })
  } catch (error) {
    return reject('REQUEST_MALFORMED', String(error))
  }
  const cids = textsOf(message.want?.cids ?? message.put?.cids ?? [])
  if (cids === undefined || cids.length === 0) return reject('REQUEST_MALFORMED', `a request names 1 to ${MAX_CIDS} different CIDs, version 1, sha2-256, raw or dag-pb`)
  if (message.want !== undefined) return accept({ kind: 'want', cids })
  const size = message.put?.bytes ?? 0
  if (!Number.isSafeInteger(size) || size < 0 || size > cids.length * MAX_BLOCK_BYTES) return reject('REQUEST_MALFORMED', `${cids.length} blocks cannot have ${size} bytes`)
  return accept({ kind: 'put', cids, bytes: size })
}

/** @returns `reject` REPLY_MALFORMED */
export function decodeReply (bytes: Uint8Array): Verdict<Reply> {
  let message: BlocksReply
  try {
    message = BlocksReply.decode(bytes, { limits: { cids: MAX_CIDS } })
  } catch (error) {
    return reject('REPLY_MALFORMED', String(error))
  }
  const cids = textsOf(message.cids)
  if (cids === undefined || message.code.length > MAX_CODE_CHARS || message.message.length > MAX_MESSAGE_CHARS) return reject('REPLY_MALFORMED', 'a reply with a CID or a text that may not be in it')
  return accept({ code: message.code, message: message.message, cids })
}

/** @returns undefined where one is no CID of ours, or is there twice */
function textsOf (cids: Uint8Array[]): CidStr[] | undefined {
  const texts = new Set<CidStr>()
  for (const bytes of cids) {
    const cid = bytes.length === CID_BYTES ? cidText(bytes) : undefined
    if (cid === undefined || texts.has(cid)) return undefined
    texts.add(cid)
  }
  return [...texts]
}
