/**
 * Reading the log at start: which files count, what they add up to, what may be repaired and what must be refused (log-format.md).
 */
import { ConclaveError } from '../../keys/conclave-error.ts'
import { crc32c } from './crc32c.ts'
import { TEMPORARY, type Disk } from './disk.ts'
import {
  FormatError, SEGMENT_HEADER_BYTES, decodeIdentityFile, decodeSegment, decodeSnapshotFile, encodeFrame, encodeIdentityFile,
  encodeSegmentHeader, encodeSnapshotFile, type SegmentContent
} from './log-format.ts'
import type { LogItem } from './log-items.ts'
import type { Entry, HardState, RaftId, SnapshotMeta } from './types.ts'

/** What was cut off the last segment. */
export interface RepairReport { file: string, offset: number, bytes: number }

/** The durable state, and where to go on writing. */
export interface Recovered {
  incarnation: string
  hardState: HardState
  snapshot: SnapshotMeta
  snapshotData: Uint8Array | undefined
  /** follow the snapshot without a gap */
  entries: Entry[]
  peers: Map<RaftId, string>
  /** names of the segments that count, the last is the one to append to */
  segments: string[]
  sequence: number
  length: number
  seed: number
  isFresh: boolean
  repaired: RepairReport | undefined
}

const IDENTITY = 'identity'
const SEGMENT = /^log-(\d{16})\.seg$/
const OURS = /^(log-\d{16}\.seg|snapshot-\d{16}-\d{16}\.snap)$/

const digits = (value: number): string => String(value).padStart(16, '0')
export const segmentName = (sequence: number): string => `log-${digits(sequence)}.seg`
export const snapshotName = (meta: { index: number, term: number }): string => `snapshot-${digits(meta.index)}-${digits(meta.term)}.snap`
export const noSnapshot = (): SnapshotMeta =>
  ({ index: 0, term: 0, conf: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false } })

/** The state a founder starts with; the first configuration reaches newcomers as this snapshot. */
export interface Bootstrap { meta: SnapshotMeta, data: Uint8Array }

/**
 * @returns the state of the directory after repair; a new directory is given an identity and a first segment
 * @throws LOG_CORRUPT, LOG_FOREIGN, LOG_DISK_FULL, LOG_IO_FAILED
 */
export async function recoverLog (init: { disk: Disk, id: RaftId, freshIncarnation: string, bootstrap?: Bootstrap }): Promise<Recovered> {
  const { disk, id } = init
  const names = await disk.list()
  await disk.remove(names.filter(name => name.endsWith(TEMPORARY)))
  const found = names.filter(name => OURS.test(name))
  if (!names.includes(IDENTITY)) {
    if (found.length > 0) throw corrupt(disk, IDENTITY, 0, 'it is missing, but there is a log')
    return { ...await create(disk, id, init.freshIncarnation, init.bootstrap), isFresh: true }
  }
  const known = await decoding(disk, IDENTITY, decodeIdentityFile)
  if (known.id !== id) {
    throw new ConclaveError('LOG_FOREIGN', `the log in ${disk.dir} belongs to ${known.id}, not to this node (${id})`,
      { next: 'Use the data directory that belongs to this key, or a new one.', details: { dir: disk.dir, owner: known.id } })
  }
  if (!known.isReady) {
    // creation was interrupted: this directory has never been used
    await disk.remove(found)
    return { ...await create(disk, id, init.freshIncarnation, init.bootstrap), isFresh: true }
  }
  return await readLog(disk, known.incarnation, found)
}

async function create (disk: Disk, id: RaftId, incarnation: string, bootstrap?: Bootstrap): Promise<Recovered> {
  await disk.writeWhole(IDENTITY, encodeIdentityFile({ id, incarnation, isReady: false }))
  if (bootstrap !== undefined) await disk.writeWhole(snapshotName(bootstrap.meta), encodeSnapshotFile(bootstrap.meta, bootstrap.data))
  const meta = bootstrap?.meta ?? noSnapshot()
  const header = encodeSegmentHeader({ sequence: 1, continues: undefined }, incarnation)
  const items: LogItem[] = [{ kind: 'snapshot', meta }, { kind: 'hardState', hardState: { term: meta.term, votedFor: '', commit: meta.index } }]
  await disk.writeWhole(segmentName(1), Buffer.concat([header, encodeFrame(items, crc32c(header), SEGMENT_HEADER_BYTES)]))
  await disk.writeWhole(IDENTITY, encodeIdentityFile({ id, incarnation, isReady: true }))
  return await readLog(disk, incarnation, (await disk.list()).filter(name => OURS.test(name)))
}

async function readLog (disk: Disk, incarnation: string, found: string[]): Promise<Recovered> {
  const segments = found.filter(name => SEGMENT.test(name))
  if (segments.length === 0) throw corrupt(disk, segmentName(1), 0, 'there is an identity but no log')
  const counting = await readSegments(disk, incarnation, segments)
  const state: Recovered = {
    incarnation, hardState: { term: 0, votedFor: '', commit: 0 }, snapshot: noSnapshot(), snapshotData: undefined, entries: [], peers: new Map(),
    segments: counting.map(({ name }) => name), sequence: 0, length: 0, seed: 0, isFresh: false, repaired: undefined
  }
  for (const { name, content } of counting) {
    for (const frame of content.frames) {
      const problem = frame.map(item => applyItem(state, item)).find(text => text !== undefined)
      if (problem !== undefined) throw corrupt(disk, name, 0, problem)
    }
  }
  await readSnapshot(disk, state)
  const end = state.snapshot.index + state.entries.length
  const last = counting.at(-1)!
  if (state.hardState.commit > end) throw corrupt(disk, last.name, 0, `it commits up to ${state.hardState.commit} but ends at ${end}`)
  if (last.content.tornAt !== undefined) {
    state.repaired = { file: last.name, offset: last.content.tornAt, bytes: last.bytes.length - last.content.tornAt }
    await disk.truncate(last.name, last.content.tornAt)
  }
  state.sequence = last.content.header.sequence
  state.length = last.content.tornAt ?? last.bytes.length
  state.seed = crc32c(last.bytes.subarray(0, SEGMENT_HEADER_BYTES))
  const needed = new Set([...state.segments, ...(state.snapshot.index > 0 ? [snapshotName(state.snapshot)] : [])])
  await disk.remove(found.filter(name => !needed.has(name)))
  return state
}

interface ReadSegment { name: string, bytes: Uint8Array, content: SegmentContent }

/** From the last self-contained segment on; what is older was about to be deleted. @returns in order, checked for gaps and lengths */
async function readSegments (disk: Disk, incarnation: string, names: string[]): Promise<ReadSegment[]> {
  const read: ReadSegment[] = []
  for (const name of names.toReversed()) {
    const bytes = await disk.read(name)
    const content = decodeAt(disk, name, () => decodeSegment(bytes, incarnation))
    if (segmentName(content.header.sequence) !== name) throw corrupt(disk, name, 12, `it says that it is number ${content.header.sequence}`)
    const next = read[0]
    if (next !== undefined) {
      const expected = next.content.header.continues
      if (content.header.sequence + 1 !== next.content.header.sequence) throw corrupt(disk, next.name, 12, 'the segment before it is missing')
      if (content.tornAt !== undefined || bytes.length !== expected) {
        throw corrupt(disk, name, Math.min(content.tornAt ?? bytes.length, expected ?? 0), `it is damaged or not ${expected} bytes long, as its successor says`)
      }
    }
    read.unshift({ name, bytes, content })
    if (content.header.continues === undefined) return read
  }
  throw corrupt(disk, names[0]!, 12, 'the segments before it are missing')
}

/** @returns what is wrong, if anything: only a program's mistake or a very unlucky checksum gets here */
function applyItem (state: Recovered, item: LogItem): string | undefined {
  const end = state.snapshot.index + state.entries.length
  switch (item.kind) {
    case 'hardState': {
      if (item.hardState.term < state.hardState.term) return `the term goes back from ${state.hardState.term} to ${item.hardState.term}`
      state.hardState = item.hardState
      return undefined
    }
    case 'snapshot': state.snapshot = item.meta; return undefined
    case 'peer': {
      if (item.incarnation === '') state.peers.delete(item.id)
      else state.peers.set(item.id, item.incarnation)
      return undefined
    }
    case 'truncate': {
      if (item.from <= state.snapshot.index || item.from > end) return `it truncates from ${item.from}, outside of ${state.snapshot.index + 1}..${end}`
      state.entries.length = item.from - state.snapshot.index - 1
      return undefined
    }
    case 'entry': {
      if (item.entry.index !== end + 1) return `entry ${item.entry.index} follows entry ${end}`
      state.entries.push(item.entry)
      return undefined
    }
  }
}

async function readSnapshot (disk: Disk, state: Recovered): Promise<void> {
  if (state.snapshot.index === 0) return
  const name = snapshotName(state.snapshot)
  const { meta, data } = await decoding(disk, name, decodeSnapshotFile)
  if (JSON.stringify(meta) !== JSON.stringify(state.snapshot)) throw corrupt(disk, name, 12, 'it is not the snapshot that the log refers to')
  state.snapshotData = data
}

async function decoding<T> (disk: Disk, name: string, decode: (bytes: Uint8Array) => T): Promise<T> {
  if (!(await disk.list()).includes(name)) throw corrupt(disk, name, 0, 'it is missing, and the log refers to it')
  const bytes = await disk.read(name)
  return decodeAt(disk, name, () => decode(bytes))
}

function decodeAt<T> (disk: Disk, name: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (error instanceof FormatError) throw corrupt(disk, name, error.offset, error.message)
    throw error
  }
}

function corrupt (disk: Disk, name: string, offset: number, reason: string): ConclaveError {
  const file = `${disk.dir}/${name}`
  return new ConclaveError('LOG_CORRUPT', `the consensus log is damaged: ${file} at offset ${offset}: ${reason}`, {
    next: 'This node must not vote from a damaged log. Move its data directory away and join the network again as a new member, ' +
      'or restore the directory from a copy taken while the node was stopped.',
    details: { file, offset }
  })
}
