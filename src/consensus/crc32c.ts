/**
 * CRC32C (Castagnoli), slicing by 4. `node:zlib` only has CRC32, whose polynomial detects fewer of the errors that disks make.
 * Source: RFC 3720 §12.1 (polynomial, test vectors in appendix B.4); Kounavis & Berry, "A Systematic Approach to Building High Performance
 * Software-Based CRC Generators".
 */
const POLYNOMIAL = 0x82f63b78

const tables = makeTables()

function makeTables (): [Uint32Array, Uint32Array, Uint32Array, Uint32Array] {
  const first = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    first[byte] = crc
  }
  const shifted = (from: Uint32Array): Uint32Array => from.map(crc => first[crc & 0xff]! ^ (crc >>> 8))
  const second = shifted(first)
  const third = shifted(second)
  return [first, second, third, shifted(third)]
}

/**
 * @param bytes - what to check
 * @param seed - checksum of the bytes before these; 0 to begin
 * @returns unsigned 32 bits; `crc32c(b, crc32c(a))` equals that of a and b joined
 */
export function crc32c (bytes: Uint8Array, seed = 0): number {
  const [t0, t1, t2, t3] = tables
  let crc = ~seed
  let at = 0
  for (const end = bytes.length - 3; at < end; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    crc = t3[crc & 0xff]! ^ t2[(crc >>> 8) & 0xff]! ^ t1[(crc >>> 16) & 0xff]! ^ t0[crc >>> 24]!
  }
  for (; at < bytes.length; at++) crc = t0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}
