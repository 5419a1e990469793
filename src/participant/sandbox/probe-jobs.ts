/**
 * What the self-test tries, and what counts as held. Pure.
 */
import type { ProbeAnswer } from './probes.ts'
import type { ProbeResult, TaskLimits, TaskOutcome } from './types.ts'

const MIB = 1024 * 1024

/** Small, so that a bomb is over soon. */
export const PROBE_LIMITS: Readonly<Omit<TaskLimits, 'timeoutMs'>> = { memoryBytes: 24 * MIB, inputBytes: MIB, outputBytes: MIB, logBytes: 1024 }

/** A job that misbehaves. `holds` judges what became of it. */
export interface JobProbe {
  name: string
  code: string
  timeoutMs: number
  holds: (outcome: TaskOutcome) => Pick<ProbeResult, 'held' | 'detail'>
}

const describe = (outcome: TaskOutcome): string => outcome.ok ? 'the task ended well' : `${outcome.fault.code}: ${outcome.fault.message.split('\n')[0]}`

const faults = (...codes: string[]) => (outcome: TaskOutcome) => ({ held: !outcome.ok && codes.includes(outcome.fault.code), detail: describe(outcome) })

const whenCalled = (body: string): string => `export function map (record, emit) { ${body} }`

/** Names that would be a way out, reached directly and through the constructors of what the kernel hands in. */
const GLOBALS = `
const names = ['process', 'require', 'module', 'Buffer', 'fetch', 'setTimeout', 'WebAssembly', 'SharedArrayBuffer', 'Atomics']
export function map (record, emit, ctx) {
  const found = []
  for (const get of [Function, emit.constructor, ctx.log.constructor, (function () {}).constructor]) {
    for (const name of names) {
      const value = get('return typeof ' + name)()
      if (value !== 'undefined') found.push(name)
    }
  }
  emit(found)
}`

export const JOB_PROBES: readonly JobProbe[] = [
  {
    name: 'isolate: no Node.js',
    code: GLOBALS,
    timeoutMs: 3000,
    holds (outcome) {
      const text = outcome.ok ? Buffer.from(outcome.outputs[0]?.bytes ?? []).toString().trim() : describe(outcome)
      return { held: text === '[]', detail: text === '[]' ? 'none of its globals is there' : text }
    }
  },
  { name: 'isolate: no imports', code: `import 'node:fs'\n${whenCalled('')}`, timeoutMs: 3000, holds: faults('denied') },
  { name: 'eat memory: objects', code: whenCalled('const a = []; for (;;) a.push({ a })'), timeoutMs: 3000, holds: faults('memory', 'crash') },
  { name: 'eat memory: buffers', code: whenCalled('const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1))'), timeoutMs: 3000, holds: faults('memory', 'crash') },
  {
    name: 'eat memory: resizable buffers',
    code: whenCalled('const a = []; for (;;) { const b = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 28 }); b.resize(1 << 26); new Uint8Array(b).fill(1); a.push(b) }'),
    timeoutMs: 3000,
    holds: faults('memory', 'crash')
  },
  { name: 'loop in JavaScript', code: whenCalled('for (;;);'), timeoutMs: 150, holds: faults('timeout') },
  { name: 'loop in native code', code: whenCalled('Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1)'), timeoutMs: 150, holds: faults('timeout') }
]

/** @param wasSignalled - the participant felt the signal */
export function judgeEscape (answer: ProbeAnswer, wasSignalled: boolean): ProbeResult[] {
  const judge = (name: string, got: string, refused: string): ProbeResult => ({ name, held: got === '', detail: got === '' ? refused : `got through: ${got}` })
  return [
    judge('read a file', String(answer.read), 'refused'),
    judge('write a file', String(answer.wrote), 'refused'),
    judge('open a socket', String(answer.connected), answer.listened === '' ? 'refused' : 'unreachable, in a network of its own'),
    judge('start a program', String(answer.spawned), 'refused'),
    judge('signal the daemon', wasSignalled && answer.signalled !== '' ? String(answer.signalled) : '', 'not reached'),
    judge('read the environment', String(answer.env), 'empty')
  ]
}
