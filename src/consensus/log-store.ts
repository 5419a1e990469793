/**
 * The log on disk: what a replica must not forget. Files and recovery rules are described in log-format.md.
 *
 * One owner, one call at a time. After a write or sync has failed nothing is known about the file's end, so the store is poisoned:
 * every later call fails with the first error, and the node stops. Only a restart, which reads what is really there, may go on.
 */
import { ConclaveError } from '../../keys/conclave-error.ts'
import { crc32c } from './crc32c.ts'
import type { Disk, DiskFile } from './disk.ts'
import { FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, encodeFrame, encodeSegmentHeader, encodeSnapshotFile } from './log-format.ts'
import type { LogItem } from './log-items.ts'
import { recoverLog, segmentName, snapshotName, type Bootstrap, type Recovered, type RepairReport } from './log-recovery.ts'
import type { Entry, HardState, RaftId, RestoredState, SnapshotMeta } from './types.ts'

export interface LogStoreInit {
  disk: Disk
  id: RaftId
  /** hex of 16 random bytes, used where the directory is new */
  freshIncarnation: string
  /** a segment is closed once it is this long */
  segmentBytes: number
  /** what a new directory starts with; only the founders of a group give it */
  bootstrap?: Bootstrap
}

export interface LogBatch {
  hardState?: HardState | undefined
  /** consecutive; the first may overwrite what is stored from its index on */
  entries?: readonly Entry[]
  /** incarnations that peers were first met with; '' forgets one */
  peers?: ReadonlyMap<RaftId, string> | undefined
}

export interface OpenedLog {
  store: LogStore
  restored: RestoredState
  /** bytes of the snapshot; undefined while the log starts at 1 */
  snapshotData: Uint8Array | undefined
  peers: Map<RaftId, string>
  /** the directory was new */
  isFresh: boolean
  /** the tail that was cut off, written by a batch that was never acknowledged */
  repaired: RepairReport | undefined
}

/**
 * Opens or creates the log in a directory.
 *
 * @returns the store, ready for `append`, and all that was durable
 * @throws LOG_CORRUPT {file, offset}, LOG_FOREIGN, LOG_DISK_FULL, LOG_IO_FAILED
 */
export async function openLogStore (init: LogStoreInit): Promise<OpenedLog> {
  const recovered = await recoverLog(init)
  const store = new LogStore(init.disk, init.segmentBytes, recovered, await init.disk.append(segmentName(recovered.sequence)))
  return {
    store,
    restored: {
      hardState: { ...recovered.hardState },
      snapshot: recovered.snapshot,
      entries: [...recovered.entries],
      applied: recovered.snapshot.index
    },
    snapshotData: recovered.snapshotData,
    peers: new Map(recovered.peers),
    isFresh: recovered.isFresh,
    repaired: recovered.repaired
  }
}

export class LogStore {
  readonly incarnation: string
  readonly #disk: Disk
  readonly #segmentBytes: number
  readonly #peers: Map<RaftId, string>
  #hardState: HardState
  #snapshot: SnapshotMeta
  /** what follows the snapshot; the same objects that the core holds */
  #entries: Entry[]
  /** files that a complete new segment would make useless */
  #segments: string[]
  #sequence: number
  #file: DiskFile
  #length: number
  #seed: number
  /** hard state that was taken without a sync, to go out with the next frame */
  #hasUnwritten = false
  #failure: unknown
  #isClosed = false

  constructor (disk: Disk, segmentBytes: number, recovered: Recovered, file: DiskFile) {
    this.#disk = disk
    this.#segmentBytes = segmentBytes
    this.incarnation = recovered.incarnation
    this.#hardState = recovered.hardState
    this.#snapshot = recovered.snapshot
    this.#entries = recovered.entries
    this.#peers = recovered.peers
    this.#segments = recovered.segments
    this.#sequence = recovered.sequence
    this.#length = recovered.length
    this.#seed = recovered.seed
    this.#file = file
  }

  /**
   * Makes a batch durable, whole or not at all, with one sync. A batch of a hard state alone and `mustSync` false is only remembered: it
   * holds nothing but a commit index that can be learnt again, and goes out with the next batch.
   *
   * @throws LOG_DISK_FULL, LOG_IO_FAILED; for ever after the first
   */
  async append (batch: LogBatch, mustSync: boolean): Promise<void> {
    await this.#guard(async () => {
      if (batch.hardState !== undefined) {
        this.#hardState = { ...batch.hardState }
        this.#hasUnwritten = true
      }
      const items: LogItem[] = []
      for (const [id, incarnation] of batch.peers ?? []) {
        if (incarnation === '') this.#peers.delete(id)
        else this.#peers.set(id, incarnation)
        items.push({ kind: 'peer', id, incarnation })
      }
      this.#take(batch.entries ?? [], items)
      if (items.length === 0 && !(mustSync && this.#hasUnwritten)) return
      await this.#writeFrame(items)
    })
  }

  /**
   * Writes a snapshot's file. It counts only once `compact` or `replace` refers to it, so this may run beside `append`.
   *
   * @throws LOG_DISK_FULL, LOG_IO_FAILED
   */
  async writeSnapshot (meta: SnapshotMeta, data: Uint8Array): Promise<void> {
    await this.#guard(async () => { await this.#disk.writeWhole(snapshotName(meta), encodeSnapshotFile(meta, data)) })
  }

  /**
   * Lets the log begin after an own snapshot that `writeSnapshot` has written: a new segment with the entries behind it, then the removal
   * of everything older. A snapshot that is older than the log's is removed instead.
   *
   * @throws LOG_DISK_FULL, LOG_IO_FAILED
   */
  async compact (meta: SnapshotMeta): Promise<void> {
    await this.#guard(async () => {
      if (meta.index < this.#snapshot.index) return await this.#disk.remove([snapshotName(meta)])
      if (meta.index === this.#snapshot.index) return
      const entry = this.#entries[meta.index - this.#snapshot.index - 1]
      if (entry?.term !== meta.term) throw new ConclaveError('LOG_MISUSED', `the snapshot at ${meta.index} in term ${meta.term} is not of this log`)
      this.#hardState.commit = Math.max(this.#hardState.commit, meta.index)
      await this.#beginAt(meta, this.#entries.slice(meta.index - this.#snapshot.index))
    })
  }

  /**
   * Replaces the whole log by a leader's snapshot that `writeSnapshot` has written, and the hard state with it, in one atomic step.
   *
   * @throws LOG_DISK_FULL, LOG_IO_FAILED
   */
  async replace (meta: SnapshotMeta, hardState?: HardState): Promise<void> {
    await this.#guard(async () => {
      this.#hardState = { ...(hardState ?? this.#hardState) }
      this.#hardState.commit = Math.max(this.#hardState.commit, meta.index)
      await this.#beginAt(meta, [])
    })
  }

  /** Writes what was remembered, and the frame that proves that the one before it was whole. Idempotent. */
  async close (): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      if (this.#failure === undefined) await this.#guard(async () => { await this.#writeFrame([]) })
    } finally {
      await this.#file.close()
    }
  }

  #take (entries: readonly Entry[], items: LogItem[]): void {
    const first = entries[0]
    if (first === undefined) return
    const next = this.#snapshot.index + this.#entries.length + 1
    if (first.index > next || first.index <= this.#snapshot.index) {
      throw new ConclaveError('LOG_MISUSED', `entry ${first.index} does not follow ${next - 1} (snapshot ${this.#snapshot.index})`)
    }
    if (first.index < next) {
      items.push({ kind: 'truncate', from: first.index })
      this.#entries.length = first.index - this.#snapshot.index - 1
    }
    for (const entry of entries) {
      items.push({ kind: 'entry', entry })
      this.#entries.push(entry)
    }
  }

  async #beginAt (meta: SnapshotMeta, entries: Entry[]): Promise<void> {
    const old = this.#snapshot
    this.#snapshot = meta
    this.#entries = entries
    await this.#rewrite(old.index > 0 && snapshotName(old) !== snapshotName(meta) ? [snapshotName(old)] : [])
  }

  async #writeFrame (items: LogItem[]): Promise<void> {
    const frame = encodeFrame([...items, { kind: 'hardState', hardState: this.#hardState }], this.#seed, this.#length)
    this.#hasUnwritten = false
    await this.#file.write(frame)
    await this.#file.sync()
    this.#length += frame.length
    if (this.#length >= this.#segmentBytes) await this.#rotate()
  }

  /** A new segment: complete where little is alive, which bounds the disk's use even if no snapshot is ever taken; else a continuation. */
  async #rotate (): Promise<void> {
    let alive = 0
    for (const entry of this.#entries) alive += entry.data.length + FRAME_HEADER_BYTES
    if (alive <= this.#segmentBytes / 2) await this.#rewrite([])
    else await this.#nextSegment(this.#length, [])
  }

  async #rewrite (alsoUseless: string[]): Promise<void> {
    const useless = [...this.#segments, ...alsoUseless]
    this.#segments = []
    const items: LogItem[] = [{ kind: 'snapshot', meta: this.#snapshot }]
    for (const [id, incarnation] of this.#peers) items.push({ kind: 'peer', id, incarnation })
    for (const entry of this.#entries) items.push({ kind: 'entry', entry })
    items.push({ kind: 'hardState', hardState: this.#hardState })
    this.#hasUnwritten = false
    await this.#nextSegment(undefined, items)
    await this.#disk.remove(useless)
  }

  async #nextSegment (continues: number | undefined, items: LogItem[]): Promise<void> {
    const sequence = this.#sequence + 1
    const header = encodeSegmentHeader({ sequence, continues }, this.incarnation)
    const seed = crc32c(header)
    const bytes = items.length === 0 ? header : Buffer.concat([header, encodeFrame(items, seed, SEGMENT_HEADER_BYTES)])
    await this.#disk.writeWhole(segmentName(sequence), bytes)
    await this.#file.close()
    this.#file = await this.#disk.append(segmentName(sequence))
    this.#sequence = sequence
    this.#seed = seed
    this.#length = bytes.length
    this.#segments.push(segmentName(sequence))
  }

  async #guard (work: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    try {
      await work()
    } catch (error) {
      this.#failure ??= error
      throw error
    }
  }
}
