/** A job that takes its time, whose result is known: so many lines of each key. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import type { Daemon } from '../support/daemons.ts'

/** A millisecond or two of work a line, so that what the test does falls into the middle. */
export const SLOW_COUNT = `export function map (line, emit) { let n = 0; for (let i = 0; i < 2e6; i++) n = (n * 31 + i) | 0; emit(line.split(' ')[0], 1) }
export function combine (key, values) { return values.reduce((a, b) => a + b, 0) }
export function reduce (key, values) { return { key, count: values.reduce((a, b) => a + b, 0) } }`

export interface CountJob { input: string, expected: Record<string, number> }

/** Write an input of `lines` lines, spread evenly over `keys` keys. */
export async function countJob (dir: string, { lines, keys }: { lines: number, keys: number }): Promise<CountJob> {
  const input = path.join(dir, `in-${lines}-${keys}.txt`)
  await fs.writeFile(input, Array.from({ length: lines }, (_, i) => `k${i % keys} line ${i}\n`).join(''))
  return { input, expected: Object.fromEntries(Array.from({ length: keys }, (_, i) => [`k${i}`, lines / keys])) }
}

/** All records of a job, as any member tells them; waits for its end. @throws AssertionError where a key comes twice */
export async function readOnce (daemon: Daemon, job: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for await (const record of daemon.client.results(job, 'ledger')) {
    const { key, count } = record as { key: string, count: number }
    assert.equal(counts[key], undefined, `${key} came twice`)
    counts[key] = count
  }
  return counts
}
