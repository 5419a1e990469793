/** A failure as a person and a program read it: the code, what happened, the cause, the next step. */
import { EXIT, ConclaveError, exitOf, explain } from '../errors.ts'
import { toErrorBody } from '../daemon/error-body.ts'
import { plain } from './format.ts'
import { OutputClosed } from './output.ts'
import type { Output } from './output.ts'

/** @returns the exit code */
export async function reportError (error: unknown, out: Output, isJson: boolean, signal: AbortSignal): Promise<number> {
  const isInterrupted = signal.aborted && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'))
  if (isInterrupted) {
    if (!isJson) out.note('interrupted')
    return EXIT.interrupted
  }
  const body = toErrorBody(error)
  const next = body.next === '' ? explain(body.code).next : body.next
  if (isJson) {
    try {
      await out.json({ event: 'error', error: { ...body, next } })
    } catch (failure) {
      if (!(failure instanceof OutputClosed)) throw failure
    }
  }
  out.note(errorText(body.code, body.message, next))
  if (!(error instanceof ConclaveError) && error instanceof Error && error.stack !== undefined) out.note(error.stack)
  return exitOf(body.code)
}

export function errorText (code: string, message: string, next: string): string {
  return `conclave: ${code}: ${plain(message)}\n${next === '' ? '' : `  next: ${plain(next)}\n`}`
}
