import assert from 'node:assert/strict'
import { createExecutors, type Executors, type SandboxTask, type TaskOutcome } from '../../src/participant/sandbox/executors.ts'
import { pidsWith } from '../support/sandbox-processes.ts'
import { taskOf, textOf } from '../support/sandbox-task.ts'

const never = new AbortController().signal
const PAIRS: SandboxTask['stage'] = { kind: 'map', clean: false, combine: false, partitions: 2 }
const COMBINED: SandboxTask['stage'] = { ...PAIRS, combine: true }
const MIB = 1024 * 1024
const inMap = (body: string): string => `export function map (record, emit, ctx) { ${body} }`

describe('a hostile or broken job', function () {
  this.timeout(30_000)
  let executors: Executors

  before(async () => { executors = await createExecutors({ slots: 1 }) })
  after(async () => { await executors.stop() })
  // whatever a job did, the next one finds its slot in order
  afterEach(async () => { assert.equal(textOf(await executors.run(taskOf(inMap('emit(record)'), 'fine\n'), never)), '"fine"\n') })

  const faultOf = (outcome: TaskOutcome): { code: string, message: string, record: number } => outcome.ok ? assert.fail(`it ended well with ${textOf(outcome).slice(0, 200)}`) : outcome.fault

  for (const [what, body] of [
    ['objects', 'const a = []; for (;;) a.push({ a })'],
    ['arrays', 'const a = []; for (;;) a.push(new Array(1000).fill({}))'],
    ['a map', 'const m = new Map(); for (let i = 0; ; i++) m.set(i, { i })'],
    ['strings', 'const a = []; for (let i = 0; ; i++) a.push(("y" + i).repeat(100000).split(""))'],
    ['one huge array', 'const a = []; for (;;) a.push(new Array(1e7).fill(1))'],
    ['ArrayBuffers', 'const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1))'],
    ['resizable ArrayBuffers', 'const a = []; for (;;) { const b = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 30 }); b.resize(1 << 27); new Uint8Array(b).fill(1); a.push(b) }'],
    ['several kinds at once', 'const a = []; for (let i = 0; ; i++) a.push(new Uint8Array(1e5).fill(1), new Array(1e4).fill(i), "s".repeat(1e4) + i)']
  ] as const) {
    it(`that eats memory by ${what} is stopped, far from the machine's own`, async () => {
      const { code, message } = faultOf(await executors.run(taskOf(inMap(body), 'x\n', { limits: { timeoutMs: 20_000 } }), never))
      assert.equal(code, 'memory', message)
    })
  }

  for (const [what, body] of [
    ['JavaScript', 'for (;;);'],
    ['native code', 'Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1)'],
    ['a regular expression', '/(a+)+b/.test("a".repeat(60))'],
    ['a getter of what it throws', 'throw { get message () { for (;;); } }'],
    ['toJSON of what it emits', 'emit({ toJSON () { for (;;); } })'],
    ['a sort', 'new Array(1e6).fill(0).map((_, i) => i).sort(() => { for (;;); })'],
    ['microtasks', 'const f = () => Promise.resolve().then(f); f()']
  ] as const) {
    it(`that loops in ${what} is killed at its time limit`, async () => {
      const startMs = performance.now()
      const { code } = faultOf(await executors.run(taskOf(inMap(body), 'x\n', { limits: { timeoutMs: 400 } }), never))
      assert.equal(code, 'timeout')
      assert.ok(performance.now() - startMs < 5000)
    })
  }

  it('that throws on one record is told which, and where', async () => {
    const { code, message, record } = faultOf(await executors.run(taskOf(inMap('if (record === "bad") JSON.parse(record); emit(record)'), 'a\nb\nbad\n'), never))
    assert.deepEqual([code, record], ['throw', 3])
    assert.match(message, /^SyntaxError: .*\n {4}at map \(job\.mjs:1:/s)
  })

  for (const [code, fault, message] of [
    ['throw new Error("on load")', 'code', /on load/],
    ['export const nothing = 1', 'code', /does not export a function map/],
    ['export function map ({', 'code', /SyntaxError/],
    ['import "node:fs"; export function map () {}', 'denied', /imports "node:fs"/],
    ['export async function map () { await import("node:fs") }', 'denied', /import\(\)/],
    ['export async function map () {}', 'throw', /promise/],
    ['export async function map () { null.x }', 'throw', /./],
    [inMap('process.exit()'), 'throw', /process is not defined/],
    [inMap('emit(() => 1)'), 'throw', /function/],
    [inMap('emit(1n)'), 'throw', /BigInt/],
    [inMap('const o = {}; o.o = o; emit(o)'), 'throw', /circular/i],
    [inMap('emit(undefined)'), 'throw', /undefined/],
    [inMap('const f = () => f(); f()'), 'throw', /RangeError: Maximum call stack/],
    [inMap('let s = "x"; for (;;) s += s'), 'throw', /RangeError: Invalid string length/],
    [inMap('let o = []; for (let i = 0; i < 1e5; i++) o = [o]; emit(o)'), 'throw', /record|RangeError/]
  ] as const) {
    it(`gets a clear fault: ${code.slice(0, 70)}`, async () => {
      const found = faultOf(await executors.run(taskOf(code, 'x\n'), never))
      assert.equal(found.code, fault, found.message)
      assert.match(found.message, message)
    })
  }

  for (const stage of [{ ...PAIRS, partitions: 0 }, PAIRS, COMBINED]) {
    it(`that writes without end meets its output limit (${stage.partitions} partitions${stage.combine ? ', combined' : ''})`, async () => {
      const code = 'export function map (record, emit) { for (let i = 0; i < 4e4; i++) emit("key" + i, "v".repeat(1000)) } export function combine (key, values) { return values[0] }'
      const { code: fault, message } = faultOf(await executors.run(taskOf(code, 'x\n', { stage }), never))
      assert.equal(fault, 'output', message)
    })
  }

  it('that writes just more bytes than allowed, in characters of many bytes, meets its output limit', async () => {
    const run = async (outputBytes: number): Promise<TaskOutcome> => await executors.run(taskOf(inMap('emit("€".repeat(1000))'), 'x\n', { limits: { outputBytes } }), never)
    assert.ok((await run(3003)).ok)
    assert.equal(faultOf(await run(3002)).code, 'output')
  })

  it('that logs without end keeps the first of it', async () => {
    const outcome = await executors.run(taskOf(inMap('for (let i = 0; i < 1e5; i++) ctx.log("line", i, "é".repeat(50)); emit(1)'), 'x\n'), never)
    assert.ok(outcome.ok)
    assert.ok(outcome.log.startsWith('line 0 é'))
    assert.ok(Buffer.byteLength(outcome.log) <= 65_536 && Buffer.byteLength(outcome.log) > 60_000)
    assert.equal(outcome.log.includes('\uFFFD'), false)
  })

  it('keeps the log of a task that fails', async () => {
    const outcome = await executors.run(taskOf(inMap('ctx.log("before"); null.x'), 'x\n'), never)
    assert.equal(outcome.log, 'before')
  })

  it('that overwrites every built-in disturbs itself alone', async () => {
    const overwrite = `
      for (const type of [String, Array, Map, Object, Function, Number, RegExp, Promise, Symbol]) {
        for (const name of Object.getOwnPropertyNames(type.prototype)) {
          if (name === 'constructor' || (type === Array && name === 'length')) continue
          try { Object.defineProperty(type.prototype, name, { get () { throw new Error('overwritten ' + name) }, set () {} }) } catch {}
        }
      }
      Object.defineProperty(Array.prototype, Symbol.iterator, { get () { throw new Error('iterated') } })
      const names = ['JSON', 'Math', 'Map', 'Object', 'Reflect', 'String', 'TypeError', 'Date', 'Array', 'Promise', 'Function', 'globalThis']
      for (let i = 0; i < names.length; i++) globalThis[names[i]] = undefined
      export function map (record, emit) { emit(record, 1); emit([record], 2) }
      export function combine (key, values) { let n = 0; for (let i = 0; i < values.length; i++) n += values[i]; return n }`
    const outcome = await executors.run(taskOf(overwrite, 'b\na\nb\n', { stage: { ...COMBINED, partitions: 1 } }), never)
    assert.equal(textOf(outcome), '["a",1]\n["b",2]\n[["a"],2]\n[["b"],4]\n')
  })

  for (const [what, body] of [
    ['setters on Object.prototype', 'for (const name of ["outputs", "fault", "text", "partition", "records", "log", "then", "0", "1"]) Object.defineProperty(Object.prototype, name, { get () { return { evil: true } }, set () {}, configurable: true }); emit(record)'],
    ['a Proxy for Array.prototype', 'Object.setPrototypeOf(Array.prototype, new Proxy({}, { get () { throw 1 }, set () { throw 2 }, has () { throw 3 } })); emit(record)'],
    ['a poisoned emit', 'emit.call = emit.apply = emit.toString = () => { throw 1 }; Object.setPrototypeOf(emit, null); emit(record)'],
    ['Error.prepareStackTrace', 'Error.prepareStackTrace = () => { for (const x of [1]) throw new Error("again") }; null.x'],
    ['Symbol.toStringTag and friends', 'emit({ get [Symbol.toStringTag] () { throw 1 }, toJSON: () => record })']
  ] as const) {
    it(`that plays tricks with ${what} gets an outcome, no more`, async () => {
      const outcome = await executors.run(taskOf(inMap(body), 'x\n', { limits: { timeoutMs: 5000 } }), never)
      if (!outcome.ok) assert.ok(['throw', 'crash', 'output'].includes(outcome.fault.code), `${outcome.fault.code} ${outcome.fault.message}`)
      else assert.ok(outcome.outputs.length <= 1)
    })
  }

  it('finds no way to Node.js from what it is given', async () => {
    const code = inMap(`
      const roots = [globalThis, emit, ctx, ctx.log, import.meta, record]
      const seen = new Set(); const found = []
      const walk = (value, path) => {
        if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) return
        seen.add(value)
        for (const name of Reflect.ownKeys(value)) {
          if (['process', 'require', 'binding', 'dlopen', 'mainModule', '_linkedBinding', 'Isolate'].includes(name)) found.push(path + '.' + String(name))
          try { walk(value[name], path + '.' + String(name)) } catch {}
        }
        walk(Object.getPrototypeOf(value), path + '.__proto__')
      }
      roots.forEach((root, i) => walk(root, 'root' + i))
      emit([found, seen.size > 100])`)
    assert.equal(textOf(await executors.run(taskOf(code, 'x\n'), never)), '[[],true]\n')
  })

  it('with a run from a lying participant is denied, not crashed', async () => {
    const reduce = 'export function reduce (key, values) { return [key, values.length] }'
    for (const run of ['\n', '["b",1]\n["a",1]\n', '["a"]\n', `["${'k'.repeat(MIB)}`, '[{"__proto__":1},1]\n[', 'x'.repeat(MIB), '["a",1]\n'.repeat(3) + '[]']) {
      const { code } = faultOf(await executors.run(taskOf(reduce, ['["a",1]\n', run], { stage: { ...PAIRS, kind: 'reduce', partitions: 0 } }), never))
      assert.equal(code, 'denied')
    }
  })

  it('with one line of 16 MiB, or 16 Mi empty lines, is read as it is', async () => {
    const limits = { memoryBytes: 256 * MIB }
    assert.equal(textOf(await executors.run(taskOf(inMap('emit(record.length)'), 'x'.repeat(16 * MIB), { limits }), never)), `${16 * MIB}\n`)
    const outcome = await executors.run(taskOf(inMap(''), '\n'.repeat(16 * MIB), { limits }), never)
    assert.ok(outcome.ok)
    assert.equal(outcome.counters.recordsIn, 16 * MIB)
    const { code, message } = faultOf(await executors.run(taskOf(inMap(''), 'x'.repeat(16 * MIB + 1), { limits }), never))
    assert.deepEqual([code, /above the limit/.test(message)], ['denied', true])
  })
})

describe('the self-test of the sandbox', function () {
  this.timeout(30_000)

  it('holds against every probe, wherever a jail works', async function () {
    const executors = await createExecutors({ slots: 1 })
    try {
      const { jail, layers, probes } = executors.layers
      if (jail === 'none') return this.skip()
      assert.deepEqual(probes.filter(({ held }) => !held), [])
      assert.deepEqual(probes.map(({ name }) => name), [
        'read a file', 'write a file', 'open a socket', 'start a program', 'signal the daemon', 'read the environment',
        'isolate: no Node.js', 'isolate: no imports', 'eat memory: objects', 'eat memory: buffers', 'eat memory: resizable buffers', 'loop in JavaScript', 'loop in native code'
      ])
      assert.ok(layers.length >= 5)
    } finally {
      await executors.stop()
    }
  })

  it('sees through a jail that is none', async () => {
    const executors = await createExecutors({ slots: 1, jail: 'none' })
    try {
      const held = Object.fromEntries(executors.layers.probes.map(({ name, held }) => [name, held]))
      assert.equal(held['open a socket'], false, 'the probe cannot tell a socket from none')
      assert.equal(held['signal the daemon'], false, 'the probe cannot tell a signal from none')
      assert.equal(held['read a file'], true, 'node --permission alone')
      assert.equal(held['loop in native code'], true)
    } finally {
      await executors.stop()
    }
  })

  it('leaves no process behind', () => {
    if (process.platform === 'linux') assert.deepEqual(pidsWith(String(24 * MIB)), [])
  })
})
