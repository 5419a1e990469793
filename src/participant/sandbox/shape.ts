/**
 * From an executor's answer about a job module to its shape, or to the error that tells its author what to do. Pure.
 */
import { ConclaveError } from '../../../keys/conclave-error.ts'
import { readFault, readShape } from './reply.ts'
import { MAX_CODE_BYTES, type JobShape } from './types.ts'
import type { Reply } from './executor.ts'

/** Loading a module may take this long. */
export const INSPECT_TIMEOUT_MS = 5000

const NEXT: Record<string, string> = {
  JOB_SYNTAX: 'Correct the job module; `node --check JOB` finds the same.',
  JOB_THROWS_ON_LOAD: 'Make the top level of the job module free of side effects: a job has no Node.js, no files and no network.',
  JOB_IMPORTS: 'Bundle what the job needs into one file (for example `esbuild --bundle --format=esm`); modules of Node.js are not there.',
  JOB_MEMORY: 'Build large tables within map or reduce, or raise the job\'s memory limit.',
  JOB_CRASHED: 'Try again; if it stays, reduce the job module until it loads and report what was left out.'
}

function jobError (code: string, message: string, next = NEXT[code] ?? ''): ConclaveError {
  return new ConclaveError(code, message, { next })
}

/** @throws ConclaveError JOB_TOO_LARGE */
export function checkCodeSize (code: Uint8Array): void {
  if (code.length <= MAX_CODE_BYTES) return
  throw new ConclaveError('JOB_TOO_LARGE', `the job module has ${code.length} bytes, above the limit of ${MAX_CODE_BYTES}`, {
    next: 'Give tables as inputs, not as code.',
    details: { bytes: code.length, maxBytes: MAX_CODE_BYTES }
  })
}

/**
 * @returns which functions the module exports; `map`, or `clean` alone, is among them
 * @throws ConclaveError JOB_SYNTAX, JOB_THROWS_ON_LOAD, JOB_EXPORTS_NOTHING, JOB_IMPORTS, JOB_TIMEOUT, JOB_MEMORY, JOB_CRASHED
 */
export function shapeOf (reply: Reply): JobShape {
  if (reply.type === 'timeout') {
    throw jobError('JOB_TIMEOUT', `the job module did not finish loading within ${INSPECT_TIMEOUT_MS} ms`, 'Look for an endless loop, or an await that never ends, at the top level of the job module.')
  }
  if (reply.type === 'exit' && reply.isHeavy) throw jobError('JOB_MEMORY', `the job module wanted more memory than its limit while it was loaded (${reply.detail})`)
  if (reply.type !== 'frame') throw jobError('JOB_CRASHED', `the executor ended while it loaded the job module: ${'detail' in reply ? reply.detail : reply.type}`)
  const told = readFault(reply.frame, 0)
  if (told !== undefined) throw jobError(told.job ?? 'JOB_CRASHED', `the job module does not load: ${told.fault.message}`)
  const shape = readShape(reply.frame)
  if (shape === undefined) throw jobError('JOB_CRASHED', 'the executor gave a malformed answer about the job module')
  if (!shape.map && !shape.clean) {
    const found = Object.entries(shape).filter(([, isThere]) => isThere).map(([name]) => name)
    throw jobError('JOB_EXPORTS_NOTHING', `the job module exports neither map nor clean${found.length > 0 ? `, only ${found.join(' and ')}` : ''}`, 'Write `export function map (record, emit) { … }` in it.')
  }
  return shape
}
