/** Errors on their way over the control socket, and back. Codes, words and facts travel; stacks do not. */
import { ConclaveError } from '../errors.ts'
import type { ErrorBody } from './routes.ts'

/** What is not ours becomes INTERNAL: a bug, told as one. */
export function toErrorBody (error: unknown): ErrorBody {
  if (error instanceof ConclaveError) return { code: error.code, message: withCause(error), next: error.next, details: error.details }
  if (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')) return { code: 'ABORTED', message: error.message, next: '' }
  return { code: 'INTERNAL', message: error instanceof Error ? `${error.name}: ${error.message}` : String(error), next: 'please report this as a bug' }
}

function withCause (error: ConclaveError): string {
  const cause = error.cause instanceof Error ? error.cause.message : undefined
  return cause === undefined || error.message.includes(cause) ? error.message : `${error.message} (${cause})`
}

/** @returns undefined where `value` is no error body */
export function fromErrorBody (value: unknown): ConclaveError | undefined {
  const body = value as Partial<ErrorBody> | null | undefined
  if (typeof body?.code !== 'string' || typeof body.message !== 'string') return undefined
  return new ConclaveError(body.code, body.message, { next: body.next ?? '', details: body.details ?? {} })
}
