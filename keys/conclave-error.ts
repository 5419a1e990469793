/**
 * The one error class that a caller of ours ever meets.
 *
 * `name` equals `code`, so that it can be matched as libp2p's errors are. `next` is what a person should do or type next.
 */
export class ConclaveError extends Error {
  readonly code: string
  readonly next: string
  /** Facts for a machine: small, JSON-serialisable, free of secrets. */
  readonly details: Record<string, unknown>

  /**
   * @param code - stable, upper snake case, from the table in `src/errors.ts`
   * @param message - what happened, and why
   * @param options - `next`: the next step in words or a command; `cause`: the error below; `details`: facts for a machine
   */
  constructor (code: string, message: string, options: { next?: string, cause?: unknown, details?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = code
    this.code = code
    this.next = options.next ?? ''
    this.details = options.details ?? {}
  }
}
