/**
 * Every error code a person can meet, with its exit code and the next step. One table: the CLI, the README and the tests read it.
 */
import { ConclaveError } from '../keys/conclave-error.ts'

export { ConclaveError }

/** Exit codes of the `conclave` command. */
export const EXIT = { ok: 0, failed: 1, usage: 2, input: 3, unreachable: 4, denied: 5, busy: 6, internal: 70, interrupted: 130 } as const
