/**
 * Reading protobuf of which there is one encoding only: a second one (unknown fields, another order, another wire type) could slip past
 * whoever compares bytes.
 */

interface Codec<T> {
  decode (bytes: Uint8Array, options?: { limits?: Record<string, number> }): T
  encode (value: T): Uint8Array
}

/**
 * @param bytes - from anywhere
 * @param limits - of repeated fields, by name
 * @returns the message; undefined where the bytes are none, or not those that our own encoder would write for it
 */
export function readCanonical<T> (codec: Codec<T>, bytes: Uint8Array, limits: Record<string, number> = {}): T | undefined {
  try {
    const value = codec.decode(bytes, { limits })
    const again = codec.encode(value)
    return again.byteLength === bytes.byteLength && again.every((byte, index) => byte === bytes[index]) ? value : undefined
  } catch {
    return undefined // the codec throws on what is no protobuf
  }
}
