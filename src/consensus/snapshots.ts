/**
 * The replica's snapshots: the latest one in memory, the next one being written beside the log, and one being received.
 */
import type { AppliedEntry, ConsensusLimits, SnapshotWithData } from './consensus.ts'
import type { LogStore } from './log-store.ts'
import type { HardState, SnapshotMeta } from './types.ts'

interface Incoming {
  meta: SnapshotMeta
  data: Uint8Array
  resolve: () => void
  reject: (error: unknown) => void
}

export class Snapshots {
  readonly #store: LogStore
  readonly #limits: ConsensusLimits
  #latest: SnapshotWithData | undefined
  #entriesSince = 0
  #bytesSince = 0
  /** data bytes of applied entries that are still in memory, oldest first; the last belongs to `#sizesEnd` */
  #sizes: number[] = []
  #sizesEnd: number
  #writing: Promise<void> | undefined
  #written: { meta: SnapshotMeta, data: Uint8Array } | undefined
  #incoming: Incoming | undefined

  constructor (store: LogStore, limits: ConsensusLimits, latest: SnapshotWithData | undefined) {
    this.#store = store
    this.#limits = limits
    this.#latest = latest
    this.#sizesEnd = latest?.index ?? 0
  }

  get latest (): SnapshotWithData | undefined { return this.#latest }

  noteApplied (entries: readonly AppliedEntry[]): void {
    for (const { index, data } of entries) {
      this.#entriesSince++
      this.#bytesSince += data.length
      this.#sizes.push(data.length)
      this.#sizesEnd = index
    }
  }

  get isDue (): boolean {
    return this.#writing === undefined && this.#written === undefined &&
      (this.#entriesSince >= this.#limits.snapshotEntries || this.#bytesSince >= this.#limits.snapshotBytes)
  }

  /**
   * Writes a snapshot of the state at `meta.index` beside the running log.
   *
   * @param done - called when it is on disk, or could not be written; then `adopt` is due
   */
  begin (meta: SnapshotMeta, data: Uint8Array, done: (error?: unknown) => void): void {
    this.#entriesSince = 0
    this.#bytesSince = 0
    this.#writing = this.#write(meta, data, done)
  }

  async #write (meta: SnapshotMeta, data: Uint8Array, done: (error?: unknown) => void): Promise<void> {
    let failure: unknown
    try {
      await this.#store.writeSnapshot(meta, data)
      this.#written = { meta, data }
    } catch (error) {
      failure = error
    }
    this.#writing = undefined
    done(failure)
  }

  /**
   * Lets the log begin at the snapshot that was written meanwhile, if there is one. Between two batches only.
   *
   * @returns the facts for the core, and the index up to which entries may leave memory
   */
  async adopt (): Promise<{ meta: SnapshotMeta, compactTo: number } | undefined> {
    const written = this.#written
    if (written === undefined) return undefined
    await this.#store.compact(written.meta)
    this.#written = undefined
    if (written.meta.index <= (this.#latest?.index ?? 0)) return undefined
    this.#latest = { index: written.meta.index, term: written.meta.term, data: written.data }
    return { meta: written.meta, compactTo: this.#tail(written.meta.index) }
  }

  get isReceiving (): boolean { return this.#incoming !== undefined }

  /** A leader's snapshot has arrived; only while not `isReceiving`. @returns resolves when the batch that it went into is done */
  async receive (meta: SnapshotMeta, data: Uint8Array): Promise<void> {
    await new Promise<void>((resolve, reject) => { this.#incoming = { meta, data, resolve, reject } })
  }

  /** Makes the log start at the received snapshot. @returns its state @throws where the core wants a snapshot that never arrived */
  async install (meta: SnapshotMeta, hardState: HardState | undefined): Promise<Uint8Array> {
    const incoming = this.#incoming
    if (incoming?.meta.index !== meta.index || incoming.meta.term !== meta.term) throw new Error(`the snapshot at ${meta.index} is not at hand`)
    await this.#writing
    await this.adopt()
    await this.#store.writeSnapshot(meta, incoming.data)
    await this.#store.replace(meta, hardState)
    this.#latest = { index: meta.index, term: meta.term, data: incoming.data }
    this.#entriesSince = this.#bytesSince = 0
    this.#sizes = []
    this.#sizesEnd = meta.index
    return incoming.data
  }

  /** The batch is done that a received snapshot was part of, whether the core wanted it or not. */
  settleIncoming (error?: unknown): void {
    const incoming = this.#incoming
    this.#incoming = undefined
    if (error === undefined) incoming?.resolve()
    else incoming?.reject(error)
  }

  /** Waits for a write in progress. */
  async stop (): Promise<void> { await this.#writing }

  /** @returns the last index that may leave memory: a tail for slow followers stays, bounded in entries and bytes */
  #tail (index: number): number {
    const first = this.#sizesEnd - this.#sizes.length + 1
    let from = index
    for (let bytes = 0; from > first - 1 && index - from < this.#limits.trailingEntries; from--) {
      bytes += this.#sizes[from - first] ?? 0
      if (bytes > this.#limits.snapshotBytes) break
    }
    this.#sizes.splice(0, Math.max(0, from - first + 1))
    return from
  }
}
