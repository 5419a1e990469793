/**
 * Receipts that are not committed yet, on disk before they are sent, so that a participant that crashes sends them again instead of running
 * their tasks again. One log file, written whole again when most of it is dead.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import { ConclaveError } from '../errors.ts'
import type { LogEvent } from '../api.ts'
import { MAX_RECORD_BYTES, decodeRecords, encodeRecord } from './outbox-log.ts'

export interface OutboxLimits {
  /** of all batches together; past it OUTBOX_FULL */
  maxBytes: number
  /** receipts; past it OUTBOX_FULL */
  maxKeys: number
  /** the file is written anew when it is larger than this and four times larger than what is alive in it */
  compactBytes: number
}

const LIMITS: OutboxLimits = { maxBytes: 64 << 20, maxKeys: 16_384, compactBytes: 256 << 10 }

export interface Outbox {
  /**
   * Keep a batch; resolves when it survives a power cut. Batches that come while others are being written go to the disk together.
   *
   * @param bytes - opaque; must not change. @param keys - one or more, without line breaks, of receipts that are not in the outbox
   * @throws OUTBOX_FULL, DISK_FULL, OUTBOX_IO, OUTBOX_CLOSED: it is not kept then
   */
  append (bytes: Uint8Array, keys: readonly string[]): Promise<void>
  /** This receipt is committed or moot; the batch goes with its last one. Not fsynced: sending a receipt once more does no harm. @throws as `append` */
  remove (key: string): Promise<void>
  has (key: string): boolean
  /** In the order of `append`, each with the keys that are left. */
  entries (): Array<{ bytes: Uint8Array, keys: string[] }>
  /** receipts */
  size (): number
  /** Resolves when everything is written. Idempotent. */
  close (): Promise<void>
}

interface Entry { bytes: Uint8Array, keys: Set<string> }
interface Waiting { record: Uint8Array, isSynced: boolean, resolve: () => void, reject: (error: Error) => void }

/**
 * @param dir - created (0700) where absent; one process's at a time. What a crash cut off at the end of the file is dropped
 * @throws DISK_FULL, OUTBOX_IO
 */
export async function openOutbox (dir: string, options: { limits?: Partial<OutboxLimits>, log?: (event: LogEvent) => void } = {}): Promise<Outbox> {
  const limits = { ...LIMITS, ...options.limits }
  const file = path.join(dir, 'receipts.log')
  const entries = new Set<Entry>()
  const byKey = new Map<string, Entry>()
  let liveBytes = 0

  function add (bytes: Uint8Array, keys: Iterable<string>): Entry {
    const entry: Entry = { bytes, keys: new Set(keys) }
    entries.add(entry)
    liveBytes += bytes.length
    for (const key of entry.keys) byKey.set(key, entry)
    return entry
  }

  function drop (key: string): void {
    const entry = byKey.get(key)
    if (entry === undefined) return
    byKey.delete(key)
    entry.keys.delete(key)
    if (entry.keys.size > 0 || !entries.delete(entry)) return
    liveBytes -= entry.bytes.length
  }

  await load()
  const log = createLogFile(dir, file, limits.compactBytes, () => [...entries].map(({ bytes, keys }) => encodeRecord({ kind: 'add', keys: [...keys], batch: bytes })))
  await log.rewrite()

  async function load (): Promise<void> {
    let bytes: Uint8Array
    try {
      await fs.mkdir(dir, { recursive: true, mode: 0o700 })
      bytes = await fs.readFile(file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw ioError(error, file)
    }
    const { records, goodBytes } = decodeRecords(bytes)
    for (const record of records) {
      if (record.kind === 'add') add(record.batch, record.keys)
      else for (const key of record.keys) drop(key)
    }
    if (goodBytes < bytes.length) options.log?.({ level: 'warn', event: 'outbox:repair', file, droppedBytes: bytes.length - goodBytes, kept: byKey.size })
  }

  return {
    async append (bytes, keys) {
      if (keys.length === 0 || keys.some(key => byKey.has(key) || key.includes('\n'))) throw new Error('invariant: a batch has keys, each of them once')
      const record = encodeRecord({ kind: 'add', keys: [...keys], batch: bytes })
      if (record.length > MAX_RECORD_BYTES || liveBytes + bytes.length > limits.maxBytes || byKey.size + keys.length > limits.maxKeys) throw full(byKey.size, liveBytes)
      add(bytes, keys)
      try {
        await log.write(record, { isSynced: true, liveBytes })
      } catch (error) {
        for (const key of keys) drop(key)
        throw error
      }
    },

    async remove (key) {
      if (!byKey.has(key)) return
      drop(key)
      await log.write(encodeRecord({ kind: 'remove', keys: [key] }), { isSynced: false, liveBytes })
    },

    has: key => byKey.has(key),
    entries: () => [...entries].map(({ bytes, keys }) => ({ bytes, keys: [...keys] })),
    size: () => byKey.size,
    close: async () => { await log.close() }
  }
}

interface LogFile {
  write (record: Uint8Array, options: { isSynced: boolean, liveBytes: number }): Promise<void>
  rewrite (): Promise<void>
  close (): Promise<void>
}

/**
 * @param alive - encoded records of all that is alive, those being written included
 */
function createLogFile (dir: string, file: string, compactBytes: number, alive: () => Uint8Array[]): LogFile {
  let handle: fs.FileHandle | undefined
  let fileBytes = 0
  let live = 0
  let queue: Waiting[] = []
  let writing: Promise<void> | undefined
  let isClosed = false

  /** A new file beside the old one, which it replaces only when it is whole and durable. */
  async function rewrite (): Promise<void> {
    const bytes = Buffer.concat(alive())
    const tmp = `${file}.tmp`
    let next: fs.FileHandle | undefined
    try {
      next = await fs.open(tmp, 'w', 0o600)
      await writeAll(next, bytes)
      await next.sync()
      await fs.rename(tmp, file)
      const folder = await fs.open(dir, 'r')
      try { await folder.sync() } finally { await folder.close() }
    } catch (error) {
      await next?.close()
      await fs.rm(tmp, { force: true })
      throw ioError(error, file)
    }
    await handle?.close()
    handle = next
    fileBytes = bytes.length
  }

  async function append (records: Uint8Array[], isSynced: boolean): Promise<void> {
    if (handle === undefined) throw new Error('invariant: the file is open')
    const bytes = Buffer.concat(records)
    try {
      await writeAll(handle, bytes)
      if (isSynced) await handle.datasync()
      fileBytes += bytes.length
    } catch (error) {
      // Nobody knows what is in the file now, and a failed fsync must not be tried again: the next write makes a new one, for which a full
      // disk needs the room of what was half written. Where even that cannot be given back, the next write says so.
      const broken = handle
      handle = undefined
      await Promise.allSettled([broken.truncate(fileBytes)])
      await broken.close()
      throw ioError(error, file)
    }
  }

  async function drain (): Promise<void> {
    while (queue.length > 0) {
      const batch = queue
      queue = []
      try {
        const isMostlyDead = fileBytes > compactBytes && fileBytes > 4 * live
        if (handle === undefined || isMostlyDead) await rewrite()
        else await append(batch.map(({ record }) => record), batch.some(({ isSynced }) => isSynced))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error as Error)
      }
    }
    writing = undefined
  }

  return {
    rewrite,
    async write (record, { isSynced, liveBytes }) {
      if (isClosed) throw new ConclaveError('OUTBOX_CLOSED', 'this node is stopping')
      live = liveBytes
      await new Promise<void>((resolve, reject) => {
        queue.push({ record, isSynced, resolve, reject })
        writing ??= drain()
      })
    },
    async close () {
      isClosed = true
      await writing
      await handle?.close()
      handle = undefined
    }
  }
}

async function writeAll (handle: fs.FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten
}

function full (keys: number, bytes: number): ConclaveError {
  return new ConclaveError('OUTBOX_FULL', `${keys} receipts (${bytes} bytes) wait to be committed already`,
    { next: 'conclave status: no leader takes them; start the other voters.', details: { keys, bytes } })
}

function ioError (cause: unknown, file: string): ConclaveError {
  if (cause instanceof ConclaveError) return cause
  const errno = (cause as NodeJS.ErrnoException).code ?? ''
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new ConclaveError('DISK_FULL', `no space left for ${file}`, { cause, next: 'Free some space on this disk: nothing that was acknowledged is lost.', details: { file } })
  }
  return new ConclaveError('OUTBOX_IO', `cannot write ${file}: ${errno === '' ? String(cause) : errno}`, { cause, next: 'Check this disk and the permissions of this directory, then start this node again.', details: { file, errno } })
}
