/**
 * How a block gets onto the disk: whole or not at all, and durable where that was asked for.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import { ConclaveError } from '../errors.ts'

export interface BlockFiles {
  /**
   * Once resolved the file is there whole. Before that it is not there, or as it was; a crash leaves at most a file in `tmp/`.
   *
   * @param isDurable - fsync it and its directory: it also survives a power cut
   * @throws DISK_FULL, BLOCK_IO
   */
  write (file: string, bytes: Uint8Array, isDurable: boolean): Promise<void>
  /** Make a file that exists durable. @throws DISK_FULL, BLOCK_IO */
  sync (file: string): Promise<void>
  /** @returns undefined where there is none. @throws BLOCK_IO */
  read (file: string): Promise<Uint8Array | undefined>
  /** No error where there is none. @throws BLOCK_IO */
  remove (file: string): Promise<void>
  /** @throws BLOCK_IO */
  move (from: string, to: string): Promise<void>
}

/**
 * @param tmpDir - on the same file system; emptied at open, since what is in it was never finished
 */
export function createBlockFiles (tmpDir: string): BlockFiles {
  const syncDirectory = createDirectorySync()
  let lastTmp = 0

  return {
    async write (file, bytes, isDurable) {
      const tmp = path.join(tmpDir, String(++lastTmp))
      try {
        const handle = await fs.open(tmp, 'wx', 0o600)
        try {
          for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten
          if (isDurable) await handle.sync()
        } finally { await handle.close() }
        await fs.rename(tmp, file)
        if (isDurable) await syncDirectory(path.dirname(file))
      } catch (error) {
        await fs.rm(tmp, { force: true })
        throw diskError(error, 'write', file)
      }
    },

    async sync (file) {
      try {
        const handle = await fs.open(file, 'r+')
        try { await handle.sync() } finally { await handle.close() }
        await syncDirectory(path.dirname(file))
      } catch (error) {
        throw diskError(error, 'sync', file)
      }
    },

    async read (file) {
      try {
        return await fs.readFile(file)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw diskError(error, 'read', file)
      }
    },

    async remove (file) {
      try { await fs.rm(file, { force: true }) } catch (error) { throw diskError(error, 'remove', file) }
    },

    async move (from, to) {
      try { await fs.rename(from, to) } catch (error) { throw diskError(error, 'move', from) }
    }
  }
}

/**
 * fsync of a directory, shared: calls that come while one is under way wait together for the next.
 */
function createDirectorySync (): (dir: string) => Promise<void> {
  const running = new Map<string, Promise<void>>()
  const queued = new Map<string, Promise<void>>()

  return dir => {
    const joined = queued.get(dir)
    if (joined !== undefined) return joined
    const start = async (): Promise<void> => {
      queued.delete(dir)
      const own = syncDirectory(dir)
      running.set(dir, own)
      try { await own } finally { if (running.get(dir) === own) running.delete(dir) }
    }
    const next = (running.get(dir) ?? Promise.resolve()).then(start, start)
    queued.set(dir, next)
    return next
  }
}

/** fsync of one directory: makes the names in it durable. */
export async function syncDirectory (dir: string): Promise<void> {
  const handle = await fs.open(dir, 'r')
  try { await handle.sync() } finally { await handle.close() }
}

/** What a failed file operation means to the caller. */
export function diskError (cause: unknown, what: string, file: string): ConclaveError {
  if (cause instanceof ConclaveError) return cause
  const errno = (cause as NodeJS.ErrnoException).code ?? ''
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new ConclaveError('DISK_FULL', `no space left to ${what} ${file}`,
      { cause, next: 'Free some space on this disk (nothing that was acknowledged is lost), then try again; or use another one: conclave up --data-dir DIR', details: { file } })
  }
  return new ConclaveError('BLOCK_IO', `cannot ${what} ${file}: ${errno === '' ? String(cause) : errno}`,
    { cause, next: 'Check this disk, and that the directory belongs to the user who runs conclave.', details: { file, errno } })
}
