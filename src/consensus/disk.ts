/**
 * The few things that the log asks of a disk, with durability spelt out, so that tests can put a failing disk in its place.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import { ConclaveError } from '../../keys/conclave-error.ts'

/** One flat directory that belongs to the log alone. Every operation rejects with LOG_DISK_FULL or LOG_IO_FAILED. */
export interface Disk {
  /** for messages */
  readonly dir: string
  list (): Promise<string[]>
  read (name: string): Promise<Uint8Array>
  /** Once resolved the file is there whole, also after a power cut; before that not at all, or as it was. */
  writeWhole (name: string, bytes: Uint8Array): Promise<void>
  /** Durable once resolved. */
  truncate (name: string, length: number): Promise<void>
  /** Durable once resolved; missing files are no error. */
  remove (names: readonly string[]): Promise<void>
  /** An existing file, to be written at its end. */
  append (name: string): Promise<DiskFile>
}

export interface DiskFile {
  /** All of `bytes`, or a rejection after which the end of the file is unknown. */
  write (bytes: Uint8Array): Promise<void>
  /** Resolves when what was written is on the medium. After a rejection nothing is known and nothing may be retried (fsyncgate). */
  sync (): Promise<void>
  close (): Promise<void>
}

/** Suffix of files that are being written; whoever finds one after a crash deletes it. */
export const TEMPORARY = '.tmp'

/**
 * @param dir - created if absent, readable by its owner only
 * @returns the directory as a Disk
 * @throws LOG_DISK_FULL, LOG_IO_FAILED
 */
export async function openDirectory (dir: string): Promise<Disk> {
  const at = (name: string): string => path.join(dir, name)
  const doing = async <T>(what: string, name: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (cause) {
      throw diskError(cause, what, at(name))
    }
  }
  await doing('create', '', async () => {
    const made = await fs.mkdir(dir, { recursive: true, mode: 0o700 })
    if (made === undefined) return
    for (let child = path.resolve(dir); child.length >= path.resolve(made).length; child = path.dirname(child)) await syncDir(path.dirname(child))
  })

  return {
    dir,
    list: async () => await doing('list', '', async () => (await fs.readdir(dir)).sort()),
    read: async name => await doing('read', name, async () => new Uint8Array(await fs.readFile(at(name)))),
    writeWhole: async (name, bytes) => {
      await doing('write', name, async () => {
        await writeSynced(at(name + TEMPORARY), bytes)
        await fs.rename(at(name + TEMPORARY), at(name))
        await syncDir(dir)
      })
    },
    truncate: async (name, length) => {
      await doing('truncate', name, async () => {
        const handle = await fs.open(at(name), 'r+')
        try {
          await handle.truncate(length)
          await handle.sync()
        } finally { await handle.close() }
      })
    },
    remove: async names => {
      if (names.length === 0) return
      await doing('remove', names[0]!, async () => {
        for (const name of names) await fs.rm(at(name), { force: true })
        await syncDir(dir)
      })
    },
    append: async name => {
      const handle = await doing('open', name, async () => await fs.open(at(name), 'a'))
      return {
        write: async bytes => { await doing('write', name, async () => { await writeAll(handle, bytes) }) },
        sync: async () => { await doing('sync', name, async () => { await handle.datasync() }) },
        close: async () => { await doing('close', name, async () => { await handle.close() }) }
      }
    }
  }
}

/** A file's name is durable only once its directory is. */
async function syncDir (dir: string): Promise<void> {
  const handle = await fs.open(dir, 'r')
  try { await handle.sync() } finally { await handle.close() }
}

async function writeSynced (file: string, bytes: Uint8Array): Promise<void> {
  const handle = await fs.open(file, 'w', 0o600)
  try {
    await writeAll(handle, bytes)
    await handle.sync()
  } finally { await handle.close() }
}

/** A write may be short; the rest of a short write says why. */
async function writeAll (handle: fs.FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten
}

function diskError (cause: unknown, what: string, file: string): ConclaveError {
  const errno = (cause as NodeJS.ErrnoException).code ?? ''
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new ConclaveError('LOG_DISK_FULL', `no space left to ${what} ${file}`,
      { cause, next: 'Free some space, then start this node again: nothing that was acknowledged is lost.', details: { file } })
  }
  return new ConclaveError('LOG_IO_FAILED', `cannot ${what} ${file}: ${errno === '' ? String(cause) : errno}`,
    { cause, next: 'Check the disk and the permissions of this directory, then start this node again.', details: { file, errno } })
}
