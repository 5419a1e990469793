/**
 * Requests, replies and errors as bytes. Pure; spec: README.md beside this file.
 */
import { ConclaveError } from '../../keys/conclave-error.ts'
import { accept, reject } from '../../keys/verdict.ts'
import { FAILURE_LIMITS, MAX_RPC_TIMEOUT_MS } from './constants.ts'
import { Reply, Request } from './messages.js'
import type { Failure } from './messages.js'
import type { Verdict } from '../../keys/verdict.ts'

export type DecodedRequest =
  | { type: 'request', id: number, body: Uint8Array, timeoutMs: number }
  | { type: 'cancel', id: number }

export type DecodedReply =
  | { id: number, body: Uint8Array }
  | { id: number, error: ConclaveError }

/** @param timeoutMs - how long the requester will wait; at least 1 */
export function encodeRequest (id: number, body: Uint8Array, timeoutMs: number): Uint8Array {
  return Request.encode({ id, body: body as Uint8Array<ArrayBuffer>, timeoutMs: Math.min(Math.max(1, Math.ceil(timeoutMs)), MAX_RPC_TIMEOUT_MS) })
}

export function encodeCancel (id: number): Uint8Array {
  return Request.encode({ id, cancel: true })
}

/** @returns reject RPC_MALFORMED where no peer of ours could have sent it. The body shares the frame's memory. */
export function decodeRequest (frame: Uint8Array): Verdict<DecodedRequest> {
  try {
    const { id, body, timeoutMs, cancel } = Request.decode(frame)
    if (cancel) return accept({ type: 'cancel', id })
    return accept({ type: 'request', id, body, timeoutMs: Math.min(timeoutMs, MAX_RPC_TIMEOUT_MS) })
  } catch (error) {
    return malformed('request', error)
  }
}

export function encodeReply (id: number, body: Uint8Array): Uint8Array {
  return Reply.encode({ id, body: body as Uint8Array<ArrayBuffer> })
}

/**
 * A ConclaveError keeps its code, message, next step and details, within limits. Anything else becomes INTERNAL without its text,
 * which may hold what a peer should not read.
 */
export function encodeErrorReply (id: number, error: unknown): Uint8Array {
  return Reply.encode({ id, error: failureOf(error) })
}

/** @returns reject RPC_MALFORMED. The body shares the frame's memory; an error is ready to be thrown. */
export function decodeReply (frame: Uint8Array): Verdict<DecodedReply> {
  try {
    const { id, body, error } = Reply.decode(frame)
    return accept(error === undefined ? { id, body } : { id, error: errorOf(error) })
  } catch (error) {
    return malformed('reply', error)
  }
}

function malformed (what: string, error: unknown): Verdict<never> {
  return reject('RPC_MALFORMED', `a ${what} does not decode: ${error instanceof Error ? error.message : String(error)}`)
}

function failureOf (error: unknown): Failure {
  if (!(error instanceof ConclaveError)) {
    return { code: 'INTERNAL', message: 'the peer failed to answer: its log says why', next: 'look at the log of the peer', details: '' }
  }
  const details = JSON.stringify(error.details)
  return {
    code: error.code.slice(0, FAILURE_LIMITS.code),
    message: error.message.slice(0, FAILURE_LIMITS.message),
    next: error.next.slice(0, FAILURE_LIMITS.next),
    details: details.length > FAILURE_LIMITS.details || details === '{}' ? '' : details
  }
}

function errorOf (failure: Failure): ConclaveError {
  const code = /^[A-Z][A-Z0-9_]{0,63}$/.test(failure.code) ? failure.code : 'INTERNAL'
  return new ConclaveError(code, failure.message.slice(0, FAILURE_LIMITS.message), {
    next: failure.next.slice(0, FAILURE_LIMITS.next),
    details: detailsOf(failure.details)
  })
}

function detailsOf (json: string): Record<string, unknown> {
  if (json === '' || json.length > FAILURE_LIMITS.details) return {}
  try {
    const details: unknown = JSON.parse(json)
    return typeof details === 'object' && details !== null && !Array.isArray(details) ? details as Record<string, unknown> : {}
  } catch {
    return {} // an error stays useful without its details
  }
}
