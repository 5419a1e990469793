/**
 * Tasks for tests of the sandbox.
 */
import { DEFAULT_TASK_LIMITS, type SandboxTask, type TaskLimits, type TaskOutcome } from '../../src/participant/sandbox/executors.ts'

let count = 0

/** A task of a job of its own, unless `changes` say otherwise. `limits` are changes to the defaults. */
export function taskOf (code: string, input: string | string[], changes: Partial<Omit<SandboxTask, 'limits'>> & { limits?: Partial<TaskLimits> } = {}): SandboxTask {
  const { limits, ...rest } = changes
  return {
    job: `j${++count}`,
    codeCid: 'c',
    code: Buffer.from(code),
    stage: { kind: 'map', clean: false, combine: false, partitions: 0 },
    input: [input].flat().map(text => Buffer.from(text)),
    encoding: 'utf8',
    seed: 'seed',
    nowMs: 1_700_000_000_000,
    ...rest,
    limits: { ...DEFAULT_TASK_LIMITS, ...limits }
  }
}

/** @returns all output as text; throws the fault of a task that has none */
export function textOf (outcome: TaskOutcome): string {
  if (!outcome.ok) throw new Error(`${outcome.fault.code} at ${outcome.fault.record}: ${outcome.fault.message}`)
  return outcome.outputs.map(({ bytes }) => Buffer.from(bytes).toString()).join('')
}
