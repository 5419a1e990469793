/**
 * Count words: the longest runs of ASCII letters, in lower case.
 *
 *   conclave run examples/word-count.mjs --input 'books/*.txt'
 */

/** One line of text in, a pair for each word out. */
export function map (line, emit) {
  for (const word of line.match(/[A-Za-z]+/g) ?? []) emit(word.toLowerCase(), 1)
}

/** Fold the ones of a split where they arise, so that less travels. */
export function combine (word, counts) {
  return sum(counts)
}

/** All counts of a word in, one record out. */
export function reduce (word, counts) {
  return { word, count: sum(counts) }
}

function sum (numbers) {
  let total = 0
  for (const number of numbers) total += number
  return total
}
