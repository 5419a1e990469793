/**
 * Frames of the sealed handshake. Pure; what a peer sent comes back as a verdict, bounded and printable.
 */
import { accept, reject } from '../../keys/verdict.ts'
import { MAX_CODE_CHARACTERS, MAX_FRAME_BYTES, MAX_HELLO_CERTIFICATES, MAX_REASON_CHARACTERS, SEALED_VERSION } from './constants.ts'
import { Answer as AnswerMessage, Hello } from './messages.js'
import type { Credentials } from '../../keys/roster.ts'
import type { Verdict } from '../../keys/verdict.ts'

/**
 * A frame is its length as 2 bytes, big-endian, then its bytes. For `lpStream`; not a varint, since nothing bounds how long a peer could
 * make one.
 */
export const FRAMING = {
  maxDataLength: MAX_FRAME_BYTES,
  maxLengthLength: 2,
  lengthEncoder: (length: number): Uint8Array => Uint8Array.of(length >>> 8, length & 0xff),
  /** @throws RangeError while less than 2 bytes are here, as `lpStream` wants it */
  lengthDecoder: (bytes: { readonly byteLength: number, get (index: number): number }): number => {
    if (bytes.byteLength < 2) throw new RangeError('more bytes are needed')

    return (bytes.get(0) << 8) | bytes.get(1)
  }
} as const

/** What one side thinks of the other. */
export type Answer = { readonly accepted: true } | { readonly accepted: false, readonly code: string, readonly reason: string }

/** @returns a frame without its length. @throws RangeError where our own credentials are larger than a frame */
export function encodeHello (credentials: Credentials): Uint8Array {
  const bytes = Hello.encode({ version: SEALED_VERSION, chain: [...credentials.chain], attestation: credentials.attestation ?? new Uint8Array() })
  if (bytes.byteLength > MAX_FRAME_BYTES) throw new RangeError(`Own credentials of ${bytes.byteLength} bytes, a frame holds ${MAX_FRAME_BYTES}`)

  return bytes
}

/** @returns HELLO_MALFORMED, HELLO_VERSION, or the credentials as received, not verified */
export function decodeHello (bytes: Uint8Array): Verdict<Credentials> {
  let hello: Hello
  try {
    hello = Hello.decode(bytes, { limits: { chain: MAX_HELLO_CERTIFICATES } })
  } catch {
    return reject('HELLO_MALFORMED', 'a Hello that cannot be read')
  }
  if (hello.version !== SEALED_VERSION) {
    return reject('HELLO_VERSION', `the other side speaks version ${hello.version} of the handshake, this one ${SEALED_VERSION}`)
  }

  return accept({ chain: hello.chain, ...(hello.attestation.byteLength === 0 ? {} : { attestation: hello.attestation }) })
}

/** @returns a frame without its length; a long code or reason is cut */
export function encodeAnswer (answer: Answer): Uint8Array {
  return AnswerMessage.encode(answer.accepted
    ? { accepted: true, code: '', reason: '' }
    : { accepted: false, code: cleanCode(answer.code), reason: cleanReason(answer.reason) })
}

/** @returns ANSWER_MALFORMED, or what the other side thinks: its code and reason stripped of what a terminal would act upon */
export function decodeAnswer (bytes: Uint8Array): Verdict<Answer> {
  try {
    const { accepted, code, reason } = AnswerMessage.decode(bytes)
    return accept(accepted ? { accepted } : { accepted, code: cleanCode(code), reason: cleanReason(reason) })
  } catch {
    return reject('ANSWER_MALFORMED', 'an answer that cannot be read')
  }
}

function cleanCode (code: string): string {
  const clean = code.replace(/[^A-Z0-9_]/g, '').slice(0, MAX_CODE_CHARACTERS)

  return clean === '' ? 'REFUSED' : clean
}

function cleanReason (reason: string): string {
  return reason.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ').slice(0, MAX_REASON_CHARACTERS)
}
