/**
 * A job's id: `j` and 25 characters of base32 (125 bits) of the SHA-256 of its signed payload. A client that submits the same
 * signed spec again names the same job.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { base32 } from 'multiformats/bases/base32'
import type { JobId } from './state.ts'

const PATTERN = /^j[a-z2-7]{25}$/

/** @param payload - of the SignedStatement that holds the JobSpec */
export function jobIdOf (payload: Uint8Array): JobId {
  return `j${base32.baseEncode(sha256(payload)).slice(0, 25)}` as JobId
}

export function isJobId (text: string): text is JobId {
  return PATTERN.test(text)
}
