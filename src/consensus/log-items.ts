/**
 * The facts that a log frame carries, as bytes. Described in log-format.md. Pure.
 */
import type { ConfState, Entry, EntryKind, HardState, RaftId, SnapshotMeta } from './types.ts'

export type LogItem =
  | { kind: 'hardState', hardState: HardState }
  | { kind: 'snapshot', meta: SnapshotMeta }
  /** the incarnation that a peer was first met with; '' hex forgets it */
  | { kind: 'peer', id: RaftId, incarnation: string }
  /** entries from this index on are void */
  | { kind: 'truncate', from: number }
  | { kind: 'entry', entry: Entry }

const KINDS = ['', 'hardState', 'snapshot', 'peer', 'truncate', 'entry'] as const
const ENTRY_KINDS: readonly EntryKind[] = ['normal', 'conf', 'empty']
const text = { encoder: new TextEncoder(), decoder: new TextDecoder('utf-8', { fatal: true }) }

/** Appends little-endian fields to a buffer that grows. */
export class ByteWriter {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  /** A view; valid until the next write. */
  get bytes (): Uint8Array { return this.#bytes.subarray(0, this.#length) }

  u8 (value: number): this {
    const at = this.#grow(1)
    this.#view.setUint8(at, value)
    return this
  }

  u32 (value: number): this {
    const at = this.#grow(4)
    this.#view.setUint32(at, value, true)
    return this
  }

  u64 (value: number): this {
    const at = this.#grow(8)
    this.#view.setBigUint64(at, BigInt(value), true)
    return this
  }

  raw (bytes: Uint8Array): this {
    const at = this.#grow(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  /** with its length in front */
  sized (bytes: Uint8Array): this { return this.u32(bytes.length).raw(bytes) }

  string (value: string): this { return this.sized(text.encoder.encode(value)) }

  strings (values: readonly string[]): this {
    this.u32(values.length)
    for (const value of values) this.string(value)
    return this
  }

  setU32 (at: number, value: number): void { this.#view.setUint32(at, value, true) }

  /** @returns where the next `count` bytes go; the view is renewed when the buffer moves */
  #grow (count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }
}

/** Reads what ByteWriter wrote. Throws RangeError past the end and on what no writer of ours makes. */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor (bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left (): number { return this.#bytes.length - this.#at }

  u8 (): number { return this.#view.getUint8(this.#skip(1)) }

  u32 (): number { return this.#view.getUint32(this.#skip(4), true) }

  u64 (): number {
    const value = Number(this.#view.getBigUint64(this.#skip(8), true))
    if (!Number.isSafeInteger(value)) throw new RangeError('a number is too large')
    return value
  }

  /** A view into what is read. */
  raw (count: number): Uint8Array { return this.#bytes.subarray(this.#skip(count), this.#at) }

  sized (): Uint8Array { return this.raw(this.u32()) }

  string (): string {
    try {
      return text.decoder.decode(this.sized())
    } catch (cause) {
      throw new RangeError('a text is not UTF-8', { cause })
    }
  }

  strings (): string[] {
    const values: string[] = []
    for (let count = this.u32(); count > 0; count--) values.push(this.string())
    return values
  }

  #skip (count: number): number {
    const at = this.#at
    if (count > this.left) throw new RangeError('the bytes end too early')
    this.#at += count
    return at
  }
}

/** Appends one item. */
export function writeItem (out: ByteWriter, item: LogItem): void {
  out.u8(KINDS.indexOf(item.kind))
  switch (item.kind) {
    case 'hardState': out.u64(item.hardState.term).u64(item.hardState.commit).string(item.hardState.votedFor); break
    case 'snapshot': writeMeta(out, item.meta); break
    case 'peer': out.string(item.id).string(item.incarnation); break
    case 'truncate': out.u64(item.from); break
    case 'entry': out.u64(item.entry.index).u64(item.entry.term).u8(ENTRY_KINDS.indexOf(item.entry.kind)).sized(item.entry.data); break
  }
}

/**
 * @param bytes - the payload of one frame; entry data in the result are copies, so that a segment's buffer can be freed
 * @throws RangeError where it was not written by `writeItem`
 */
export function readItems (bytes: Uint8Array): LogItem[] {
  const reader = new ByteReader(bytes)
  const items: LogItem[] = []
  while (reader.left > 0) items.push(readItem(reader))
  return items
}

function readItem (reader: ByteReader): LogItem {
  const kind = KINDS[reader.u8()]
  switch (kind) {
    case 'hardState': return { kind, hardState: { term: reader.u64(), commit: reader.u64(), votedFor: reader.string() } }
    case 'snapshot': return { kind, meta: readMeta(reader) }
    case 'peer': return { kind, id: reader.string(), incarnation: reader.string() }
    case 'truncate': return { kind, from: reader.u64() }
    case 'entry': {
      const [index, term, entryKind] = [reader.u64(), reader.u64(), ENTRY_KINDS[reader.u8()]]
      if (entryKind === undefined) throw new RangeError('an entry is of no known kind')
      return { kind, entry: { index, term, kind: entryKind, data: reader.sized().slice() } }
    }
    default: throw new RangeError('an item is of no known kind')
  }
}

export function writeMeta (out: ByteWriter, meta: SnapshotMeta): void {
  const { conf } = meta
  out.u64(meta.index).u64(meta.term).u8(conf.autoLeave ? 1 : 0)
  out.strings(conf.voters).strings(conf.votersOutgoing).strings(conf.learners).strings(conf.learnersNext)
}

export function readMeta (reader: ByteReader): SnapshotMeta {
  const [index, term, autoLeave] = [reader.u64(), reader.u64(), reader.u8() === 1]
  const conf: ConfState = {
    voters: reader.strings(), votersOutgoing: reader.strings(), learners: reader.strings(), learnersNext: reader.strings(), autoLeave
  }
  return { index, term, conf }
}
