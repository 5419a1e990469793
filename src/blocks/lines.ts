/**
 * Cutting a stream of bytes into splits of whole text lines. Pure: bytes in, splits out; memory is one split and one unfinished line.
 *
 * A line ends with \n or \r\n; in a split every line ends with \n. A file that ends without one gets one, so files can follow one another
 * in a split without two lines becoming one.
 */
import { isUtf8 } from 'node:buffer'
import { ConclaveError } from '../errors.ts'

const LF = 0x0a
const CR = 0x0d
const BOM = Uint8Array.of(0xef, 0xbb, 0xbf)
const FIRST_CARRY_BYTES = 4096

export interface Split {
  bytes: Uint8Array
  records: number
  /** file name of its first record */
  source: string
  /** number of its first record in that file, from 1 */
  firstRecord: number
}

export interface LineCutterInit {
  encoding: 'utf8' | 'latin1'
  /** a split is closed before the line that would make it larger; one line alone may be larger */
  splitBytes: number
  /** of one line with its end; past it INPUT_RECORD_TOO_LONG */
  maxRecordBytes: number
}

export interface LineCutter {
  /** What follows comes from this file; the one before is finished. @returns splits that this closed */
  open (source: string): Split[]
  /** @param chunk - not kept and not changed. @returns splits that this closed. @throws INPUT_RECORD_TOO_LONG, INPUT_NOT_UTF8 */
  write (chunk: Uint8Array): Split[]
  /** @returns the last splits; none where there was no line at all. @throws INPUT_RECORD_TOO_LONG, INPUT_NOT_UTF8 */
  end (): Split[]
}

interface OpenSplit { bytes: Uint8Array, used: number, records: number, source: string, firstRecord: number }

export function createLineCutter (init: LineCutterInit): LineCutter {
  const { encoding, splitBytes, maxRecordBytes } = init
  let source = ''
  /** lines of this file so far */
  let lines = 0
  /** offset in the file of the first line that is not in a split yet */
  let fileOffset = 0
  /** start of a line whose end has not come yet */
  let carry = new Uint8Array(FIRST_CARRY_BYTES)
  let carried = 0
  let open: OpenSplit | undefined
  let closed: Split[] = []

  /** The split that the next line belongs to, which is `size` bytes long as it will stand there. */
  function splitFor (size: number): OpenSplit {
    if (open !== undefined && open.used + size > splitBytes) closeSplit()
    open ??= { bytes: new Uint8Array(Math.max(splitBytes, size)), used: 0, records: 0, source, firstRecord: lines + 1 }
    return open
  }

  function closeSplit (): void {
    if (open === undefined) return
    closed.push({ bytes: open.bytes.subarray(0, open.used), records: open.records, source: open.source, firstRecord: open.firstRecord })
    open = undefined
  }

  /** One line that does not stand in the split as it stands in the file. */
  function addLine (line: Uint8Array, hasEnd: boolean): void {
    let text = hasEnd ? line.subarray(0, -1) : line
    if (text.at(-1) === CR) text = text.subarray(0, -1)
    if (hasBom(text)) text = text.subarray(BOM.length)
    const split = splitFor(text.length + 1)
    split.bytes.set(text, split.used)
    split.bytes[split.used + text.length] = LF
    split.used += text.length + 1
    split.records++
    lines++
  }

  const hasBom = (line: Uint8Array): boolean => lines === 0 && encoding === 'utf8' && BOM.every((byte, i) => line[i] === byte)

  /** Whole lines of a chunk; those that need no change are copied in runs, not one by one. */
  function addLines (bytes: Uint8Array): void {
    let run = 0
    let split: OpenSplit | undefined
    const copyRun = (end: number): void => {
      if (split === undefined || run === end) return
      split.bytes.set(bytes.subarray(run, end), split.used)
      split.used += end - run
    }
    for (let from = 0, next = 0; from < bytes.length; from = next) {
      next = bytes.indexOf(LF, from) + 1
      if (next - from > maxRecordBytes) throw tooLong()
      const isChanged = bytes[next - 2] === CR || (lines === 0 && hasBom(bytes.subarray(from, next)))
      if (isChanged || split === undefined || split.used + next - run > splitBytes) {
        copyRun(from)
        run = isChanged ? next : from
        if (isChanged) addLine(bytes.subarray(from, next), true)
        split = isChanged ? undefined : splitFor(next - from)
        if (isChanged) continue
      }
      if (split !== undefined) split.records++
      lines++
    }
    copyRun(bytes.length)
  }

  /** Bytes of whole lines: a line end is never part of another character, so each line is valid by itself. */
  function check (bytes: Uint8Array): void {
    if (encoding === 'latin1' || isUtf8(bytes)) return
    const at = firstInvalidUtf8(bytes)
    throw new ConclaveError('INPUT_NOT_UTF8', `${source} is not UTF-8: byte ${bytes[at]} at offset ${fileOffset + at}`,
      { next: 'Add --encoding latin1, which takes every byte as it is, or convert the file first.', details: { file: source, offset: fileOffset + at } })
  }

  function tooLong (): ConclaveError {
    return new ConclaveError('INPUT_RECORD_TOO_LONG', `${source}: line ${lines + 1} is longer than ${maxRecordBytes} bytes`,
      { next: 'A record is one line: split the file into lines first.', details: { file: source, line: lines + 1, maxRecordBytes } })
  }

  function keep (rest: Uint8Array): void {
    const size = carried + rest.length
    if (size > maxRecordBytes) throw tooLong()
    if (size > carry.length) {
      const larger = new Uint8Array(Math.min(maxRecordBytes, Math.max(size, 2 * carry.length)))
      larger.set(carry.subarray(0, carried))
      carry = larger
    }
    carry.set(rest, carried)
    carried = size
  }

  function endFile (): void {
    if (carried > 0) {
      const line = carry.subarray(0, carried)
      carried = 0
      check(line)
      addLine(line, false)
    }
    lines = 0
    fileOffset = 0
  }

  function takeClosed (): Split[] {
    const taken = closed
    closed = []
    return taken
  }

  return {
    open (name) {
      endFile()
      source = name
      return takeClosed()
    },

    write (chunk) {
      let from = 0
      if (carried > 0) {
        from = chunk.indexOf(LF) + 1
        keep(from === 0 ? chunk : chunk.subarray(0, from))
        if (from === 0) return takeClosed()
        const line = carry.subarray(0, carried)
        carried = 0
        check(line)
        addLine(line, true)
        fileOffset += line.length
      }
      const end = Math.max(from, chunk.lastIndexOf(LF) + 1)
      const whole = chunk.subarray(from, end)
      check(whole)
      addLines(whole)
      fileOffset += whole.length
      if (end < chunk.length) keep(chunk.subarray(end))
      return takeClosed()
    },

    end () {
      endFile()
      closeSplit()
      return takeClosed()
    }
  }
}

/**
 * Where the first sequence starts that is not UTF-8.
 *
 * @param bytes - not valid UTF-8 as a whole
 */
export function firstInvalidUtf8 (bytes: Uint8Array): number {
  // "Valid" is not monotone over prefixes, since one may end within a character; "no error yet" is.
  let good = 0
  let bad = bytes.length + 1
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1
    if (hasNoErrorYet(bytes.subarray(0, middle))) good = middle
    else bad = middle
  }
  // The first `good` bytes are whole characters and at most 3 bytes of one that never gets whole.
  let start = good
  while (!isUtf8(bytes.subarray(0, start))) start--
  return start
}

function hasNoErrorYet (bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return true
  } catch (error) {
    if (error instanceof TypeError) return false
    throw error
  }
}
