/** A seeded generator (sfc32): the same seed gives the same run everywhere. */
export interface Random {
  /** in [0, 1) */
  next (): number
  /** in [0, below), whole */
  int (below: number): number
  /** in [low, high], whole */
  between (low: number, high: number): number
  chance (probability: number): boolean
  pick<T> (from: readonly T[]): T
}

export function createRandom (seed: number): Random {
  let a = seed | 0
  let b = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  let c = 0x243f6a88
  let d = 1
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t | 0
    return (t >>> 0) / 4294967296
  }
  for (let i = 0; i < 16; i++) next()
  const int = (below: number): number => Math.floor(next() * below)
  return {
    next,
    int,
    between: (low, high) => low + int(high - low + 1),
    chance: probability => next() < probability,
    pick: from => from[int(from.length)]!
  }
}
