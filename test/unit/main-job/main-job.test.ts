import assert from 'node:assert/strict'
import { countWords, differences, readCounts, topWords } from '../../../examples/main-job/plain-count.ts'
import { progressLine, table } from '../../../examples/main-job/render.ts'

const job: {
  map (line: string, emit: (word: string, one: number) => void): void
  reduce (word: string, counts: number[]): { word: string, count: number }
} = await import(new URL('../../../examples/word-count.mjs', import.meta.url).href)

async function * each (values: unknown[]): AsyncGenerator<unknown> { yield * values }

describe('plain word count', () => {
  it('counts what the job counts', () => {
    const text = 'The cat; the DOG\'s tail, caf\xe9 2nd __proto__ constructor\nthe end'
    const plain = new Map<string, number>()
    countWords(text, plain)
    const mapped = new Map<string, number[]>()
    for (const line of text.split('\n')) job.map(line, (word, one) => { mapped.set(word, [...mapped.get(word) ?? [], one]) })
    const reduced = new Map([...mapped].map(([word, ones]) => [word, job.reduce(word, ones).count]))
    assert.deepEqual(differences(reduced, plain), [])
    assert.equal(plain.get('the'), 3)
    assert.equal(plain.get('proto'), 1)
  })

  it('finds a lost, a doubled and a foreign word', () => {
    const found = differences(new Map([['a', 1], ['b', 4], ['d', 1]]), new Map([['a', 1], ['b', 2], ['c', 1]]))
    assert.deepEqual(found, [{ word: 'b', job: 4, plain: 2 }, { word: 'd', job: 1, plain: 0 }, { word: 'c', job: 0, plain: 1 }])
  })

  it('takes no records of another shape, and no word twice', async () => {
    assert.deepEqual(await readCounts(each([{ word: 'a', count: 1 }])), new Map([['a', 1]]))
    await assert.rejects(readCounts(each([{ word: 'a' }])), /no count of a word/)
    await assert.rejects(readCounts(each([null])), /no count of a word/)
    await assert.rejects(readCounts(each([{ word: 'a', count: 1 }, { word: 'a', count: 2 }])), /twice/)
  })

  it('names the most frequent words, equal ones by the alphabet', () => {
    assert.deepEqual(topWords(new Map([['b', 2], ['c', 9], ['a', 2]]), 2), [{ word: 'c', count: 9 }, { word: 'a', count: 2 }])
  })
})

describe('what the main job shows', () => {
  const view = {
    stages: [{ kind: 'map', total: 90, done: 45 }, { kind: 'reduce', total: 10, done: 5 }],
    leader: 'node-2',
    term: 3,
    tasks: [{ name: 'node-1', done: 20, isDead: true }, { name: 'node-2', done: 30, isDead: false }],
    elapsedMs: 1234
  }

  it('is one line that fits', () => {
    assert.equal(progressLine(view, 200), '████████████░░░░░░░░░░░░  map 45/90  reduce 5/10  node-2 leads term 3  tasks †20 30  1.2 s')
    assert.equal(progressLine(view, 30).length, 30)
    assert.match(progressLine({ ...view, leader: undefined, stages: [] }, 200), /^░{24} {4}electing a leader/)
  })

  it('is a table with numbers to the right', () => {
    assert.equal(table([['word', 'count'], ['the', 12345], ['of', 7]]), '  word   count\n  ────  ──────\n  the   12,345\n  of         7\n')
  })
})
