/**
 * What a failed handshake is called, and how its code survives libp2p, which keeps nothing of an encrypter's error but its message.
 */
import { ConclaveError } from '../errors.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

/** A handshake that did not end in a connection. */
export interface Refusal {
  readonly code: string
  readonly reason: string
  /** Whose decision it was; `neither`: the connection failed, or it was never understood. */
  readonly by: 'us' | 'them' | 'neither'
  readonly direction: 'inbound' | 'outbound'
  /** Absent where Noise did not come to an end. */
  readonly remote?: PeerIdStr
  /** Multiaddr of the other side's socket. */
  readonly addr?: string
}

const NEXT: Readonly<Record<string, string>> = {
  FENCE_MISMATCH: 'Check that the ticket or address is of this network.',
  PEER_MISMATCH: 'Check the address: another node uses it now.',
  HANDSHAKE_TIMEOUT: 'Check that a node of this network listens there, and try again.',
  REVOKED: 'Ask for a new ticket and join with a new identity.'
}

/**
 * @param error - whatever ended the handshake
 * @param direction - who dialled
 * @returns code and words for it: as answered, where one side answered; else FENCE_MISMATCH, PEER_MISMATCH, HANDSHAKE_TIMEOUT,
 * HANDSHAKE_CLOSED or HANDSHAKE_FAILED
 */
export function classifyFailure (error: unknown, direction: Refusal['direction']): Pick<Refusal, 'code' | 'reason' | 'by'> {
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  if (isAnswer(error)) return { code: error.code, reason: error.reason, by: error.by }

  switch (kindOf(error) ?? name) {
    case 'InvalidCryptoExchangeError':
      // the fence is mixed in before the first encrypted bytes, which the dialler reads
      return direction === 'outbound'
        ? { code: 'FENCE_MISMATCH', reason: 'the node at this address belongs to another network', by: 'neither' }
        : { code: 'HANDSHAKE_FAILED', reason: `the handshake does not verify (${message})`, by: 'neither' }
    case 'UnexpectedPeerError':
      return { code: 'PEER_MISMATCH', reason: 'another node than the expected one answers at this address', by: 'neither' }
    case 'AbortError':
    case 'TimeoutError':
      return { code: 'HANDSHAKE_TIMEOUT', reason: 'the other side did not finish the handshake in time', by: 'neither' }
    case 'UnexpectedEOFError':
    case 'StreamResetError':
    case 'StreamClosedError':
    case 'StreamStateError':
    case 'StreamBufferError':
    case 'ConnectionReset':
      return { code: 'HANDSHAKE_CLOSED', reason: 'the other side left during the handshake; it may belong to another network', by: 'neither' }
    default:
      return { code: 'HANDSHAKE_FAILED', reason: `the handshake failed (${message})`, by: 'neither' }
  }
}

/** @returns the error for libp2p: its message ends with the code in parentheses */
export function refusalError (refusal: Refusal, cause: unknown): ConclaveError {
  const who = refusal.by === 'us' ? 'This node refused the peer' : refusal.by === 'them' ? 'The peer refused this node' : 'No connection'
  const { remote, addr, direction, by } = refusal

  return new ConclaveError(refusal.code, `${who}: ${refusal.reason} (${refusal.code})`, {
    next: NEXT[refusal.code], cause, details: { by, direction, ...(remote === undefined ? {} : { peer: remote }), ...(addr === undefined ? {} : { addr }) }
  })
}

/**
 * @param error - as thrown by libp2p's `dial`
 * @returns the handshake's refusal in it, with its code; undefined where the dial failed for another reason. Of several addresses the first
 * that was refused
 */
export function refusalIn (error: unknown): ConclaveError | undefined {
  if (error instanceof ConclaveError) return error
  if (!(error instanceof Error)) return undefined
  if (error instanceof AggregateError) return error.errors.map(refusalIn).find(found => found !== undefined)

  const code = error.name === 'EncryptionFailedError' ? /^(?:This node refused|The peer refused|No connection).* \(([A-Z0-9_]+)\)$/s.exec(error.message)?.[1] : undefined
  if (code !== undefined) return new ConclaveError(code, error.message, { next: NEXT[code], cause: error })

  return refusalIn(error.cause)
}

/** Of errors that have a code and no name: noise's own, and the socket's. */
function kindOf (error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined

  return code === 'ERR_INVALID_CRYPTO_EXCHANGE' ? 'InvalidCryptoExchangeError'
    : code === 'ECONNRESET' || code === 'EPIPE' ? 'ConnectionReset' : undefined
}

function isAnswer (error: unknown): error is Error & Pick<Refusal, 'code' | 'reason' | 'by'> {
  return error instanceof Error && error.name === 'RefusedAnswer'
}
