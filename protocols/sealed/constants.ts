/**
 * The sealed handshake's id and limits. Spec: README.md beside this file.
 */

export const SEALED_PROTOCOL = '/conclave/sealed/1'
/** What `Hello.version` says. */
export const SEALED_VERSION = 1

/** Largest frame of the exchange, without its length. */
export const MAX_FRAME_BYTES = 16 * 1024
/** Most certificates that a Hello may carry. */
export const MAX_HELLO_CERTIFICATES = 6
export const MAX_CODE_CHARACTERS = 64
export const MAX_REASON_CHARACTERS = 300

/** From the first byte of Noise until the other side's Hello is here. */
export const OPENING_TIMEOUT_MS = 3_000
/** From our Hello until both answers are here. */
export const EXCHANGE_TIMEOUT_MS = 5_000
/** How long the judge may think, an admission by the leader included; the rest of the exchange is for saying what it thought. */
export const JUDGE_TIMEOUT_MS = 4_000
/** How long a refusal waits for the refused side to have read it. */
export const LINGER_MS = 1_000
