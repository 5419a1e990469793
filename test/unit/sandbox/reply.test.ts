import assert from 'node:assert/strict'
import { checkTask, exceedsCeiling } from '../../../src/participant/sandbox/admit.ts'
import { FRAME } from '../../../src/participant/sandbox/frames.ts'
import { outcomeOf } from '../../../src/participant/sandbox/reply.ts'
import { shapeOf } from '../../../src/participant/sandbox/shape.ts'
import { DEFAULT_CEILING, DEFAULT_TASK_LIMITS, type SandboxTask } from '../../../src/participant/sandbox/types.ts'
import type { Reply } from '../../../src/participant/sandbox/executor.ts'

const TASK: SandboxTask = {
  job: 'j', codeCid: 'c', code: Buffer.from(''), stage: { kind: 'map', clean: false, combine: false, partitions: 4 },
  input: [Buffer.from('a\nb\n')], encoding: 'utf8', limits: { ...DEFAULT_TASK_LIMITS, outputBytes: 20, logBytes: 4 }, seed: '', nowMs: 0
}
const DONE = { outputs: [{ partition: 1, records: 1 }, { partition: 3, records: 2 }], recordsIn: 2, recordsOut: 3, cpuMs: 5 }
const BLOBS = ['log', '"a"\n', '1\n2\n']
const frame = (kind: number, header: unknown, blobs: string[] = []): Reply => ({ type: 'frame', frame: { kind, header, blobs: blobs.map(text => Buffer.from(text)) } })

describe('what a participant believes of an executor', () => {
  it('takes a well-formed answer', () => {
    const outcome = outcomeOf(frame(FRAME.done, DONE, BLOBS), TASK, 12.6)
    assert.ok(outcome.ok)
    assert.deepEqual(outcome.counters, { recordsIn: 2, recordsOut: 3, bytesIn: 4, bytesOut: 8, wallMs: 13, cpuMs: 5 })
    assert.deepEqual(outcome.outputs.map(({ partition, records, bytes }) => [partition, records, Buffer.from(bytes).toString()]), [[1, 1, '"a"\n'], [3, 2, '1\n2\n']])
    assert.equal(outcome.log, 'log')
  })

  for (const [name, header, blobs] of [
    ['no header', null, BLOBS],
    ['a list for a header', [], BLOBS],
    ['no outputs', { ...DONE, outputs: undefined }, BLOBS],
    ['fewer outputs than blobs', { ...DONE, outputs: [DONE.outputs[0]] }, BLOBS],
    ['more outputs than blobs', DONE, BLOBS.slice(0, 2)],
    ['a partition twice', { ...DONE, outputs: [DONE.outputs[0], DONE.outputs[0]], recordsOut: 2 }, BLOBS],
    ['a partition out of range', { ...DONE, outputs: [DONE.outputs[0], { partition: 4, records: 2 }] }, BLOBS],
    ['a negative partition', { ...DONE, outputs: [{ partition: -1, records: 1 }, DONE.outputs[1]] }, BLOBS],
    ['a fraction of records', { ...DONE, outputs: [{ partition: 1, records: 0.5 }, DONE.outputs[1]] }, BLOBS],
    ['more records than bytes', { ...DONE, outputs: [{ partition: 1, records: 5 }, DONE.outputs[1]], recordsOut: 7 }, BLOBS],
    ['a wrong sum of records', { ...DONE, recordsOut: 4 }, BLOBS],
    ['more records in than bytes in', { ...DONE, recordsIn: 5 }, BLOBS],
    ['text for a counter', { ...DONE, cpuMs: '5' }, BLOBS],
    ['an unsafe counter', { ...DONE, cpuMs: 2 ** 60 }, BLOBS],
    ['a log above its limit', DONE, ['loggy', ...BLOBS.slice(1)]],
    ['output above its limit', DONE, ['', '"a"\n', '1\n2\n'.repeat(5)]]
  ] as const) {
    it(`calls it a crash when there is ${name}`, () => {
      const outcome = outcomeOf(frame(FRAME.done, header, [...blobs]), TASK, 1)
      assert.ok(!outcome.ok)
      assert.equal(outcome.fault.code, 'crash')
    })
  }

  it('takes a fault only with a code, a size and a record that it knows', () => {
    const fault = { code: 'throw', message: 'm', record: 2 }
    const good = outcomeOf(frame(FRAME.fault, fault, ['log']), TASK, 1)
    assert.deepEqual(good, { ok: false, fault, log: 'log' })
    for (const bad of [{ ...fault, code: 'fine' }, { ...fault, code: 'missing' }, { ...fault, message: 'm'.repeat(2049) }, { ...fault, record: -1 }, { ...fault, record: '2' }, { ...fault, job: 'job_x' }, { ...fault, job: `JOB_${'X'.repeat(99)}` }]) {
      const outcome = outcomeOf(frame(FRAME.fault, bad, ['']), TASK, 1)
      assert.ok(!outcome.ok && outcome.fault.code === 'crash', JSON.stringify(bad).slice(0, 80))
    }
  })

  it('takes no frame of another kind', () => {
    for (const kind of Object.values(FRAME).filter(kind => kind !== FRAME.done && kind !== FRAME.fault)) {
      const outcome = outcomeOf(frame(kind, DONE, BLOBS), TASK, 1)
      assert.ok(!outcome.ok && outcome.fault.code === 'crash')
    }
  })

  it('says why there was no answer', () => {
    for (const [reply, code] of [[{ type: 'timeout' }, 'timeout'], [{ type: 'exit', detail: 'SIGSEGV', isHeavy: false }, 'crash'], [{ type: 'exit', detail: 'SIGSEGV', isHeavy: true }, 'memory'], [{ type: 'malformed', detail: 'x' }, 'crash']] as const) {
      const outcome = outcomeOf(reply, TASK, 1)
      assert.ok(!outcome.ok && outcome.fault.code === code)
    }
  })
})

describe('the shape of a job', () => {
  const shape = { clean: false, map: true, combine: false, reduce: true }
  const throwsCode = (reply: Reply, code: string): void => {
    assert.throws(() => shapeOf(reply), (error: unknown) => error instanceof Error && error.name === code && (error as Error & { next: string }).next !== '')
  }

  it('is what the executor told', () => {
    assert.deepEqual(shapeOf(frame(FRAME.shape, { ...shape, more: 1 })), shape)
    assert.equal(shapeOf(frame(FRAME.shape, { ...shape, map: false, clean: true })).clean, true)
  })

  it('is an error with a next step where a job cannot be used', () => {
    throwsCode(frame(FRAME.shape, { ...shape, map: false }), 'JOB_EXPORTS_NOTHING')
    throwsCode(frame(FRAME.shape, { ...shape, map: 'yes' }), 'JOB_CRASHED')
    throwsCode({ type: 'timeout' }, 'JOB_TIMEOUT')
    throwsCode({ type: 'exit', detail: 'SIGSEGV', isHeavy: false }, 'JOB_CRASHED')
    throwsCode({ type: 'exit', detail: 'SIGSEGV', isHeavy: true }, 'JOB_MEMORY')
    for (const job of ['JOB_SYNTAX', 'JOB_IMPORTS', 'JOB_THROWS_ON_LOAD', 'JOB_MEMORY']) throwsCode(frame(FRAME.fault, { code: 'code', message: 'm', record: 0, job }, ['']), job)
  })
})

describe('what a participant lets in', () => {
  it('is within its ceiling', () => {
    assert.equal(exceedsCeiling(DEFAULT_TASK_LIMITS, DEFAULT_CEILING), undefined)
    for (const name of Object.keys(DEFAULT_CEILING) as (keyof typeof DEFAULT_CEILING)[]) {
      for (const value of [DEFAULT_CEILING[name] + 1, NaN, -1, 1.5]) assert.match(String(exceedsCeiling({ ...DEFAULT_TASK_LIMITS, [name]: value }, DEFAULT_CEILING)), new RegExp(name))
    }
  })

  it('is a task of a known shape and size', () => {
    assert.equal(checkTask(TASK), undefined)
    assert.match(String(checkTask({ ...TASK, limits: { ...TASK.limits, inputBytes: 3 } })), /input has 4 bytes/)
    assert.match(String(checkTask({ ...TASK, code: new Uint8Array(2 ** 20 + 1) })), /job module/)
    for (const partitions of [-1, 0.5, 4097]) assert.match(String(checkTask({ ...TASK, stage: { ...TASK.stage, partitions } })), /partitions/)
    assert.match(String(checkTask({ ...TASK, stage: { ...TASK.stage, kind: 'reduce' } })), /one partition/)
  })
})
