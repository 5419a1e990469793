import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createExecutors, type Executors, type TaskOutcome } from '../../src/participant/sandbox/executors.ts'
import { cpuTicks, pidsWith, until } from '../support/sandbox-processes.ts'
import { taskOf, textOf } from '../support/sandbox-task.ts'

const never = new AbortController().signal
const WORD_COUNT = readFileSync(new URL('../../examples/word-count.mjs', import.meta.url), 'utf8')
const MIB = 1024 * 1024

describe('the sandbox', function () {
  this.timeout(20_000)
  let executors: Executors

  before(async () => { executors = await createExecutors({ slots: 2 }) })
  after(async () => { await executors.stop() })

  it('counts words through map, combine and reduce', async () => {
    const texts = ['The cat and the dog.\nThe END\n', "don't the naïve\r\n", 'no\n']
    const stage = { kind: 'map', clean: false, combine: true, partitions: 3 } as const
    const maps = await Promise.all(texts.map(text => executors.run(taskOf(WORD_COUNT, text, { job: 'count', stage }), never)))
    const counts = new Map<string, number>()
    for (let partition = 0; partition < 3; partition++) {
      const runs = maps.flatMap(outcome => outcome.ok ? outcome.outputs.filter(output => output.partition === partition).map(({ bytes }) => Buffer.from(bytes).toString()) : assert.fail(outcome.fault.message))
      const outcome = await executors.run(taskOf(WORD_COUNT, runs, { job: 'count', stage: { kind: 'reduce', clean: false, combine: false, partitions: 0 } }), never)
      for (const line of textOf(outcome).split('\n').slice(0, -1)) {
        const { word, count } = JSON.parse(line) as { word: string, count: number }
        assert.ok(!counts.has(word), 'a word in two partitions')
        counts.set(word, count)
      }
    }
    const expected = new Map<string, number>()
    for (const word of texts.join('').match(/[A-Za-z]+/g) ?? []) expected.set(word.toLowerCase(), (expected.get(word.toLowerCase()) ?? 0) + 1)
    assert.deepEqual(new Map([...counts].sort()), new Map([...expected].sort()))
    const [{ counters }] = maps as [TaskOutcome & { ok: true }]
    assert.equal(counters.recordsIn, 2)
    assert.equal(counters.bytesIn, Buffer.byteLength(texts[0] as string))
    assert.equal(counters.bytesOut, textOf(maps[0] as TaskOutcome).length)
  })

  it('reads UTF-8 and Latin-1, and writes UTF-8', async () => {
    const echo = 'export function map (record, emit) { emit(record) }'
    assert.equal(textOf(await executors.run(taskOf(echo, 'grüße 😀 Ω\n'), never)), '"grüße 😀 Ω"\n')
    const latin1 = { ...taskOf(echo, ''), input: [Buffer.from('grüße\n', 'latin1')], encoding: 'latin1' } as const
    assert.equal(textOf(await executors.run(latin1, never)), '"grüße"\n')
    const broken = await executors.run({ ...latin1, encoding: 'utf8' }, never)
    assert.ok(!broken.ok)
    assert.deepEqual([broken.fault.code, broken.fault.message], ['denied', 'input 1 is not valid UTF-8'])
  })

  it('gives the same bytes for the same task, in whichever process', async () => {
    const code = 'export function map (record, emit) { emit([record, Math.random(), Date.now(), new Date().getHours(), new Date(2026, 0).getTime(), (1.5).toLocaleString()]) }'
    const outputs = await Promise.all(Array.from({ length: 4 }, async () => textOf(await executors.run(taskOf(code, 'a\nb\n'), never))))
    assert.deepEqual(new Set(outputs).size, 1)
  })

  it('keeps a job\'s isolate warm, and jobs apart from one another', async () => {
    const one = await createExecutors({ slots: 1 })
    try {
      const code = 'let n = 0; export function map (record, emit) { globalThis.seen = (globalThis.seen ?? "") + record; emit([++n, seen]) }'
      const run = async (job: string, input: string): Promise<string> => textOf(await one.run(taskOf(code, input, { job }), never)).trim()
      assert.deepEqual([await run('a', 'x'), await run('a', 'y'), await run('b', 'z'), await run('a', 'w')], ['[1,"x"]', '[2,"xy"]', '[1,"z"]', '[3,"xyw"]'])
    } finally {
      await one.stop()
    }
  })

  it('serves more jobs in turn than it keeps warm', async () => {
    const code = 'export function map (record, emit) { emit(record) }'
    for (let i = 0; i < 24; i++) assert.equal(textOf(await executors.run(taskOf(code, `${i}`, { job: `turn ${i % 6}` }), never)), `"${i}"\n`)
  })

  it('runs two tasks at once on two slots, and a third after them', async () => {
    const spin = 'export function map () { for (;;); }'
    const stop = new AbortController()
    const spinning = [1, 2].map(() => executors.run(taskOf(spin, 'x', { limits: { memoryBytes: 120 * MIB } }), stop.signal))
    if (process.platform === 'linux') {
      await until('both executors spin', 10_000, () => pidsWith(String(120 * MIB)).filter(pid => cpuTicks(pid) > 20).length >= 2)
    }
    let isThirdDone = false
    const third = executors.run(taskOf('export function map (r, emit) { emit(r) }', 'third'), never).then(outcome => { isThirdDone = true; return outcome })
    assert.equal(isThirdDone, false)
    const reason = new Error('cancelled by the test')
    stop.abort(reason)
    for (const run of spinning) await assert.rejects(run, error => error === reason)
    assert.equal(textOf(await third), '"third"\n')
    if (process.platform === 'linux') assert.deepEqual(pidsWith(String(120 * MIB)), [], 'the slots were given back before the processes were gone')
  })

  it('does not start a task whose signal is already aborted, nor one that waits when it is', async () => {
    await assert.rejects(executors.run(taskOf(WORD_COUNT, ''), AbortSignal.abort(new Error('before'))), /before/)
    const stop = new AbortController()
    const running = [1, 2].map(() => executors.run(taskOf('export function map () { for (;;); }', 'x'), stop.signal))
    const waiting = new AbortController()
    const waits = executors.run(taskOf(WORD_COUNT, ''), waiting.signal)
    waiting.abort(new Error('while waiting'))
    await assert.rejects(waits, /while waiting/)
    stop.abort(new Error('enough'))
    for (const run of running) await assert.rejects(run, /enough/)
  })

  it('runs an ordinary task within the smallest limits', async () => {
    const text = 'a b c\n'.repeat(10_000)
    const stage = { kind: 'map', clean: false, combine: true, partitions: 1 } as const
    const limits = { memoryBytes: 8 * MIB, inputBytes: text.length, outputBytes: 40, logBytes: 0, timeoutMs: 10_000 }
    assert.equal(textOf(await executors.run(taskOf(WORD_COUNT, text, { stage, limits }), never)), '["a",10000]\n["b",10000]\n["c",10000]\n')
  })

  it('takes limits up to its ceiling', async () => {
    const small = await createExecutors({ slots: 1, limits: { timeoutMs: 1000 } })
    try {
      const outcome = await small.run(taskOf(WORD_COUNT, 'x'), never)
      assert.ok(!outcome.ok)
      assert.equal(outcome.fault.code, 'denied')
      assert.match(outcome.fault.message, /timeoutMs 30000; this participant allows 1000/)
    } finally {
      await small.stop()
    }
  })

  it('stops: kills what runs, refuses what comes', async () => {
    const pool = await createExecutors({ slots: 1 })
    const running = pool.run(taskOf('export function map () { for (;;); }', 'x'), never)
    const waiting = pool.run(taskOf(WORD_COUNT, 'x'), never)
    const inspecting = pool.inspect(Buffer.from('for (;;);'), never)
    const rejected = Promise.all([running, waiting, inspecting].map(promise => assert.rejects(promise, { name: 'SANDBOX_STOPPED' })))
    await pool.stop()
    await rejected
    await assert.rejects(pool.run(taskOf(WORD_COUNT, 'x'), never), { name: 'SANDBOX_STOPPED' })
    await pool.stop()
  })

  it('refuses a senseless number of slots', async () => {
    for (const slots of [0, -1, 1.5, 257]) await assert.rejects(createExecutors({ slots }), { name: 'SANDBOX_SLOTS' })
  })
})

describe('the inspection of a job', function () {
  this.timeout(20_000)
  let executors: Executors

  before(async () => { executors = await createExecutors({ slots: 1 }) })
  after(async () => { await executors.stop() })

  it('tells which functions it exports', async () => {
    assert.deepEqual(await executors.inspect(Buffer.from(WORD_COUNT), never), { clean: false, map: true, combine: true, reduce: true })
    assert.deepEqual(await executors.inspect(Buffer.from('export const clean = r => r; export let map = 5'), never), { clean: true, map: false, combine: false, reduce: false })
  })

  for (const [code, name, text] of [
    ['export function map ({', 'JOB_SYNTAX', /SyntaxError: .*job\.mjs:1/],
    ['export const map = 1; export const map = 2', 'JOB_SYNTAX', /already been declared/],
    ['export { map }', 'JOB_SYNTAX', /map/],
    ['\xff', 'JOB_SYNTAX', /UTF-8/],
    ['throw new RangeError("no " + 1)', 'JOB_THROWS_ON_LOAD', /RangeError: no 1\n {4}at job\.mjs:1/],
    ['throw null', 'JOB_THROWS_ON_LOAD', /./],
    ['export function map () {}; await null; process.exit()', 'JOB_THROWS_ON_LOAD', /process is not defined/],
    ['', 'JOB_EXPORTS_NOTHING', /neither map nor clean/],
    ['export function reduce () {}', 'JOB_EXPORTS_NOTHING', /only reduce/],
    ['export default function map () {}', 'JOB_EXPORTS_NOTHING', /neither map nor clean/],
    ['import { readFile } from "node:fs"; export function map () {}', 'JOB_IMPORTS', /imports "node:fs"/],
    ['export * from "./other.mjs"', 'JOB_IMPORTS', /other\.mjs/],
    ['await import("node:fs"); export function map () {}', 'JOB_IMPORTS', /import\(\)/],
    ['for (;;);', 'JOB_TIMEOUT', /5000 ms/],
    ['const a = []; for (;;) a.push({ a })', 'JOB_MEMORY', /memory/],
    ['const a = []; for (;;) a.push(new ArrayBuffer(1 << 24))', 'JOB_MEMORY', /memory/],
    [' '.repeat(2 ** 20 + 1), 'JOB_TOO_LARGE', /above the limit/]
  ] as const) {
    it(`answers ${name} to ${JSON.stringify(code.trim().slice(0, 60))}`, async () => {
      await assert.rejects(executors.inspect(Buffer.from(code, 'latin1'), never), (error: Error & { next?: string }) => {
        assert.equal(error.name, name)
        assert.match(error.message, text)
        assert.ok(error.next !== undefined && error.next !== '')
        return true
      })
    })
  }

  it('is aborted by its signal', async () => {
    const stop = new AbortController()
    const inspecting = executors.inspect(Buffer.from('for (;;);'), stop.signal)
    setImmediate(() => { stop.abort(new Error('enough')) })
    await assert.rejects(inspecting, /enough/)
  })
})

describe('the executors of a killed daemon', function () {
  this.timeout(30_000)
  const host = fileURLToPath(new URL('../support/sandbox-host.ts', import.meta.url))
  let mark = 100 * MIB
  const spin = 'Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1)'

  for (const jail of ['bwrap', 'unshare', 'none'] as const) {
    it(`are gone, though they spun in native code (${jail})`, async function () {
      if (process.platform !== 'linux') return this.skip()
      try {
        const probe = await createExecutors({ slots: 1, jail })
        await probe.stop()
      } catch {
        // this kind of jail does not work on this machine
        return this.skip()
      }
      mark += 4096
      const daemon = spawn(process.execPath, [host, jail, String(mark), spin], { stdio: ['ignore', 'pipe', 'inherit'] })
      try {
        await once(daemon.stdout, 'data', { signal: AbortSignal.timeout(15_000) })
        await until('both executors spin', 15_000, () => pidsWith(String(mark)).filter(pid => cpuTicks(pid) > 20).length >= 2)
        daemon.kill('SIGKILL')
        await once(daemon, 'exit')
        await until(`executors ${pidsWith(String(mark)).join()} are gone`, 5000, () => pidsWith(String(mark)).length === 0)
      } finally {
        daemon.kill('SIGKILL')
        for (const pid of pidsWith(String(mark))) process.kill(pid, 'SIGKILL')
      }
    })
  }
})
