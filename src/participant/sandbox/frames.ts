/**
 * The frames between a participant and its executor process.
 *
 * A frame is `u32 length | u8 kind | u32 headerBytes | header (JSON) | (u32 bytes | bytes)*`, big-endian; `length` counts what follows it.
 * What an executor sends is hostile: the reader holds at most `maxFrameBytes`, and anything off throws `FrameError`, upon which the executor dies.
 */

export const FRAME = {
  /** participant → executor: run a task; blobs: code, inputs… */
  task: 1,
  /** participant → executor: load a module; blobs: code */
  inspect: 2,
  /** participant → executor: try to break out (self-test) */
  probe: 3,
  /** executor → participant: the outputs; blobs: log, outputs… */
  done: 16,
  /** executor → participant: a fault; blobs: log */
  fault: 17,
  /** executor → participant: the shape of a module */
  shape: 18,
  /** executor → participant: what the probes saw */
  probed: 19,
  /** executor → participant: started, send the first request */
  ready: 20,
  /** executor → participant, once in its life and beside any answer: it has grown beyond the memory of its isolate */
  heavy: 21
} as const

export interface Frame { kind: number, header: unknown, blobs: Uint8Array[] }

/** A frame that breaks the format or a limit. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

const MAX_HEADER_BYTES = 256 * 1024
const MAX_BLOBS = 65_600
/** Bytes of a frame beside its header and blobs. */
export const FRAME_OVERHEAD_BYTES = 9

/**
 * @param header - JSON-serialisable, up to 256 KiB of JSON
 * @returns the pieces of the frame in order; the blobs are not copied
 */
export function encodeFrame (kind: number, header: unknown, blobs: readonly Uint8Array[] = []): Uint8Array[] {
  const json = Buffer.from(JSON.stringify(header))
  if (json.length > MAX_HEADER_BYTES || blobs.length > MAX_BLOBS) {
    throw new FrameError(`frame header of ${json.length} bytes and ${blobs.length} blobs is above the limit`)
  }
  let length = 5 + json.length
  for (const blob of blobs) length += 4 + blob.length
  const head = Buffer.alloc(FRAME_OVERHEAD_BYTES)
  head.writeUInt32BE(length, 0)
  head.writeUInt8(kind, 4)
  head.writeUInt32BE(json.length, 5)
  const pieces: Uint8Array[] = [head, json]
  for (const blob of blobs) {
    const size = Buffer.alloc(4)
    size.writeUInt32BE(blob.length, 0)
    pieces.push(size, blob)
  }
  return pieces
}

/**
 * @param body - a frame without its length; the blobs are views of it
 * @throws FrameError
 */
export function decodeFrame (body: Uint8Array): Frame {
  const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  if (view.length < 5) throw new FrameError(`frame of ${view.length} bytes`)
  const kind = view.readUInt8(0)
  const headerBytes = view.readUInt32BE(1)
  if (headerBytes > MAX_HEADER_BYTES || 5 + headerBytes > view.length) throw new FrameError(`frame header of ${headerBytes} bytes`)
  let header: unknown
  try {
    header = JSON.parse(view.toString('utf8', 5, 5 + headerBytes))
  } catch (cause) {
    throw new FrameError('frame header is not JSON', { cause })
  }
  const blobs: Uint8Array[] = []
  let offset = 5 + headerBytes
  while (offset < view.length) {
    if (blobs.length === MAX_BLOBS) throw new FrameError('too many blobs in a frame')
    if (offset + 4 > view.length) throw new FrameError('frame ends within a blob length')
    const bytes = view.readUInt32BE(offset)
    offset += 4
    if (offset + bytes > view.length) throw new FrameError('frame ends within a blob')
    blobs.push(view.subarray(offset, offset + bytes))
    offset += bytes
  }
  return { kind, header, blobs }
}

/** Puts chunks of a byte stream together to frames. Holds at most one frame and one chunk. */
export class FrameReader {
  /** The limit of the next frame; the owner may change it between frames. */
  maxFrameBytes: number
  #head = Buffer.alloc(4)
  #headBytes = 0
  #body: Buffer | undefined
  #bodyBytes = 0

  constructor (maxFrameBytes: number) {
    this.maxFrameBytes = maxFrameBytes
  }

  /**
   * @returns the frames that the chunk completes; they do not share memory with it
   * @throws FrameError; the reader is of no use afterwards
   */
  push (chunk: Uint8Array): Frame[] {
    const frames: Frame[] = []
    let offset = 0
    while (offset < chunk.length) {
      if (this.#body === undefined) {
        const taken = Math.min(4 - this.#headBytes, chunk.length - offset)
        this.#head.set(chunk.subarray(offset, offset + taken), this.#headBytes)
        this.#headBytes += taken
        offset += taken
        if (this.#headBytes < 4) break
        const length = this.#head.readUInt32BE(0)
        if (length > this.maxFrameBytes) throw new FrameError(`frame of ${length} bytes, above the limit of ${this.maxFrameBytes}`)
        if (length < 5) throw new FrameError(`frame of ${length} bytes`)
        this.#body = Buffer.allocUnsafeSlow(length)
        this.#bodyBytes = 0
        this.#headBytes = 0
      }
      const taken = Math.min(this.#body.length - this.#bodyBytes, chunk.length - offset)
      this.#body.set(chunk.subarray(offset, offset + taken), this.#bodyBytes)
      this.#bodyBytes += taken
      offset += taken
      if (this.#bodyBytes === this.#body.length) {
        const body = this.#body
        this.#body = undefined
        frames.push(decodeFrame(body))
      }
    }
    return frames
  }
}
