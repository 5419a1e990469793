import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { MUTANTS } from './list.ts'
import { mutate } from './workshop.ts'

describe('mutants of the core (`npm run mutants` runs them)', () => {
  it('are at least thirty, each with a name of its own', () => {
    assert.ok(MUTANTS.length >= 30)
    assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length)
  })

  it('still fit the code: the text that each replaces stands there exactly once', async () => {
    for (const mutant of MUTANTS) {
      const source = await readFile(path.join(import.meta.dirname, '../../../src/consensus', mutant.file), 'utf8')
      assert.notEqual(mutate(source, mutant), source)
    }
  })

  it('stand in CAUGHT.md, all of them and no others', async () => {
    const rows = (await readFile(path.join(import.meta.dirname, 'CAUGHT.md'), 'utf8')).split('\n').filter(line => line.startsWith('| ')).slice(2)
    assert.deepEqual(rows.map(row => row.split(' | ')[0]!.slice(2)), MUTANTS.map(({ name }) => name))
  })
})
