/**
 * A process that runs spinning tasks in a sandbox, to be killed by a test. Arguments: kind of jail, memory of the tasks in bytes (their mark
 * on the executors' command lines), what they spin in. Prints `running` once the tasks are on their way.
 */
import { createExecutors, DEFAULT_TASK_LIMITS } from '../../src/participant/sandbox/executors.ts'

const [, , jail, memoryBytes, spin] = process.argv
const executors = await createExecutors({ slots: 2, jail: jail as 'bwrap' | 'unshare' | 'none' })
const code = Buffer.from(`export function map () { ${String(spin)} }`)
for (let i = 0; i < 2; i++) {
  executors.run({
    job: `j${i}`,
    codeCid: 'c',
    code,
    stage: { kind: 'map', clean: false, combine: false, partitions: 0 },
    input: [Buffer.from('x\n')],
    encoding: 'utf8',
    limits: { ...DEFAULT_TASK_LIMITS, memoryBytes: Number(memoryBytes), timeoutMs: 60_000 },
    seed: '',
    nowMs: 0
  }, new AbortController().signal).catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`)
    process.exitCode = 1
  })
}
process.stdout.write('running\n')
