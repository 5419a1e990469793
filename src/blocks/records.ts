/**
 * NDJSON, the format of task outputs, back into records. Pure.
 */
import { ConclaveError } from '../errors.ts'

const LF = 0x0a

/**
 * @param bytes - one JSON value a line; empty lines are skipped. Must not change while the generator is in use
 * @returns the values in order, each parsed when it is asked for
 * @throws OUTPUT_MALFORMED {line} when the line is reached that is not UTF-8 or not JSON
 */
export function * exportRecords (bytes: Uint8Array): Generator<unknown, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const parse = (text: Uint8Array, line: number): unknown => {
    try {
      return JSON.parse(decoder.decode(text))
    } catch (cause) {
      throw new ConclaveError('OUTPUT_MALFORMED', `line ${line} of this output is not JSON`, { cause, details: { line } })
    }
  }
  let line = 0
  for (let from = 0, end = 0; from < bytes.length; from = end + 1) {
    end = bytes.indexOf(LF, from)
    if (end === -1) end = bytes.length
    line++
    if (end > from) yield parse(bytes.subarray(from, end), line)
  }
}
