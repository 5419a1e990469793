/** Programs that embed Conclave: the example, and the shorter one in the README, as their readers would run them. */
import assert from 'node:assert/strict'
import { exec as execute } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from '../support/daemons.ts'

const exec = promisify(execute)

/** @returns words and how often they stand in a text, most first, then by the alphabet */
function plainCount (text: string): [string, number][] {
  const counts = new Map<string, number>()
  for (const word of text.toLowerCase().match(/[a-z]+/g) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1)
  return [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
}

describe('a program that embeds Conclave', function () {
  this.timeout(120_000)
  let dir = ''
  beforeEach(() => { dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-embed-test-')) })
  afterEach(() => { fs.rmSync(dir, { recursive: true, force: true }) })

  async function run (command: string, cwd: string): Promise<string> {
    const { stdout } = await exec(command, { cwd, timeout: 90_000, env: { ...process.env, TMPDIR: path.join(dir, 'tmp') } })
    return stdout
  }

  it('examples/embed.ts counts right, observes every result, and leaves no file', async () => {
    fs.mkdirSync(path.join(dir, 'tmp'))
    const lines = (await run('npm run --silent example', ROOT)).trimEnd().split('\n')
    const expected = plainCount(fs.readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8')).slice(0, 5).map(([word, count]) => `${word} ${count}`)
    assert.deepEqual(lines.slice(0, 5), expected)
    const observed = lines.slice(5).map((line) => Number(/^(?:founder|worker): (\d+) results$/.exec(line)?.[1]))
    assert.equal(observed.reduce((a, b) => a + b, 0), 8)
    // npm keeps a cache of its own there
    assert.deepEqual(fs.readdirSync(path.join(dir, 'tmp')).filter((name) => name.startsWith('conclave')), [])
  })

  it('the README\'s program does what it says', async () => {
    const [, program = ''] = /^```ts\n(.*?)^```$/ms.exec(fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')) ?? []
    assert.match(program, /from 'conclave'/)
    fs.mkdirSync(path.join(dir, 'tmp'))
    fs.mkdirSync(path.join(dir, 'node_modules'))
    fs.symlinkSync(ROOT, path.join(dir, 'node_modules/conclave'), 'dir')
    fs.writeFileSync(path.join(dir, 'package.json'), '{ "type": "module" }\n')
    fs.writeFileSync(path.join(dir, 'program.ts'), program)
    fs.copyFileSync(path.join(ROOT, 'examples/word-count.mjs'), path.join(dir, 'word-count.mjs'))
    fs.writeFileSync(path.join(dir, 'book.txt'), 'to be or not to be\n')
    const records = (await run(`"${process.execPath}" --conditions=conclave-source program.ts`, dir)).trimEnd().split('\n').sort()
    assert.deepEqual(records, ['{ word: \'be\', count: 2 }', '{ word: \'not\', count: 1 }', '{ word: \'or\', count: 1 }', '{ word: \'to\', count: 2 }'])
    assert.ok(fs.existsSync(path.join(dir, 'first/identity.key')))
  })
})
