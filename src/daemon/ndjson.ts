/**
 * NDJSON over HTTP, with backpressure both ways: a slow client slows the node's stream, a client that goes away ends it.
 */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { ConclaveError } from '../errors.ts'
import { toErrorBody } from './error-body.ts'

/**
 * Writes every item as a line, then the closing line. Errors of `lines` become the closing line; a client that left is no error.
 *
 * @param signal - aborted when the client is gone or the daemon stops
 */
export async function writeLines (response: ServerResponse, lines: AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  response.flushHeaders()
  let last: unknown = { end: true }
  try {
    for await (const line of lines) {
      if (response.destroyed) return
      if (!response.write(`${JSON.stringify(line)}\n`)) await once(response, 'drain', { signal })
    }
  } catch (error) {
    if (response.destroyed) return
    last = { error: toErrorBody(signal.aborted ? new ConclaveError('DAEMON_STOPPING', 'the daemon is stopping', { next: 'conclave up' }) : error) }
  }
  response.end(`${JSON.stringify(last)}\n`)
}

/**
 * @param chunks - bytes of NDJSON
 * @returns the parsed lines, empty ones left out
 * @throws DAEMON_UNREADABLE on a line that is too long or no JSON
 */
export async function * readLines (chunks: AsyncIterable<Buffer>, maxLineBytes: number): AsyncGenerator<unknown> {
  let parts: Buffer[] = []
  let held = 0
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      const line = parts.length === 0 ? chunk.subarray(from, end) : Buffer.concat([...parts, chunk.subarray(from, end)])
      parts = []
      held = 0
      from = end + 1
      if (line.length > 0) yield parse(line)
    }
    if (from === chunk.length) continue
    parts.push(chunk.subarray(from))
    held += chunk.length - from
    if (held > maxLineBytes) throw new ConclaveError('DAEMON_UNREADABLE', `the daemon sent a line of more than ${maxLineBytes} bytes`)
  }
  if (held > 0) yield parse(Buffer.concat(parts))
}

function parse (line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'))
  } catch (error) {
    throw new ConclaveError('DAEMON_UNREADABLE', 'the daemon sent something that is no JSON', { cause: error, next: 'is it another version? conclave down, then conclave up' })
  }
}
