/**
 * What the kernel keeps of an isolate's globals before a job can overwrite them. Travels into the isolate as text: names nothing outside itself.
 *
 * `uncurried` methods take their receiver first. Nothing in the kernel may use a method, an iterator or spread of a value that the job can reach.
 */
type Method = (...args: never[]) => unknown

export type Globals = ReturnType<typeof captureGlobals>

/** @returns the globals as they are now, and a hash over them */
export function captureGlobals () {
  /** `T` states the method's type with its receiver first. */
  const uncurry = <T>(method: Method): T => Function.prototype.call.bind(method) as T
  const { imul } = Math
  const { defineProperty, freeze } = Object
  const charCodeAt = uncurry<(text: string, at: number) => number>(String.prototype.charCodeAt)

  /** A map whose methods no job can replace. */
  class OwnMap<K, V> extends Map<K, V> {}
  for (const name of ['get', 'set', 'clear'] as const) defineProperty(OwnMap.prototype, name, { value: Map.prototype[name] })
  freeze(OwnMap.prototype)

  /** FNV-1a, 32 bit, over the UTF-8 bytes of a text without lone surrogates (http://www.isthe.com/chongo/tech/comp/fnv/). */
  const hash = (text: string): number => {
    const PRIME = 0x01000193
    let h = 0x811C9DC5
    for (let i = 0; i < text.length; i++) {
      let c = charCodeAt(text, i)
      if (c < 0x80) {
        h = imul(h ^ c, PRIME)
        continue
      }
      if (c < 0x800) {
        h = imul(h ^ (0xC0 | (c >> 6)), PRIME)
      } else if (c >= 0xD800 && c < 0xDC00 && i + 1 < text.length) {
        c = 0x10000 + ((c - 0xD800) << 10) + (charCodeAt(text, ++i) - 0xDC00)
        h = imul(h ^ (0xF0 | (c >> 18)), PRIME)
        h = imul(h ^ (0x80 | ((c >> 12) & 0x3F)), PRIME)
        h = imul(h ^ (0x80 | ((c >> 6) & 0x3F)), PRIME)
      } else {
        h = imul(h ^ (0xE0 | (c >> 12)), PRIME)
        h = imul(h ^ (0x80 | ((c >> 6) & 0x3F)), PRIME)
      }
      h = imul(h ^ (0x80 | (c & 0x3F)), PRIME)
    }
    return h >>> 0
  }

  return {
    uncurry,
    imul,
    defineProperty,
    freeze,
    hash,
    charCodeAt,
    OwnMap,
    stringify: JSON.stringify,
    parse: JSON.parse,
    toText: String,
    NativeTypeError: TypeError,
    indexOf: uncurry<(text: string, what: string, from?: number) => number>(String.prototype.indexOf),
    slice: uncurry<(text: string, start: number, end: number) => string>(String.prototype.slice),
    startsWith: uncurry<(text: string, what: string) => boolean>(String.prototype.startsWith),
    sort: uncurry<<T>(list: T[], compare: (a: T, b: T) => number) => T[]>(Array.prototype.sort),
    join: uncurry<(list: string[], separator: string) => string>(Array.prototype.join)
  }
}
