/**
 * Messages on a stream of bytes: each is preceded by its length as an unsigned 32-bit big-endian number. Pure.
 */
import { accept, reject } from '../../keys/verdict.ts'
import type { Verdict } from '../../keys/verdict.ts'

/** Bytes before each message. */
export const FRAME_HEADER_BYTES = 4

/**
 * Put messages one after another, each framed.
 *
 * @returns one new buffer; the messages are copied, so their owner may reuse them
 */
export function encodeFrames (messages: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(messages.reduce((sum, message) => sum + FRAME_HEADER_BYTES + message.byteLength, 0))
  const view = new DataView(bytes.buffer)
  let offset = 0
  for (const message of messages) {
    view.setUint32(offset, message.byteLength)
    bytes.set(message, offset + FRAME_HEADER_BYTES)
    offset += FRAME_HEADER_BYTES + message.byteLength
  }
  return bytes
}

/** A real copy: `slice` of a Buffer, which chunks often are, shares its memory. */
function copyOf (bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.byteLength)
  copy.set(bytes)
  return copy
}

/**
 * Cuts a stream of chunks, however split, back into messages. After a reject it must not be used again: the stream is out of step.
 *
 * Invariant: holds less than one frame, and never more than was received of it, whatever length its header claims.
 */
export class FrameDecoder {
  readonly #maxFrameBytes: number
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES)
  #headerBytes = 0
  #length = 0
  #parts: Uint8Array[] = []
  #partBytes = 0

  /** @param maxFrameBytes - largest message, without its header */
  constructor (maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes
  }

  /** Bytes of an unfinished frame, its header included; more than 0 at the end of a stream means that it was cut. */
  get pendingBytes (): number {
    return this.#headerBytes + this.#partBytes
  }

  /**
   * @param chunk - the next bytes; not kept: what is returned is copied
   * @returns the messages that this chunk completed, in order; reject FRAME_TOO_LARGE
   */
  push (chunk: Uint8Array): Verdict<Uint8Array[]> {
    const messages: Uint8Array[] = []
    let offset = 0
    while (offset < chunk.byteLength || (this.#headerBytes === FRAME_HEADER_BYTES && this.#length === 0)) {
      if (this.#headerBytes < FRAME_HEADER_BYTES) {
        const taken = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.byteLength - offset)
        this.#header.set(chunk.subarray(offset, offset + taken), this.#headerBytes)
        this.#headerBytes += taken
        offset += taken
        if (this.#headerBytes < FRAME_HEADER_BYTES) break
        this.#length = new DataView(this.#header.buffer).getUint32(0)
        if (this.#length > this.#maxFrameBytes) {
          return reject('FRAME_TOO_LARGE', `a frame of ${this.#length} bytes was announced, at most ${this.#maxFrameBytes} are taken`)
        }
        continue
      }
      const taken = Math.min(this.#length - this.#partBytes, chunk.byteLength - offset)
      this.#parts.push(copyOf(chunk.subarray(offset, offset + taken)))
      this.#partBytes += taken
      offset += taken
      if (this.#partBytes === this.#length) messages.push(this.#complete())
    }
    return accept(messages)
  }

  #complete (): Uint8Array {
    const [first, ...rest] = this.#parts
    let message = first ?? new Uint8Array(0)
    if (rest.length > 0) {
      message = new Uint8Array(this.#length)
      let offset = 0
      for (const part of this.#parts) {
        message.set(part, offset)
        offset += part.byteLength
      }
    }
    this.#headerBytes = 0
    this.#length = 0
    this.#parts = []
    this.#partBytes = 0
    return message
  }
}
