/**
 * One bulk stream as a sequence of small frames and CARs, with a limit on every length before it is allocated and on every wait.
 */
import { varint } from 'multiformats'
import { ConclaveError } from '../errors.ts'
import { CAR_END, CAR_HEADER, MAX_CAR_HEADER_BYTES, MAX_SECTION_BYTES, checkHeader, readSection, sectionHead, withLength } from './car.ts'
import type { CidStr } from './cid.ts'
import type { BoundedStream } from '../overlay/overlay.ts'

/** A frame carries at most 256 CIDs and a message. */
export const MAX_FRAME_BYTES = 16 * 1024
/** Within one block, this much must come in every `stallMs`. */
const PROGRESS_BYTES = 64 * 1024
/** Small blocks are sent together up to this. */
const FLUSH_BYTES = 64 * 1024
/** Every length here is below 2^28. */
const MAX_VARINT_BYTES = 4

export interface Session {
  /** @returns undefined where the peer has ended the stream. @throws BLOCKS_PROTOCOL, BLOCKS_STALLED; what `fail` was given; the stream's own error */
  readFrame (waitMs: number): Promise<Uint8Array | undefined>
  writeFrame (frame: Uint8Array): Promise<void>
  /** The sections of one CAR, up to its end mark. Blocks are not yet compared with their CIDs. @throws as `readFrame` */
  readCar (): AsyncGenerator<{ cid: CidStr, block: Uint8Array }>
  /** @param blocks - pulled one at a time, as fast as the peer reads */
  writeCar (blocks: AsyncIterable<{ cid: CidStr, block: Uint8Array }>): Promise<void>
  /** Bytes that ever arrived. */
  readonly received: number
  /** Half-close. */
  close (): Promise<void>
  /** Ends it at once, both ways; pending reads and writes reject with this error. Idempotent. */
  fail (error: Error): void
}

/**
 * @param stallMs - how long a step may take: a frame, a block, or 64 KiB of a block
 */
export function createSession (stream: BoundedStream, stallMs: number): Session {
  const source = stream.source[Symbol.asyncIterator]()
  const writing = new AbortController()
  let failure: Error | undefined
  let rejectRead: ((error: Error) => void) | undefined
  let chunk: Uint8Array = new Uint8Array(0)
  let received = 0
  let sinceProgress = 0
  // Two, since a put listens for a refusal while it sends.
  const readTimer = createTimer(() => { fail(new ConclaveError('BLOCKS_STALLED', 'the peer sent nothing for too long', { details: { stallMs } })) })
  const writeTimer = createTimer(() => { fail(new ConclaveError('BLOCKS_STALLED', 'the peer took nothing for too long', { details: { stallMs } })) })

  function fail (error: Error): void {
    if (failure !== undefined) return
    failure = error
    readTimer.stop()
    writeTimer.stop()
    stream.abort(error)
    writing.abort(error)
    rejectRead?.(error)
  }

  /** @returns false at the end of the stream */
  async function pull (): Promise<boolean> {
    if (failure !== undefined) throw failure
    const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      rejectRead = reject
      source.next().then(resolve, error => { reject(streamError(error)) })
    })
    rejectRead = undefined
    if (next.done === true) return false
    chunk = next.value
    received += chunk.length
    sinceProgress += chunk.length
    if (sinceProgress >= PROGRESS_BYTES) {
      sinceProgress = 0
      readTimer.restart()
    }
    return true
  }

  /** @returns undefined at the end of the stream */
  async function readLength (max: number): Promise<number | undefined> {
    const digits: number[] = []
    do {
      while (chunk.length === 0) {
        if (await pull()) continue
        if (digits.length === 0) return undefined
        throw cut()
      }
      digits.push(chunk[0]!)
      chunk = chunk.subarray(1)
    } while (digits.at(-1)! >= 0x80 && digits.length < MAX_VARINT_BYTES)
    if (digits.at(-1)! >= 0x80) throw protocol('a length that never ends')
    const [length] = varint.decode(Uint8Array.from(digits))
    if (length > max) throw protocol(`a length of ${length}, at most ${max} are allowed here`)
    return length
  }

  async function readExactly (length: number): Promise<Uint8Array> {
    if (chunk.length >= length) {
      const bytes = chunk.subarray(0, length)
      chunk = chunk.subarray(length)
      return bytes
    }
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length;) {
      if (chunk.length === 0 && !await pull()) throw cut()
      const part = chunk.subarray(0, length - at)
      bytes.set(part, at)
      at += part.length
      chunk = chunk.subarray(part.length)
    }
    return bytes
  }

  /** A failure of what the peer sent ends the session, so that no caller reads on from the middle of something. */
  async function step <T>(timer: Timer, ms: number, work: () => Promise<T>): Promise<T> {
    if (failure !== undefined) throw failure
    sinceProgress = 0
    timer.start(ms)
    try {
      return await work()
    } catch (error) {
      fail(error as Error)
      throw failure ?? error
    } finally {
      timer.stop()
    }
  }

  const write = async (bytes: Uint8Array): Promise<void> => {
    await step(writeTimer, stallMs, async () => {
      try { await stream.write(bytes, writing.signal) } catch (error) { throw streamError(error) }
    })
  }

  return {
    async readFrame (waitMs) {
      return await step(readTimer, waitMs, async () => {
        const length = await readLength(MAX_FRAME_BYTES)
        return length === undefined ? undefined : await readExactly(length)
      })
    },

    async writeFrame (frame) {
      await write(withLength(frame))
    },

    async * readCar () {
      await step(readTimer, stallMs, async () => {
        const length = await readLength(MAX_CAR_HEADER_BYTES)
        if (length === undefined) throw cut()
        const header = checkHeader(await readExactly(length))
        if (header.verdict !== 'accept') throw protocol(header.reason)
      })
      for (;;) {
        const section = await step(readTimer, stallMs, async () => {
          const length = await readLength(MAX_SECTION_BYTES)
          if (length === undefined) throw cut()
          if (length === 0) return undefined
          const read = readSection(await readExactly(length))
          if (read.verdict !== 'accept') throw protocol(read.reason)
          return read.value
        })
        if (section === undefined) return
        yield section
      }
    },

    async writeCar (blocks) {
      let parts: Uint8Array[] = [CAR_HEADER]
      let size = CAR_HEADER.length
      const flush = async (): Promise<void> => {
        const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts, size)
        parts = []
        size = 0
        await write(bytes)
      }
      for await (const { cid, block } of blocks) {
        const head = sectionHead(cid, block.length)
        parts.push(head)
        size += head.length
        if (block.length >= FLUSH_BYTES) {
          await flush()
          // In pieces, so that each of them is a step of its own.
          for (let at = 0; at < block.length; at += PROGRESS_BYTES) await write(block.subarray(at, at + PROGRESS_BYTES))
          continue
        }
        parts.push(block)
        size += block.length
        if (size >= FLUSH_BYTES) await flush()
      }
      parts.push(CAR_END)
      size += CAR_END.length
      await flush()
    },

    get received () { return received },
    async close () { await stream.close() },
    fail
  }
}

interface Timer { start (ms: number): void, restart (): void, stop (): void }

function createTimer (onTime: () => void): Timer {
  let timer: NodeJS.Timeout | undefined
  return {
    start (ms) {
      clearTimeout(timer)
      timer = setTimeout(onTime, ms).unref()
    },
    restart () { timer?.refresh() },
    stop () {
      clearTimeout(timer)
      timer = undefined
    }
  }
}

function protocol (what: string): ConclaveError {
  return new ConclaveError('BLOCKS_PROTOCOL', `the peer does not speak /conclave/blocks/1: ${what}`)
}

/** Whatever ends a stream is about the peer or the way to it, not about us. */
export function streamError (cause: unknown): ConclaveError {
  if (cause instanceof ConclaveError) return cause
  return new ConclaveError('STREAM_RESET', `the stream to the peer broke: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
}

function cut (): ConclaveError {
  return new ConclaveError('STREAM_CLOSED', 'the peer ended the stream in the middle of something')
}
