/**
 * The word count that `examples/word-count.mjs` does, in one process and without any of Conclave: what the mesh's result is compared with.
 */
import fs from 'node:fs/promises'

/**
 * @param text - latin1: a byte is a character
 * @param counts - added to
 */
export function countWords (text: string, counts: Map<string, number>): void {
  for (const [word] of text.matchAll(/[A-Za-z]+/g)) {
    const lower = word.toLowerCase()
    counts.set(lower, (counts.get(lower) ?? 0) + 1)
  }
}

/** @returns how often each word stands in these files. @throws the signal's reason */
export async function countFiles (files: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const file of files) {
    signal.throwIfAborted()
    countWords(await fs.readFile(file, 'latin1'), counts)
  }
  return counts
}

/**
 * The job's records as counts.
 *
 * @param records - `{ word, count }`
 * @throws Error on a record of another shape, or a word that comes twice
 */
export async function readCounts (records: AsyncIterable<unknown>): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for await (const record of records) {
    const { word, count } = (record ?? {}) as { word?: unknown, count?: unknown }
    if (typeof word !== 'string' || typeof count !== 'number') throw new Error(`this is no count of a word: ${JSON.stringify(record).slice(0, 200)}`)
    if (counts.has(word)) throw new Error(`the job counted ${JSON.stringify(word.slice(0, 80))} twice`)
    counts.set(word, count)
  }
  return counts
}

export interface Difference { word: string, job: number, plain: number }

/** @returns where the two differ, most wrong first; empty where they are equal */
export function differences (job: ReadonlyMap<string, number>, plain: ReadonlyMap<string, number>): Difference[] {
  const found: Difference[] = []
  for (const word of new Set([...job.keys(), ...plain.keys()])) {
    const difference = { word, job: job.get(word) ?? 0, plain: plain.get(word) ?? 0 }
    if (difference.job !== difference.plain) found.push(difference)
  }
  return found.sort((a, b) => Math.abs(b.job - b.plain) - Math.abs(a.job - a.plain))
}

/** @returns the most frequent words, equal ones in the order of the alphabet */
export function topWords (counts: ReadonlyMap<string, number>, n: number): Array<{ word: string, count: number }> {
  return [...counts].map(([word, count]) => ({ word, count })).sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1)).slice(0, n)
}
