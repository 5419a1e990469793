/**
 * Bytes as text that a person may have to type: base32 in groups with check characters, so that a typo is told with its place.
 *
 * A group is up to 58 characters of data and 6 check characters of the BCH code of bech32 (BIP 173), which has a distance of 5 over this
 * length: up to 2 wrong characters of a group have one explanation only, up to 4 never pass. Each group's code begins with its number and
 * whether it is the last, so that a missing, repeated or swapped group does not pass either.
 */

/** RFC 4648 §6 without padding, lower case: no 0, 1, 8, 9. */
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const GROUP_DATA = 58
const GROUP_CHECK = 6
const GROUP = GROUP_DATA + GROUP_CHECK
const BITS = 5
/** BIP 173's generator over GF(32). */
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]

/** Where a text is wrong. Positions count from 1 in the text that was passed. */
export type TextFault =
  | { readonly kind: 'character', readonly position: number, readonly character: string }
  | { readonly kind: 'substituted', readonly positions: readonly number[] }
  | { readonly kind: 'missing' | 'extra', readonly position: number }
  /** `isLast`: it is the last group, so that a cut end explains it as well. */
  | { readonly kind: 'group', readonly from: number, readonly to: number, readonly isLast: boolean }
  | { readonly kind: 'cut' }

/**
 * @param bytes - at least one
 * @returns base32 with check characters, lower case
 */
export function encodeChecked (bytes: Uint8Array): string {
  const words = toWords(bytes)
  const groups = Math.ceil(words.length / GROUP_DATA)
  let text = ''
  for (let group = 0; group < groups; group++) {
    const data = words.slice(group * GROUP_DATA, (group + 1) * GROUP_DATA)
    const residue = polymod([...header(group, group === groups - 1), ...data, 0, 0, 0, 0, 0, 0]) ^ 1
    const check = Array.from({ length: GROUP_CHECK }, (_, i) => (residue >>> (BITS * (GROUP_CHECK - 1 - i))) & 31)
    for (const word of [...data, ...check]) text += ALPHABET.charAt(word)
  }

  return text
}

/**
 * @param text - lower case, without whitespace; its length is bounded by the caller
 * @returns the bytes, or the first place where the text is wrong
 */
export function decodeChecked (text: string): { bytes: Uint8Array } | { fault: TextFault } {
  const words: number[] = []
  for (const [index, character] of [...text].entries()) {
    const word = ALPHABET.indexOf(character)
    if (word < 0) return { fault: { kind: 'character', position: index + 1, character } }
    words.push(word)
  }

  const data: number[] = []
  const groups = Math.max(1, Math.ceil(words.length / GROUP))
  for (let group = 0; group < groups; group++) {
    const start = group * GROUP
    const isLast = group === groups - 1
    const received = words.slice(start, start + GROUP)
    if (!isIntact(received, group, isLast)) return { fault: explain(words, group, groups) }
    data.push(...received.slice(0, -GROUP_CHECK))
  }

  const bytes = toBytes(data)

  return bytes === undefined ? { fault: { kind: 'cut' } } : { bytes }
}

/** Find the one small mistake that explains a group whose check characters do not match. */
function explain (words: readonly number[], group: number, groups: number): TextFault {
  if (words.length === 0) return { kind: 'cut' }

  const start = group * GROUP
  const isLast = group === groups - 1
  const received = words.slice(start, start + GROUP)
  const range: TextFault = { kind: 'group', from: start + 1, to: Math.min(start + GROUP, words.length), isLast }

  // a whole group that is sound but for not being the last: the rest of the text is missing
  if (isLast && isIntact(received, group, false)) return { kind: 'cut' }

  const substituted = substitutions(received, group, isLast)
  if (substituted !== undefined) return { kind: 'substituted', positions: substituted.map(position => start + position + 1) }

  // one character too many or too few: the group's own characters then run one further, or one less far
  for (const last of isLast ? [true] : [false, true]) {
    const longer = words.slice(start, start + GROUP + 1)
    const extra = longer.findIndex((_, i) => isIntact(longer.toSpliced(i, 1), group, last))
    if (extra >= 0) return { kind: 'extra', position: start + extra + 1 }
  }
  const shorter = words.slice(start, start + GROUP - 1)
  for (let i = 0; i <= shorter.length; i++) {
    for (let word = 0; word < 32; word++) {
      if (isIntact(shorter.toSpliced(i, 0, word), group, isLast)) return { kind: 'missing', position: start + i + 1 }
    }
  }

  return range
}

/** @returns the 1 or 2 indexes within the group whose characters must be others; undefined where no such pair explains it */
function substitutions (received: readonly number[], group: number, isLast: boolean): number[] | undefined {
  if (received.length <= GROUP_CHECK) return undefined

  const wanted = residueOf(received, group, isLast) ^ 1
  // the code is linear: a wrong character at i by x adds the same residue to whatever group it stands in
  const seen = new Map<number, number>()
  for (let i = 0; i < received.length; i++) {
    for (let x = 1; x < 32; x++) {
      const residue = linearResidue(received.map((_, index) => index === i ? x : 0))
      if (residue === wanted) return [i]
      const other = seen.get(residue ^ wanted)
      if (other !== undefined && other !== i) return [other, i]
      seen.set(residue, i)
    }
  }

  return undefined
}

function isIntact (group: readonly number[], index: number, isLast: boolean): boolean {
  return group.length > GROUP_CHECK && residueOf(group, index, isLast) === 1
}

function residueOf (group: readonly number[], index: number, isLast: boolean): number {
  return polymod([...header(index, isLast), ...group])
}

/** Two characters that are not written down. */
function header (group: number, isLast: boolean): number[] {
  return [group & 31, (group >>> BITS) * 2 + (isLast ? 1 : 0)]
}

/** BIP 173, `bech32_polymod`. */
function polymod (words: readonly number[]): number {
  return remainder(words, 1)
}

/** Without the constant that BIP 173 begins with: zero words give zero. */
function linearResidue (words: readonly number[]): number {
  return remainder(words, 0)
}

function remainder (words: readonly number[], initial: number): number {
  let residue = initial
  for (const word of words) {
    const top = residue >>> 25
    residue = ((residue & 0x1ffffff) << BITS) ^ word
    for (const [bit, generator] of GENERATOR.entries()) {
      if (((top >>> bit) & 1) !== 0) residue ^= generator
    }
  }

  return residue >>> 0
}

function toWords (bytes: Uint8Array): number[] {
  const words: number[] = []
  let buffer = 0
  let bits = 0
  for (const byte of bytes) {
    buffer = ((buffer << 8) | byte) & 0xfff
    bits += 8
    while (bits >= BITS) {
      bits -= BITS
      words.push((buffer >>> bits) & 31)
    }
  }
  if (bits > 0) words.push((buffer << (BITS - bits)) & 31)

  return words
}

/** @returns undefined where the left-over bits are not zero, or are a whole character */
function toBytes (words: readonly number[]): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor(words.length * BITS / 8))
  let buffer = 0
  let bits = 0
  let length = 0
  for (const word of words) {
    buffer = ((buffer << BITS) | word) & 0xfff
    bits += BITS
    if (bits >= 8) {
      bits -= 8
      bytes[length++] = (buffer >>> bits) & 0xff
    }
  }

  return bits < BITS && (buffer & ((1 << bits) - 1)) === 0 ? bytes : undefined
}
