/**
 * Data to stdout, progress to stderr. One writer each, so that a reader that goes away (`| head`) and a slow one are handled in one place.
 */
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { SCHEMA_VERSION } from '../daemon/routes.ts'

export interface Output {
  /** progress may be drawn on stderr */
  readonly isTerminal: boolean
  readonly columns: number
  /** Waits while the reader is slow. @throws OutputClosed */
  data (text: string): Promise<void>
  /** One line of JSON with the schema's version. @throws OutputClosed */
  json (value: object): Promise<void>
  /** To stderr, after the progress line was taken away. */
  note (text: string): void
  /** Draws a line on stderr over the last one; nothing where stderr is no terminal. */
  progress (line: string): void
  /** Takes the progress line away. */
  clear (): void
}

/** The reader of stdout went away: no failure of ours. */
export class OutputClosed extends Error {}

export function createOutput (stdout: Writable, stderr: Writable & { isTTY?: boolean, columns?: number }): Output {
  let isClosed = false
  let isDrawn = false
  stdout.on('error', () => { isClosed = true })
  stderr.on('error', () => { isDrawn = false })
  const clear = (): void => {
    if (isDrawn) stderr.write('\r\u001b[K')
    isDrawn = false
  }
  const data = async (text: string): Promise<void> => {
    if (isClosed || stdout.destroyed) throw new OutputClosed('the reader of stdout went away')
    if (stdout.write(text)) return
    // An error closes it as well: whichever comes first; the other one's listeners go with it.
    const waiting = new AbortController()
    const { signal } = waiting
    await Promise.race([once(stdout, 'drain', { signal }), once(stdout, 'close', { signal })]).catch(() => { isClosed = true })
    waiting.abort()
    if (isClosed) throw new OutputClosed('the reader of stdout went away')
  }
  return {
    isTerminal: stderr.isTTY === true,
    columns: stderr.columns ?? 80,
    data,
    json: async (value) => await data(`${JSON.stringify({ schemaVersion: SCHEMA_VERSION, ...value })}\n`),
    note (text) {
      clear()
      stderr.write(text.endsWith('\n') ? text : `${text}\n`)
    },
    progress (line) {
      if (stderr.isTTY !== true) return
      stderr.write(`\r\u001b[K${line}`)
      isDrawn = true
    },
    clear
  }
}
