/**
 * Files of text lines into stored splits: read once, streaming; what is in memory does not grow with the files.
 */
import fs from 'node:fs/promises'
import { ConclaveError } from '../errors.ts'
import { cidBytes } from './cid.ts'
import { createLineCutter } from './lines.ts'
import type { LineCutter, Split } from './lines.ts'
import { putObject } from './object.ts'
import type { BlockStore } from './store.ts'
import type { JobInput } from '../../protocols/ledger/messages.js'

/** Splits of one import, as many as a job may have inputs. */
export const MAX_SPLITS = 4096
export const DEFAULT_SPLIT_BYTES = 1 << 20
export const MAX_SPLIT_BYTES = 16 << 20
/** The default limit of one line with its end. */
export const DEFAULT_RECORD_BYTES = 1 << 20

const READ_BYTES = 1 << 20
/** Splits that are being written while the next is read. */
const WRITES_AT_ONCE = 4
/** Lines that do not fit leave a gap at the end of a split: room for that in the count of splits. */
const PACKING = 0.75
const MAX_SOURCE_CHARS = 512

export interface ImportOptions {
  store: BlockStore
  /** utf8 (default) is strict; latin1 takes every byte as it is */
  encoding?: 'utf8' | 'latin1'
  /** aimed-at size, 1 byte to 16 MiB, default 1 MiB; raised where there would be more than 4,096 splits */
  splitBytes?: number
  /** of one line with its end, at most 16 MiB, default 1 MiB */
  maxRecordBytes?: number
  /** pins every split for this owner as it is written */
  owner?: string
  signal?: AbortSignal
}

/**
 * Store the lines of these files as splits of whole lines, in order, durably. Small files share a split; an empty file has no line.
 * A UTF-8 byte order mark is dropped; \r\n becomes \n.
 *
 * @param paths - existing files; they are checked, all of them, before the first is read
 * @returns one JobInput a split, `holders` empty; none at all where there is no line
 * @throws INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_IS_DIRECTORY, INPUT_NOT_UTF8, INPUT_RECORD_TOO_LONG, INPUT_TOO_LARGE; the codes of
 *   `BlockStore.put`; the signal's reason
 */
export async function * importInputs (paths: readonly string[], options: ImportOptions): AsyncGenerator<JobInput> {
  const { store, signal, owner, encoding = 'utf8', maxRecordBytes = DEFAULT_RECORD_BYTES } = options
  const splitBytes = sizeOfSplits(await totalBytes(paths, signal), options.splitBytes ?? DEFAULT_SPLIT_BYTES)
  const cutter = createLineCutter({ encoding, splitBytes, maxRecordBytes: Math.min(maxRecordBytes, MAX_SPLIT_BYTES) })
  const writing: Array<Promise<JobInput>> = []
  let count = 0
  try {
    for await (const splits of readSplits(paths, cutter, signal)) {
      for (const split of splits) {
        if (++count > MAX_SPLITS) throw tooLarge(splitBytes)
        const written = storeSplit(store, split, owner)
        // Awaited in order below; should an earlier one fail first, this one's failure is not a second error.
        written.catch(() => undefined)
        writing.push(written)
        if (writing.length >= WRITES_AT_ONCE) yield await (writing.shift() as Promise<JobInput>)
      }
    }
    for (let next = writing.shift(); next !== undefined; next = writing.shift()) yield await next
  } finally {
    await Promise.allSettled(writing)
  }
}

async function storeSplit (store: BlockStore, split: Split, owner: string | undefined): Promise<JobInput> {
  const { cid, bytes } = await putObject(store, split.bytes, owner === undefined ? { durable: true } : { durable: true, owner })
  return { cid: cidBytes(cid), bytes, records: split.records, holders: [], source: shorten(split.source), firstRecord: split.firstRecord }
}

/** The end of a path says more than its beginning. */
const shorten = (source: string): string => source.length <= MAX_SOURCE_CHARS ? source : `…${source.slice(1 - MAX_SOURCE_CHARS)}`

async function totalBytes (paths: readonly string[], signal: AbortSignal | undefined): Promise<number> {
  let total = 0
  for (const path of paths) {
    signal?.throwIfAborted()
    try {
      const stat = await fs.stat(path)
      checkKind(stat, path)
      total += stat.size
      await fs.access(path, fs.constants.R_OK)
    } catch (error) {
      throw inputError(error, path)
    }
  }
  return total
}

function sizeOfSplits (total: number, asked: number): number {
  if (!Number.isInteger(asked) || asked < 1 || asked > MAX_SPLIT_BYTES) {
    throw new ConclaveError('INPUT_SPLIT_INVALID', `a split has 1 to ${MAX_SPLIT_BYTES} bytes, not ${asked}`, { next: `Give --split a size up to ${MAX_SPLIT_BYTES >> 20} MiB.` })
  }
  const needed = Math.ceil(total / (MAX_SPLITS * PACKING))
  if (needed > MAX_SPLIT_BYTES) throw tooLarge(MAX_SPLIT_BYTES, total)
  return Math.max(asked, needed)
}

async function * readSplits (paths: readonly string[], cutter: LineCutter, signal: AbortSignal | undefined): AsyncGenerator<Split[]> {
  const chunk = Buffer.allocUnsafeSlow(READ_BYTES)
  for (const path of paths) {
    yield cutter.open(path)
    let handle: fs.FileHandle | undefined
    try {
      // not to wait for ever for somebody to write into a pipe that took the file's place since it was checked
      handle = await fs.open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
      checkKind(await handle.stat(), path)
      for (;;) {
        signal?.throwIfAborted()
        const { bytesRead } = await handle.read(chunk, 0, READ_BYTES)
        if (bytesRead === 0) break
        yield cutter.write(chunk.subarray(0, bytesRead))
      }
    } catch (error) {
      signal?.throwIfAborted()
      throw inputError(error, path)
    } finally {
      await handle?.close()
    }
  }
  yield cutter.end()
}

function inputError (cause: unknown, file: string): Error {
  if (cause instanceof ConclaveError) return cause
  const errno = (cause as NodeJS.ErrnoException).code
  if (errno === 'EISDIR') return isDirectory(file)
  if (errno === 'ENOENT' || errno === 'ENOTDIR') {
    return new ConclaveError('INPUT_NOT_FOUND', `there is no file ${file}`, { cause, next: 'Check the path; put a pattern in quotes: --input \'logs/*.txt\'', details: { file } })
  }
  // Only what the file system says about this file: a failure of ours must keep its own name.
  if (errno === undefined || (cause as NodeJS.ErrnoException).syscall === undefined) return cause as Error
  return new ConclaveError('INPUT_UNREADABLE', `cannot read ${file}: ${errno}`, { cause, next: 'Check the permissions of this file.', details: { file, errno } })
}

/** Regular files only: opening a pipe or a device may block a thread of ours for ever. */
function checkKind (stat: { isDirectory (): boolean, isFile (): boolean }, file: string): void {
  if (stat.isDirectory()) throw isDirectory(file)
  if (!stat.isFile()) throw new ConclaveError('INPUT_NOT_A_FILE', `${file} is a pipe or a device, not a file`, { next: 'pipe it: … | conclave run JOB --input -', details: { file } })
}

function isDirectory (file: string): ConclaveError {
  return new ConclaveError('INPUT_IS_DIRECTORY', `${file} is a directory`, { next: `Name the files in it: --input '${file.replace(/\/$/, '')}/*'`, details: { file } })
}

function tooLarge (splitBytes: number, total?: number): ConclaveError {
  const size = total === undefined ? '' : ` (${total} bytes)`
  return new ConclaveError('INPUT_TOO_LARGE', `this input${size} does not fit into ${MAX_SPLITS} splits of ${splitBytes} bytes`,
    { next: `Give a larger --split (up to ${MAX_SPLIT_BYTES >> 20} MiB), or submit it as several jobs.`, details: { maxSplits: MAX_SPLITS, splitBytes } })
}
