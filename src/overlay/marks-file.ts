/**
 * The replay guard's marks and our own incarnation on disk, beside the peer store. Written whole, to a new file that replaces the old one.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import type { Mark } from './replay.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

/** Marks of 4096 authors take less than half of it. */
const MAX_FILE_BYTES = 1024 * 1024

export interface Marks {
  /** our own latest; 0: never started here */
  incarnation: number
  /** longest ago first */
  authors: Mark[]
}

/** @returns the marks; undefined where there are none; `corrupt` where there were: then old messages may be taken once more */
export async function readMarks (file: string): Promise<Marks | undefined | 'corrupt'> {
  try {
    const { size } = await fs.stat(file)
    if (size > MAX_FILE_BYTES) return 'corrupt'
    return parse(JSON.parse(await fs.readFile(file, 'utf8'))) ?? 'corrupt'
  } catch (error) {
    if (error instanceof SyntaxError) return 'corrupt'
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Atomic and durable: after a crash the file holds the old marks or the new ones. */
export async function writeMarks (file: string, marks: Marks): Promise<void> {
  const text = JSON.stringify({ version: 1, incarnation: marks.incarnation, authors: marks.authors.map(mark => [mark.author, mark.incarnation, mark.sequence]) })
  await fs.mkdir(path.dirname(file), { recursive: true })
  const handle = await fs.open(`${file}.new`, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await fs.rename(`${file}.new`, file)
}

function parse (json: unknown): Marks | undefined {
  if (typeof json !== 'object' || json === null) return undefined
  const { version, incarnation, authors } = json as Record<string, unknown>
  if (version !== 1 || !isCount(incarnation) || !Array.isArray(authors)) return undefined
  const marks: Mark[] = []
  for (const entry of authors as unknown[]) {
    if (!Array.isArray(entry)) return undefined
    const [author, authorIncarnation, sequence] = entry as unknown[]
    if (typeof author !== 'string' || !isCount(authorIncarnation) || !isCount(sequence)) return undefined
    marks.push({ author: author as PeerIdStr, incarnation: authorIncarnation, sequence })
  }
  return { incarnation, authors: marks }
}

function isCount (value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
