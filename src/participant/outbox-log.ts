/**
 * The outbox's file: records one after another, `length u32le | CRC32C u32le | payload`, payload = `kind u8 | length of the keys u32le | keys
 * (one a line, UTF-8) | batch`. Pure.
 */
import { crc32c } from '../consensus/crc32c.ts'

/** `add`: a batch with the keys that it waits for; `remove`: keys that nothing waits for any longer. */
export type OutboxRecord =
  | { kind: 'add', keys: string[], batch: Uint8Array }
  | { kind: 'remove', keys: string[] }

const ADD = 1
const REMOVE = 2
const HEAD_BYTES = 8
const PAYLOAD_HEAD_BYTES = 5

/** A batch is one signed statement of at most 256 receipts. */
export const MAX_RECORD_BYTES = 4 << 20

export function encodeRecord (record: OutboxRecord): Uint8Array {
  const keys = new TextEncoder().encode(record.keys.join('\n'))
  const batch = record.kind === 'add' ? record.batch : new Uint8Array(0)
  const bytes = new Uint8Array(HEAD_BYTES + PAYLOAD_HEAD_BYTES + keys.length + batch.length)
  const view = new DataView(bytes.buffer)
  const payload = bytes.subarray(HEAD_BYTES)
  payload[0] = record.kind === 'add' ? ADD : REMOVE
  view.setUint32(HEAD_BYTES + 1, keys.length, true)
  payload.set(keys, PAYLOAD_HEAD_BYTES)
  payload.set(batch, PAYLOAD_HEAD_BYTES + keys.length)
  view.setUint32(0, payload.length, true)
  view.setUint32(4, crc32c(payload), true)
  return bytes
}

/**
 * @param bytes - a whole file; batches are copies
 * @returns the records up to the first that is cut or damaged, and the bytes they take: less than all of them where there is such a one
 */
export function decodeRecords (bytes: Uint8Array): { records: OutboxRecord[], goodBytes: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const records: OutboxRecord[] = []
  let at = 0
  while (bytes.length - at >= HEAD_BYTES) {
    const length = view.getUint32(at, true)
    const end = at + HEAD_BYTES + length
    if (length > MAX_RECORD_BYTES || end > bytes.length) break
    const payload = bytes.subarray(at + HEAD_BYTES, end)
    if (crc32c(payload) !== view.getUint32(at + 4, true)) break
    const record = decodePayload(payload)
    if (record === undefined) break
    records.push(record)
    at = end
  }
  return { records, goodBytes: at }
}

function decodePayload (payload: Uint8Array): OutboxRecord | undefined {
  if (payload.length < PAYLOAD_HEAD_BYTES) return undefined
  const keysEnd = PAYLOAD_HEAD_BYTES + new DataView(payload.buffer, payload.byteOffset).getUint32(1, true)
  if (keysEnd > payload.length) return undefined
  const keys = new TextDecoder().decode(payload.subarray(PAYLOAD_HEAD_BYTES, keysEnd)).split('\n')
  if (payload[0] === ADD) return { kind: 'add', keys, batch: payload.slice(keysEnd) }
  return payload[0] === REMOVE ? { kind: 'remove', keys } : undefined
}
