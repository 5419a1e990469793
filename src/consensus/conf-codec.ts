/**
 * ConfChange as the bytes of a log entry. Deterministic; big-endian; the format of version 1:
 *
 *     version u8 = 1 | transition u8 | changes u8 | changes × ( type u8 | length u8 | id in UTF-8 ) | context: the rest
 *
 * The order of `TRANSITIONS` and `TYPES` is part of the format.
 */
import type { ConfChange, ConfChangeSingle } from './types.ts'

const VERSION = 1
const TRANSITIONS = ['auto', 'joint', 'explicit'] as const
const TYPES = ['addVoter', 'addLearner', 'remove'] as const
const MAX_CHANGES = 255
const MAX_ID_BYTES = 255

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * @returns the bytes; undefined where a limit is passed: 255 changes, ids of 1 to 255 bytes. `context` is limited by the entry's size.
 */
export function encodeConfChange (change: ConfChange): Uint8Array | undefined {
  if (change.changes.length > MAX_CHANGES) return undefined
  const bytes: number[] = [VERSION, TRANSITIONS.indexOf(change.transition), change.changes.length]
  for (const { type, id } of change.changes) {
    const text = encoder.encode(id)
    if (text.length === 0 || text.length > MAX_ID_BYTES) return undefined
    bytes.push(TYPES.indexOf(type), text.length, ...text)
  }
  const out = new Uint8Array(bytes.length + change.context.length)
  out.set(bytes)
  out.set(change.context, bytes.length)
  return out
}

/** @returns the change, sharing memory with `bytes`; undefined for anything that `encodeConfChange` does not make */
export function decodeConfChange (bytes: Uint8Array): ConfChange | undefined {
  const transition = TRANSITIONS[bytes[1] ?? -1]
  const count = bytes[2]
  if (bytes[0] !== VERSION || transition === undefined || count === undefined) return undefined
  const changes: ConfChangeSingle[] = []
  let at = 3
  for (let i = 0; i < count; i++) {
    const type = TYPES[bytes[at] ?? -1]
    const length = bytes[at + 1]
    if (type === undefined || length === undefined || length === 0 || at + 2 + length > bytes.length) return undefined
    const id = decodeText(bytes.subarray(at + 2, at + 2 + length))
    if (id === undefined) return undefined
    changes.push({ type, id })
    at += 2 + length
  }
  return { transition, changes, context: bytes.subarray(at) }
}

function decodeText (bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined // not UTF-8
  }
}
