/**
 * The files of the log as bytes: segments of frames, the snapshot, the identity. Described in log-format.md. Pure.
 */
import { crc32c } from './crc32c.ts'
import { ByteReader, ByteWriter, readItems, readMeta, writeItem, writeMeta, type LogItem } from './log-items.ts'
import type { SnapshotMeta } from './types.ts'

export const FORMAT_VERSION = 1
export const SEGMENT_HEADER_BYTES = 44
export const FRAME_HEADER_BYTES = 12
/** Bytes that name a directory's life: 16 random ones, kept as hex. */
export const INCARNATION_BYTES = 16

const SEGMENT_MAGIC = 'CNCLOG\r\n'
const SNAPSHOT_MAGIC = 'CNCSNP\r\n'
const IDENTITY_MAGIC = 'CNCWHO\r\n'
const FRAME_MAGIC = 0x4d524643
const FRAME_MAGIC_BYTES = Buffer.from([0x43, 0x46, 0x52, 0x4d])

/** Why bytes cannot be what we wrote, and where. Turned into LOG_CORRUPT by the store, which knows the file. */
export class FormatError extends Error {
  readonly offset: number
  constructor (offset: number, message: string) {
    super(message)
    this.offset = offset
  }
}

export interface SegmentHeader {
  /** from 1, without gaps */
  sequence: number
  /** a self-contained segment: nothing before it is needed. Otherwise the exact length that its predecessor must have. */
  continues: number | undefined
}

/** @returns the 44 bytes; every frame's checksum is seeded with theirs, so frames cannot stray between files or directories */
export function encodeSegmentHeader (header: SegmentHeader, incarnation: string): Uint8Array {
  const out = new ByteWriter()
  out.raw(Buffer.from(SEGMENT_MAGIC, 'latin1')).u32(FORMAT_VERSION).u64(header.sequence).raw(Buffer.from(incarnation, 'hex')).u32(header.continues ?? 0)
  return out.u32(crc32c(out.bytes)).bytes.slice()
}

/** @throws FormatError */
export function decodeSegmentHeader (bytes: Uint8Array, incarnation: string): SegmentHeader {
  if (bytes.length < SEGMENT_HEADER_BYTES) throw new FormatError(bytes.length, 'the header is cut off')
  const reader = checkedHead(bytes, SEGMENT_MAGIC, SEGMENT_HEADER_BYTES)
  const sequence = reader.u64()
  if (Buffer.from(reader.raw(INCARNATION_BYTES)).toString('hex') !== incarnation) throw new FormatError(20, 'it belongs to another data directory')
  const continues = reader.u32()
  return { sequence, continues: continues === 0 ? undefined : continues }
}

/**
 * One atomic batch: its one checksum makes it whole or absent.
 *
 * @param seed - checksum of the segment's header
 * @param offset - of the frame in its file
 */
export function encodeFrame (items: readonly LogItem[], seed: number, offset: number): Uint8Array {
  const out = new ByteWriter().u32(FRAME_MAGIC).u32(0).u32(0)
  for (const item of items) writeItem(out, item)
  const frame = out.bytes
  const payload = frame.subarray(FRAME_HEADER_BYTES)
  out.setU32(4, payload.length)
  out.setU32(8, frameChecksum(payload, seed, offset))
  return frame
}

function frameChecksum (payload: Uint8Array, seed: number, offset: number): number {
  return crc32c(payload, crc32c(new ByteWriter().u32(offset).u32(payload.length).bytes, seed))
}

/** What a segment holds. `tornAt`: where its last whole frame ends, if bytes follow that are no frame and that no whole frame follows. */
export interface SegmentContent { header: SegmentHeader, frames: LogItem[][], tornAt: number | undefined }

/**
 * Reads a segment. A frame is only written once the one before it is synced, so a bad frame with a good one behind it was good once:
 * that is corruption, and never repaired. A bad frame with nothing behind it was never acknowledged.
 *
 * @throws FormatError
 */
export function decodeSegment (bytes: Uint8Array, incarnation: string): SegmentContent {
  const header = decodeSegmentHeader(bytes, incarnation)
  const seed = crc32c(bytes.subarray(0, SEGMENT_HEADER_BYTES))
  const frames: LogItem[][] = []
  let at = SEGMENT_HEADER_BYTES
  while (at < bytes.length) {
    const payload = frameAt(bytes, at, seed)
    if (payload === undefined) {
      const intact = findFrame(bytes, at + 1, seed)
      if (intact !== undefined) throw new FormatError(at, `its checksum is wrong, and intact data follows at offset ${intact}`)
      if (header.continues === undefined && frames.length === 0) throw new FormatError(at, 'the state that the segment starts with is damaged')
      return { header, frames, tornAt: at }
    }
    try {
      frames.push(readItems(payload))
    } catch (error) {
      throw new FormatError(at, `a frame with a good checksum makes no sense: ${(error as Error).message}`)
    }
    at += FRAME_HEADER_BYTES + payload.length
  }
  if (header.continues === undefined && frames.length === 0) throw new FormatError(at, 'the state that the segment starts with is missing')
  return { header, frames, tornAt: undefined }
}

function frameAt (bytes: Uint8Array, at: number, seed: number): Uint8Array | undefined {
  if (bytes.length - at < FRAME_HEADER_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEADER_BYTES)
  const length = view.getUint32(4, true)
  if (view.getUint32(0, true) !== FRAME_MAGIC || length > bytes.length - at - FRAME_HEADER_BYTES) return undefined
  const payload = bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + length)
  return frameChecksum(payload, seed, at) === view.getUint32(8, true) ? payload : undefined
}

function findFrame (bytes: Uint8Array, from: number, seed: number): number | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = buffer.indexOf(FRAME_MAGIC_BYTES, from); at !== -1; at = buffer.indexOf(FRAME_MAGIC_BYTES, at + 1)) {
    if (frameAt(bytes, at, seed) !== undefined) return at
  }
  return undefined
}

/** @returns the snapshot file: facts and state under one checksum */
export function encodeSnapshotFile (meta: SnapshotMeta, data: Uint8Array): Uint8Array {
  const out = new ByteWriter().raw(Buffer.from(SNAPSHOT_MAGIC, 'latin1')).u32(FORMAT_VERSION)
  writeMeta(out, meta)
  out.sized(data)
  return out.u32(crc32c(out.bytes)).bytes
}

/** @throws FormatError */
export function decodeSnapshotFile (bytes: Uint8Array): { meta: SnapshotMeta, data: Uint8Array } {
  return reading(bytes.length, () => {
    const reader = checkedHead(bytes, SNAPSHOT_MAGIC, bytes.length)
    return { meta: readMeta(reader), data: reader.sized() }
  })
}

/** `isReady` is false while the directory is being created. */
export interface LogIdentity { id: string, incarnation: string, isReady: boolean }

export function encodeIdentityFile (identity: LogIdentity): Uint8Array {
  const out = new ByteWriter().raw(Buffer.from(IDENTITY_MAGIC, 'latin1')).u32(FORMAT_VERSION)
  out.string(identity.id).raw(Buffer.from(identity.incarnation, 'hex')).u8(identity.isReady ? 1 : 0)
  return out.u32(crc32c(out.bytes)).bytes
}

/** @throws FormatError */
export function decodeIdentityFile (bytes: Uint8Array): LogIdentity {
  return reading(bytes.length, () => {
    const reader = checkedHead(bytes, IDENTITY_MAGIC, bytes.length)
    return { id: reader.string(), incarnation: Buffer.from(reader.raw(INCARNATION_BYTES)).toString('hex'), isReady: reader.u8() === 1 }
  })
}

/** Checks magic, version and the checksum in the last 4 of `length` bytes. @returns a reader behind the version */
function checkedHead (bytes: Uint8Array, magic: string, length: number): ByteReader {
  if (bytes.length < length || length < 16) throw new FormatError(bytes.length, 'the file is cut off')
  const body = bytes.subarray(0, length - 4)
  const reader = new ByteReader(body)
  if (Buffer.from(reader.raw(8)).toString('latin1') !== magic) throw new FormatError(0, 'it is not a file of this kind')
  const version = reader.u32()
  if (crc32c(body) !== new DataView(bytes.buffer, bytes.byteOffset + length - 4, 4).getUint32(0, true)) throw new FormatError(0, 'its checksum is wrong')
  if (version !== FORMAT_VERSION) throw new FormatError(8, `it is of format version ${version}; this program reads version ${FORMAT_VERSION}`)
  return reader
}

function reading<T> (end: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof RangeError) throw new FormatError(end, error.message)
    throw error
  }
}
