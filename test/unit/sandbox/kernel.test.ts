import assert from 'node:assert/strict'
import { runInNewContext } from 'node:vm'
import { KERNEL_SOURCE, type Kernel, type KernelResult, type KernelTask } from '../../../src/participant/sandbox/kernel/kernel.ts'

const TASK: KernelTask = { kind: 'map', clean: false, combine: false, partitions: 0, seed: 's', nowMs: 86_400_000, maxOutputChars: 1 << 20, maxLogChars: 100 }

/** Runs a job's text in a realm of its own, as the isolate does. */
function load (job: string): (task: Partial<KernelTask>, input: string | string[]) => KernelResult {
  const context = { console: undefined }
  const kernel = runInNewContext(KERNEL_SOURCE, context, { filename: 'kernel.js' }) as Kernel
  kernel.bind(runInNewContext(`(() => { ${job}\n; return { clean: typeof clean === 'undefined' ? 0 : clean, map: typeof map === 'undefined' ? 0 : map, combine: typeof combine === 'undefined' ? 0 : combine, reduce: typeof reduce === 'undefined' ? 0 : reduce } })()`, context, { filename: 'job.mjs' }))
  return (task, input) => structuredClone(kernel.run({ ...TASK, ...task }, input))
}

const texts = ({ outputs }: KernelResult): Record<number, string> => Object.fromEntries(outputs.map(({ partition, text }) => [partition, text]))

/** FNV-1a over UTF-8 bytes, written anew. */
function fnv1a (text: string): number {
  let hash = 0x811C9DC5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

describe('the kernel: records in', () => {
  const echo = load('function map (record, emit) { emit(record) }')

  for (const [name, text, expected] of [
    ['an empty block has no record', '', []],
    ['the last line needs no newline', 'a\nb', ['a', 'b']],
    ['a newline at the end opens no record', 'a\n', ['a']],
    ['an empty line is a record', 'a\n\nb\n', ['a', '', 'b']],
    ['CR LF ends a line, a lone CR does not', 'a\r\nb\rc\n\r\n', ['a', 'b\rc', '']]
  ] as const) {
    it(name, () => {
      const result = echo({}, text)
      assert.equal(result.fault, undefined)
      assert.deepEqual((texts(result)[0] ?? '').split('\n').slice(0, -1).map(line => JSON.parse(line) as string), expected)
      assert.equal(result.recordsIn, expected.length)
      assert.equal(result.recordsOut, expected.length)
    })
  }

  it('drops records for which clean returns nothing, and passes on what it returns', () => {
    const run = load('function clean (r) { return r === "" ? undefined : r === "0" ? null : { r } } function map (o, emit) { emit(o.r) }')
    assert.equal(texts(run({ clean: true }, 'a\n\n0\nb\n'))[0], '"a"\n"b"\n')
  })

  it('takes clean alone for a whole job', () => {
    assert.equal(texts(load('function clean (r) { return r.trim() }')({ clean: true }, ' a \n'))[0], '"a"\n')
  })

  it('names the function that a stage needs and a job lacks', () => {
    for (const [task, name] of [[{}, 'map'], [{ clean: true }, 'clean'], [{ combine: true }, 'combine'], [{ kind: 'reduce' }, 'reduce']] as const) {
      const { fault } = load('')(task, 'a')
      assert.equal(fault?.code, 'code')
      assert.match(String(fault?.message), new RegExp(`function ${name},`))
    }
  })
})

describe('the kernel: pairs out', () => {
  it('sorts by the JSON text of keys, code unit by code unit, and keeps the order of values', () => {
    const run = load('function map (r, emit) { emit(JSON.parse(r), emit.n = (emit.n ?? 0) + 1) }')
    const keys = ['"b"', '"a"', '10', '9', 'null', '[1,"x"]', '{"k":1}', '"a"', '"é"', '"\\n"', '"Z"']
    const lines = (texts(run({ partitions: 1 }, keys.join('\n')))[0] ?? '').trimEnd().split('\n').map(line => JSON.parse(line) as [unknown, number])
    const expected = keys.map((key, i) => [key, i + 1] as const).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0).map(([key, i]) => [JSON.parse(key), i])
    assert.deepEqual(lines, expected)
  })

  it('partitions by FNV-1a over the UTF-8 of the key\'s JSON text', () => {
    assert.equal(fnv1a(''), 0x811C9DC5)
    assert.equal(fnv1a('foobar'), 0xBF9CF968, 'the published test vector')
    const run = load('function map (r, emit) { emit(JSON.parse(r), 1) }')
    const keys = ['"a"', '"the"', '"é"', '"€"', '"😀"', '"\\ud83d"', '7', '[1,2]', '{"a":"ü"}']
    const result = run({ partitions: 16 }, keys.join('\n'))
    const found = result.outputs.flatMap(({ partition, text }) => text.trimEnd().split('\n').map(line => [JSON.stringify((JSON.parse(line) as unknown[])[0]), partition]))
    assert.deepEqual(Object.fromEntries(found), Object.fromEntries(keys.map(key => [JSON.stringify(JSON.parse(key)), fnv1a(JSON.stringify(JSON.parse(key))) % 16])))
    assert.deepEqual(result.outputs.map(({ partition }) => partition), [...result.outputs.map(({ partition }) => partition)].sort((a, b) => a - b))
  })

  it('gives the string "1" and the number 1 to different groups', () => {
    const run = load('function map (r, emit) { emit(r, 1); emit(Number(r), 1) } function combine (k, v) { return v.length }')
    assert.equal(texts(run({ partitions: 1, combine: true }, '1\n1\n'))[0], '["1",2]\n[1,2]\n')
  })

  it('folds with combine, also far beyond what it keeps at once', () => {
    const run = load('function map (r, emit) { emit("k", 1); emit(r, 1) } function combine (k, v) { return v.reduce((a, b) => a + b, 0) }')
    const result = run({ partitions: 1, combine: true }, Array.from({ length: 5000 }, (_, i) => i % 2 === 0 ? 'even' : 'odd').join('\n'))
    assert.equal(texts(result)[0], '["even",2500]\n["k",5000]\n["odd",2500]\n')
    assert.equal(result.recordsIn, 5000)
    assert.equal(result.recordsOut, 3)
  })

  it('copies an emitted object, so that changing it afterwards changes nothing', () => {
    for (const combine of [false, true]) {
      const run = load('const o = { n: 0 }; function map (r, emit) { o.n++; emit(r, o) } function combine (k, v) { return v.map(x => x.n) }')
      assert.equal(texts(run({ partitions: 1, combine }, 'a\nb\n'))[0], '["a",{"n":1}]\n["b",{"n":2}]\n')
    }
  })

  it('writes [key,value] for a pair where no reduce follows', () => {
    assert.equal(texts(load('function map (r, emit) { emit(r, 1) }')({}, 'a'))[0], '["a",1]\n')
  })
})

describe('the kernel: faults', () => {
  for (const [what, expression, message] of [
    ['a function', '() => 1', /it is a function/],
    ['undefined', 'undefined', /it is undefined/],
    ['a BigInt', '1n', /BigInt/],
    ['NaN', 'NaN', /it is NaN/],
    ['an infinity', '-Infinity', /it is -Infinity/],
    ['a symbol', 'Symbol()', /it is a symbol/],
    ['a cycle', '(() => { const o = {}; o.o = o; return o })()', /circular/i]
  ] as const) {
    for (const [mode, task] of [['records', {}], ['pairs', { partitions: 2 }], ['combined pairs', { partitions: 2, combine: true }]] as const) {
      it(`names the record that emits ${what} among ${mode}`, () => {
        const run = load(`function map (r, emit) { ${mode === 'records' ? `emit(r === 'bad' ? ${expression} : r)` : `emit(r, r === 'bad' ? ${expression} : 1)`} } function combine (k, v) { return v[0] }`)
        const { fault, outputs } = run(task, 'ok\nok\nbad\nok\n')
        assert.equal(fault?.code, 'throw')
        assert.equal(fault.record, 3)
        assert.match(fault.message, message)
        assert.deepEqual(outputs, [])
      })
    }
  }

  it('tells message and place of an exception, and its record', () => {
    const { fault } = load('function map (r, emit) { if (r === "b") JSON.parse("{"); emit(r) }')({}, 'a\nb\n')
    assert.equal(fault?.record, 2)
    assert.match(fault.message, /^SyntaxError: .*\n {4}at map \(job\.mjs:1:/s)
  })

  it('describes whatever is thrown', () => {
    for (const thrown of ['null', '"text"', '{ get message () { throw 1 } }', 'Object.create(null)', '{ toString () { throw 1 } }', 'Symbol("x")', 'Object.assign(new Error("m".repeat(1e5)), { stack: 5 })', 'new Proxy({}, { get () { throw 2 } })']) {
      const { fault } = load(`function map () { throw ${thrown} }`)({}, 'a')
      assert.equal(fault?.code, 'throw', thrown)
      assert.ok(fault.message.length <= 2048, thrown)
    }
  })

  it('cannot be caught away by the job', () => {
    const { fault } = load('function map (r, emit) { try { emit(1n) } catch {} try { emit("fine") } catch {} }')({}, 'a\nb\n')
    assert.equal(fault?.record, 1)
  })

  it('refuses promises, which nobody would wait for', () => {
    for (const [job, task] of [['async function map () {}', {}], ['function map (r, e) { e(r) } async function clean (r) { return r }', { clean: true }], ['async function reduce () {}', { kind: 'reduce' }]] as const) {
      const { fault } = load(job)(task, task === undefined ? '' : 'kind' in task ? ['["a",1]\n'] : 'a')
      assert.match(String(fault?.message), /returned a promise/)
    }
  })

  it('stops at the output limit, in every mode', () => {
    for (const task of [{}, { partitions: 3 }, { partitions: 3, combine: true }, { partitions: 1 }]) {
      const run = load('function map (r, emit) { for (let i = 0; i < 1e4; i++) emit("key" + i, "v".repeat(100)) } function combine (k, v) { return v[0] }')
      assert.equal(run({ ...task, maxOutputChars: 10_000 }, 'a').fault?.code, 'output')
    }
  })

  it('refuses emit after the task', async () => {
    const run = load('let late = ""; function map (r, emit) { Promise.resolve().then(() => emit("late")).catch(error => { late = error.message }); emit(late) }')
    assert.equal(texts(run({}, 'first'))[0], '""\n')
    await new Promise(resolve => { setImmediate(resolve) })
    assert.equal(texts(run({}, 'second'))[0], '"emit was called after its task had ended"\n')
  })
})

describe('the kernel: reduce', () => {
  const run = load('function reduce (key, values) { return { key, values } }')
  const reduce = (...runs: string[]): KernelResult => run({ kind: 'reduce' }, runs)

  it('merges sorted runs, group by group, values in the order of runs', () => {
    const result = reduce('["a",1]\n["c",2]\n', '', '["a",3]\n["a",4]\n["b",5]', '["b",6]\n')
    assert.deepEqual((texts(result)[0] ?? '').trimEnd().split('\n').map(line => JSON.parse(line) as unknown), [
      { key: 'a', values: [1, 3, 4] }, { key: 'b', values: [5, 6] }, { key: 'c', values: [2] }
    ])
    assert.equal(result.recordsIn, 6)
  })

  it('merges what its own map wrote back to the same groups, whatever the keys', () => {
    const map = load('function map (r, emit) { emit(JSON.parse(r), r.length) }')
    const keys = ['"a\\"b"', '"a\\\\"', '"a,b"', '"]"', '[1,[2,"x"]]', '{"b":1}', 'null', 'true', '-1.5', '""', '"é😀"', '"\\u0000"']
    const runs = [1, 2, 3].map(n => texts(map({ partitions: 1 }, keys.slice(n).concat(keys).join('\n')))[0] as string)
    const groups = new Map((texts(reduce(...runs))[0] ?? '').trimEnd().split('\n').map(line => JSON.parse(line) as { key: unknown, values: number[] }).map(({ key, values }) => [JSON.stringify(key), values.length]))
    assert.deepEqual(groups, new Map([...groups.keys()].map(key => [key, 3 + Math.min(3, keys.findIndex(k => JSON.stringify(JSON.parse(k)) === key))])))
    assert.equal(groups.size, keys.length)
  })

  it('agrees with a plain grouping on many random runs', () => {
    let state = 7
    const random = (n: number): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % n
    const expected = new Map<string, number>()
    const runs = Array.from({ length: 40 }, () => {
      const pairs = Array.from({ length: random(200) }, () => [JSON.stringify(`k${random(300)}`), random(10)] as const).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0)
      for (const [key, value] of pairs) expected.set(key, (expected.get(key) ?? 0) + value)
      return pairs.map(([key, value]) => `[${key},${value}]\n`).join('')
    })
    const sums = load('function reduce (key, values) { return [key, values.reduce((a, b) => a + b, 0)] }')({ kind: 'reduce' }, runs)
    const found = (texts(sums)[0] ?? '').trimEnd().split('\n').map(line => JSON.parse(line) as [string, number])
    assert.deepEqual(found.map(([key, sum]) => [JSON.stringify(key), sum]), [...expected].sort(([a], [b]) => a < b ? -1 : 1))
  })

  it('writes nothing for undefined', () => {
    assert.deepEqual(load('function reduce () {}')({ kind: 'reduce' }, ['["a",1]\n']).outputs, [])
  })

  for (const [name, line] of [['text', 'hello'], ['an object', '{"a":1}'], ['half a pair', '["a"]'], ['a cut line', '["a",'], ['a broken value', '["a",x]'], ['a number', '5'], ['nothing', '']] as const) {
    it(`refuses a run that holds ${name}, and says where`, () => {
      const { fault } = reduce('["0",1]\n', `["0",1]\n${line}\n`)
      assert.equal(fault?.code, 'denied')
      assert.match(fault.message, /line 2 of run 2/)
    })
  }

  it('refuses a run that is out of order', () => {
    assert.match(String(reduce('["a",1]\n["b",1]\n["a",1]\n').fault?.message), /line 3 of run 1 is out of order/)
  })
})

describe('the kernel: time, dice and log', () => {
  it('lets time stand still and dice fall the same for the same task', () => {
    const run = load('function map (r, emit, ctx) { emit([ctx.seed, ctx.now, Date.now(), new Date().toISOString(), Date().slice(0, 15), new Date(0) instanceof Date, new Date(5).getTime(), Math.random(), Math.random(), Object.isFrozen(ctx)]) }')
    const first = texts(run({}, 'a'))[0]
    assert.equal(texts(run({}, 'a'))[0], first)
    assert.notEqual(texts(run({ seed: 't' }, 'a'))[0], first)
    const [seed, now, dateNow, iso, , isDate, five, a, b, isFrozen] = JSON.parse(String(first)) as unknown[]
    assert.deepEqual([seed, now, dateNow, iso, isDate, five, isFrozen], ['s', 86_400_000, 86_400_000, '1970-01-02T00:00:00.000Z', true, 5, true])
    assert.ok(a !== b && Number(a) >= 0 && Number(a) < 1)
  })

  it('cuts the log off at its limit, with a word', () => {
    const run = load('function map (r, emit, { log }) { log("n", 1, { a: [2] }, undefined); for (let i = 0; i < 1e4; i++) log("x".repeat(1000)) }')
    const { log } = run({}, 'a')
    assert.ok(log.startsWith('n 1 {"a":[2]} undefined\n'))
    assert.ok(log.endsWith('(log cut off at its limit)'))
    assert.ok(log.length < 400)
  })
})

describe('the kernel beside a job that overwrites the globals', () => {
  it('counts on', () => {
    const run = load(`
      for (const type of [String, Array, Map, Object, Function, Number, RegExp]) {
        for (const name of Object.getOwnPropertyNames(type.prototype)) {
          if (name === 'constructor' || (type === Array && name === 'length')) continue
          try { Object.defineProperty(type.prototype, name, { get () { throw new Error('overwritten ' + name) }, set () {} }) } catch {}
        }
      }
      Object.defineProperty(Array.prototype, Symbol.iterator, { get () { throw new Error('iterated') } })
      const names = ['JSON', 'Math', 'Map', 'Object', 'Reflect', 'String', 'TypeError', 'Date', 'Array']
      for (let i = 0; i < names.length; i++) globalThis[names[i]] = undefined
      function map (r, emit) { emit(r, 1); emit([r], 2) }
      function combine (k, v) { let n = 0; for (let i = 0; i < v.length; i++) n += v[i]; return n }
      function reduce (k, v) { return { k, n: combine(k, v) } }`)
    const result = run({ partitions: 1, combine: true }, 'b\na\nb\n')
    assert.equal(result.fault, undefined)
    assert.equal(result.outputs[0]?.text, '["a",1]\n["b",2]\n[["a"],2]\n[["b"],4]\n')
    assert.equal(run({ kind: 'reduce' }, [result.outputs[0].text]).outputs[0]?.records, 4)
  })
})
