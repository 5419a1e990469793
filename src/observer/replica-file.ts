/**
 * The replica on disk, for what a node must know before it has met anybody: who is a member. A cache: where it is missing, damaged or
 * old, the ledger is fetched again.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs/promises'
import type { LogEvent } from '../api.ts'
import type { Replica } from './replica.ts'

const HASH_BYTES = 32
/** A change is written this much later, together with all that came meanwhile. */
const WRITE_AFTER_MS = 5000

export interface ReplicaFile {
  /** Restore the replica from the file, if there is a good one. Call before anything feeds the replica. */
  load (): Promise<void>
  /** Write what is not written yet. */
  stop (): Promise<void>
}

export function createReplicaFile (file: string, replica: Replica, log: (event: LogEvent) => void): ReplicaFile {
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()
  let writtenIndex = 0

  async function write (): Promise<void> {
    const { index } = replica.ledger
    if (index === writtenIndex) return
    const bytes = replica.snapshot()
    const temporary = `${file}.tmp`
    await fs.writeFile(temporary, Buffer.concat([createHash('sha256').update(bytes).digest(), bytes]), { mode: 0o600 })
    await fs.rename(temporary, file)
    writtenIndex = index
  }

  const schedule = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      writing = writing.then(write).catch((error: unknown) => { log({ level: 'warn', event: 'replica:unwritten', reason: String(error) }) })
    }, WRITE_AFTER_MS)
  }
  let off = (): void => {}

  return {
    async load () {
      off = replica.onChange(schedule)
      const bytes = await fs.readFile(file).catch(() => undefined)
      if (bytes === undefined) return
      const body = bytes.subarray(HASH_BYTES)
      if (!createHash('sha256').update(body).digest().equals(bytes.subarray(0, HASH_BYTES))) {
        log({ level: 'warn', event: 'replica:damaged', file })
        return
      }
      try {
        replica.restore(body, 0)
        writtenIndex = replica.ledger.index
      } catch (error) {
        log({ level: 'warn', event: 'replica:damaged', file, reason: String(error) })
      }
    },
    async stop () {
      off()
      clearTimeout(timer)
      await writing
      await write()
    }
  }
}
