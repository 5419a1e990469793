/** Request bodies of the control API, read within a limit and checked field by field: a wrong one is told, never half used. */
import type { IncomingMessage } from 'node:http'
import path from 'node:path'
import { ConclaveError } from '../errors.ts'
import type { Capability, InviteOptions, JobLimits } from '../api.ts'
import type { SubmitBody } from './routes.ts'

const CAPABILITIES: readonly string[] = ['vote', 'work', 'submit', 'observe', 'invite'] satisfies Capability[]
const LIMIT_NAMES: readonly (keyof JobLimits)[] = ['timeoutMs', 'memoryBytes', 'inputBytes', 'outputBytes', 'logBytes']

/** @throws BODY_TOO_LARGE; BAD_REQUEST where it is no JSON object */
export async function readBody (request: IncomingMessage, maxBytes: number): Promise<Record<string, unknown>> {
  const declared = Number(request.headers['content-length'] ?? 0)
  const chunks: Buffer[] = []
  let bytes = 0
  if (declared > maxBytes) throw tooLarge(maxBytes)
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  if (bytes === 0) return {}
  let value: unknown
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    throw bad('the body is no JSON', error)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('the body is no JSON object')
  return value as Record<string, unknown>
}

const tooLarge = (maxBytes: number): ConclaveError =>
  new ConclaveError('BODY_TOO_LARGE', `a request may hold at most ${maxBytes} bytes`, { next: 'name directories or globs that match fewer files, or submit several jobs' })
const bad = (message: string, cause?: unknown): ConclaveError => new ConclaveError('BAD_REQUEST', message, { cause, next: 'use the `conclave` command of the same version' })

/** @throws BAD_REQUEST naming the field */
export function toSubmit (body: Record<string, unknown>): SubmitBody {
  const { code, name, inputs, encoding, limits } = body
  if (typeof code !== 'string' || code.length === 0) throw bad('code: a module\'s source is needed')
  if (!Array.isArray(inputs) || inputs.length === 0 || !inputs.every((input) => typeof input === 'string' && path.isAbsolute(input))) throw bad('inputs: a list of absolute paths is needed')
  if (name !== undefined && (typeof name !== 'string' || name.length > 256)) throw bad('name: at most 256 characters')
  if (encoding !== undefined && encoding !== 'utf8' && encoding !== 'latin1') throw bad('encoding: utf8 or latin1')
  return {
    code,
    inputs: inputs as string[],
    ...(name === undefined ? {} : { name }),
    ...(encoding === undefined ? {} : { encoding }),
    ...counts(body, ['splitBytes', 'partitions', 'maxAttempts', 'deadlineMs']),
    ...(limits === undefined ? {} : { limits: counts(asObject(limits), LIMIT_NAMES) })
  }
}

/** @throws BAD_REQUEST naming the field */
export function toInvite (body: Record<string, unknown>): InviteOptions {
  const { capabilities } = body
  if (capabilities !== undefined && !(Array.isArray(capabilities) && capabilities.length > 0 && capabilities.every((each) => CAPABILITIES.includes(each as string)))) {
    throw bad(`capabilities: some of ${CAPABILITIES.join(', ')}`)
  }
  return { ...(capabilities === undefined ? {} : { capabilities: capabilities as Capability[] }), ...counts(body, ['uses', 'ttlMs']) }
}

/** Of these fields, those that are there: whole numbers from 1 on. */
function asObject (value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('limits: an object is needed')
  return value as Record<string, unknown>
}

function counts<K extends string> (from: Record<string, unknown>, names: readonly K[]): Partial<Record<K, number>> {
  const found: Partial<Record<K, number>> = {}
  for (const name of names) {
    const value = from[name]
    if (value === undefined) continue
    if (!Number.isSafeInteger(value) || (value as number) < 1) throw bad(`${name}: a whole number from 1 on is needed`)
    found[name] = value as number
  }
  return found
}
