/**
 * What is asked of a task before it goes into an executor. Pure.
 */
import { sumOfBytes } from './reply.ts'
import { MAX_CODE_BYTES, MAX_PARTITIONS, MAX_RUNS, type SandboxTask, type TaskLimits } from './types.ts'

/** @returns why this machine does not grant these limits, or undefined */
export function exceedsCeiling (limits: TaskLimits, ceiling: TaskLimits): string | undefined {
  for (const name of ['timeoutMs', 'memoryBytes', 'inputBytes', 'outputBytes', 'logBytes'] as const) {
    const asked = limits[name]
    if (!Number.isSafeInteger(asked) || asked < 0) return `${name} is not a count: ${asked}`
    if (asked > ceiling[name]) return `the task asks for ${name} ${asked}; this participant allows ${ceiling[name]}`
  }
  return undefined
}

/** @returns why the task cannot be run at all, or undefined */
export function checkTask ({ code, stage, input, limits }: SandboxTask): string | undefined {
  if (code.length > MAX_CODE_BYTES) return `the job module has ${code.length} bytes, above the limit of ${MAX_CODE_BYTES}`
  if (!Number.isInteger(stage.partitions) || stage.partitions < 0 || stage.partitions > MAX_PARTITIONS) return `${stage.partitions} partitions; 0 to ${MAX_PARTITIONS} are possible`
  if (stage.kind === 'reduce' && stage.partitions > 1) return 'a reduce writes one partition'
  if (input.length > MAX_RUNS) return `${input.length} inputs, above the limit of ${MAX_RUNS}`
  const bytes = sumOfBytes(input)
  return bytes > limits.inputBytes ? `the input has ${bytes} bytes, above the limit of ${limits.inputBytes}` : undefined
}
