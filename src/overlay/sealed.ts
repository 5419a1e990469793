/**
 * The sealed handshake: Noise with the network's fence as prologue, then credentials and an answer from each side, all before a muxer exists.
 * Whoever does not pass opens no stream, and is told why. Spec: protocols/sealed/README.md.
 */
import { noise } from '@chainsafe/libp2p-noise'
import { serviceCapabilities } from '@libp2p/interface'
import { lpStream } from '@libp2p/utils'
import { peerIdFromPublicKey } from '../../keys/identity.ts'
import { reject } from '../../keys/verdict.ts'
import { decodeAnswer, decodeHello, encodeAnswer, encodeHello, FRAMING } from '../../protocols/sealed/codec.ts'
import {
  EXCHANGE_TIMEOUT_MS, JUDGE_TIMEOUT_MS, LINGER_MS, MAX_FRAME_BYTES, OPENING_TIMEOUT_MS, SEALED_PROTOCOL
} from '../../protocols/sealed/constants.ts'
import { ConclaveError } from '../errors.ts'
import { noiseCrypto } from './noise-crypto.ts'
import { classifyFailure, refusalError } from './sealed-errors.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Credentials } from '../../keys/roster.ts'
import type { Verdict } from '../../keys/verdict.ts'
import type { Answer } from '../../protocols/sealed/codec.ts'
import type { Refusal } from './sealed-errors.ts'
import type { NoiseComponents } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter, MessageStream, PeerId, SecureConnectionOptions, SecuredConnection } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'

/** Unread bytes of the exchange and of the muxer's first words behind it; past it the connection is aborted. */
const MAX_BUFFERED_BYTES = 256 * 1024

export interface SealedTimeouts {
  openingMs: number
  exchangeMs: number
  judgeMs: number
  lingerMs: number
}

export interface SealedInit {
  /** 16 bytes that the members of the network share. */
  readonly fence: Uint8Array
  /** Ours, asked for at each handshake. */
  readonly credentials: () => Credentials
  /**
   * Whether a peer comes in. Called once a handshake, at most 4 s long (then the peer is refused with ADMISSION_TIMEOUT); the signal also
   * aborts when the peer is gone. `ignore` refuses like `reject`, with its code. A ConclaveError that it throws refuses with that code.
   */
  readonly judge: (remote: PeerIdStr, theirs: Credentials, signal: AbortSignal) => Promise<Verdict<unknown>>
  /** Told of each handshake that failed, on either side's account. Must not throw. */
  readonly onRefused?: (refusal: Refusal) => void
  readonly timeouts?: Partial<SealedTimeouts>
}

/**
 * @returns what `connectionEncrypters` of libp2p takes. Its `secureInbound` and `secureOutbound` resolve once both sides have accepted each
 * other, and throw ConclaveError otherwise: with the code of the judge of either side, or one of `sealed-errors.ts`. libp2p keeps only
 * the error's message; `refusalIn` finds the code again
 */
export function sealed (init: SealedInit): (components: NoiseComponents) => ConnectionEncrypter {
  return components => {
    const inner = noise({ prologueBytes: init.fence, crypto: noiseCrypto })(components)
    const secure = async (direction: Refusal['direction'], connection: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> => {
      return await secureOne(init, direction, connection, options, async signal => {
        const noiseOptions = { ...options, signal }
        return direction === 'inbound' ? await inner.secureInbound(connection, noiseOptions) : await inner.secureOutbound(connection, noiseOptions)
      })
    }

    return {
      protocol: SEALED_PROTOCOL,
      secureInbound: async (connection, options) => await secure('inbound', connection, options),
      secureOutbound: async (connection, options) => await secure('outbound', connection, options),
      ...{ [serviceCapabilities]: ['@libp2p/connection-encryption'] }
    }
  }
}

async function secureOne (init: SealedInit, direction: Refusal['direction'], connection: MessageStream, options: SecureConnectionOptions,
  runNoise: (signal: AbortSignal) => Promise<SecuredConnection>): Promise<SecuredConnection> {
  const timeouts = { openingMs: OPENING_TIMEOUT_MS, exchangeMs: EXCHANGE_TIMEOUT_MS, judgeMs: JUDGE_TIMEOUT_MS, lingerMs: LINGER_MS, ...init.timeouts }
  const outer = options.signal === undefined ? [] : [options.signal]
  const opening = AbortSignal.any([AbortSignal.timeout(timeouts.openingMs), ...outer])
  const addr = addrOf(connection)
  let remote: PeerIdStr | undefined

  try {
    const secured = await runNoise(opening)
    remote = peerIdOf(secured.remotePeer)
    const whole = AbortSignal.any([AbortSignal.timeout(timeouts.exchangeMs), ...outer])
    await exchange(init, secured.connection, remote, { timeouts, opening, whole })

    return secured
  } catch (error) {
    const refusal: Refusal = {
      ...classifyFailure(error, direction),
      direction,
      ...(remote === undefined ? {} : { remote }),
      ...(addr === undefined ? {} : { addr })
    }
    init.onRefused?.(refusal)
    throw refusalError(refusal, error)
  }
}

interface Deadlines {
  readonly timeouts: SealedTimeouts
  readonly opening: AbortSignal
  readonly whole: AbortSignal
}

/** A handshake that ended with a stated answer; `secureOne` turns it into the caller's error. */
class RefusedAnswer extends Error {
  readonly by: 'us' | 'them'
  readonly code: string
  readonly reason: string

  constructor (by: 'us' | 'them', { code, reason }: { code: string, reason: string }, cause?: unknown) {
    super(reason, { cause })
    this.name = 'RefusedAnswer'
    this.by = by
    this.code = code
    this.reason = reason
  }
}

/** Resolves once both sides have accepted; the stream is then as if nobody had read from it. */
async function exchange (init: SealedInit, connection: MessageStream, remote: PeerIdStr, deadlines: Deadlines): Promise<void> {
  const frames = lpStream(connection, { ...FRAMING, maxBufferSize: MAX_BUFFERED_BYTES })
  await frames.write(encodeHello(init.credentials()), { signal: deadlines.whole })
  const hello = await readHello(frames, deadlines.opening)

  // read on while the judge thinks: a refusal or a closed connection ends its work
  const gone = new AbortController()
  const answered = readAnswer(frames, deadlines.whole).then(
    answer => {
      if (!answer.accepted) gone.abort()
      return { answer }
    },
    (error: unknown) => {
      gone.abort()
      return { error }
    }
  )

  const judged = hello.verdict === 'accept'
    ? await askJudge(init, remote, hello.value, AbortSignal.any([gone.signal, deadlines.whole]), deadlines.timeouts.judgeMs)
    : { answer: refuse(hello) }
  if (!gone.signal.aborted) await frames.write(encodeAnswer(judged.answer), { signal: deadlines.whole })
  if (!gone.signal.aborted && !judged.answer.accepted) {
    await lingerAndClose(connection, deadlines.timeouts.lingerMs)
    throw new RefusedAnswer('us', judged.answer, judged.cause)
  }

  const theirs = await answered
  if ('error' in theirs) throw theirs.error
  if (!theirs.answer.accepted) {
    await closeQuietly(connection, deadlines.timeouts.lingerMs)
    throw new RefusedAnswer('them', theirs.answer)
  }
  // what was read beyond the answer goes back, for the muxer
  frames.unwrap()
}

async function readHello (frames: LengthPrefixedStream, signal: AbortSignal): Promise<Verdict<Credentials>> {
  try {
    const bytes = await frames.read({ signal })
    return decodeHello(bytes.subarray())
  } catch (error) {
    const name = error instanceof Error ? error.name : ''
    if (name === 'InvalidDataLengthError') return reject('HELLO_TOO_LARGE', `a Hello of more than ${MAX_FRAME_BYTES} bytes`)
    if (signal.aborted) return reject('HANDSHAKE_TIMEOUT', 'no Hello came in time')
    throw error
  }
}

async function readAnswer (frames: LengthPrefixedStream, signal: AbortSignal): Promise<Answer> {
  const bytes = await frames.read({ signal })
  const answer = decodeAnswer(bytes.subarray())
  if (answer.verdict !== 'accept') throw new RefusedAnswer('us', answer)

  return answer.value
}

async function askJudge (init: SealedInit, remote: PeerIdStr, theirs: Credentials, whole: AbortSignal, judgeMs: number): Promise<{ answer: Answer, cause?: unknown }> {
  const late = AbortSignal.timeout(judgeMs)
  const signal = AbortSignal.any([whole, late])
  try {
    const verdict = await orAborted(init.judge(remote, theirs, signal), signal)
    return { answer: verdict.verdict === 'accept' ? { accepted: true } : refuse(verdict) }
  } catch (cause) {
    if (signal.aborted) return { answer: refuse({ code: 'ADMISSION_TIMEOUT', reason: 'the network did not decide in time whether to admit this peer' }), cause }
    const { code, message } = codeOf(cause)
    return { answer: refuse({ code, reason: message }), cause }
  }
}

/** A stranger learns no more of a fault of ours than that there was one. */
function codeOf (error: unknown): { code: string, message: string } {
  return error instanceof ConclaveError
    ? { code: error.code, message: error.message }
    : { code: 'JUDGE_FAILED', message: 'the other side could not decide because of a fault of its own' }
}

function refuse ({ code, reason }: { code: string, reason: string }): Answer & { accepted: false } {
  return { accepted: false, code, reason }
}

async function orAborted<T> (promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => { aborted.reject(signal.reason) }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** The refused side closes once it has read the refusal; a reset before that would take the reason away from it. */
async function lingerAndClose (connection: MessageStream, lingerMs: number): Promise<void> {
  if (connection.status === 'open') {
    const closed = Promise.withResolvers<void>()
    const timer = setTimeout(closed.resolve, lingerMs)
    connection.addEventListener('close', () => { closed.resolve() }, { once: true })
    await closed.promise
    clearTimeout(timer)
  }
  await closeQuietly(connection, lingerMs)
}

async function closeQuietly (connection: MessageStream, limitMs: number): Promise<void> {
  try {
    await connection.close({ signal: AbortSignal.timeout(limitMs) })
  } catch (error) {
    connection.abort(error instanceof Error ? error : new Error(String(error)))
  }
}

function peerIdOf (peer: PeerId): PeerIdStr {
  if (peer.type !== 'Ed25519') throw new RefusedAnswer('us', { code: 'PEER_KEY_TYPE', reason: 'only Ed25519 identities are members' })

  return peerIdFromPublicKey(peer.publicKey.raw)
}

function addrOf (connection: MessageStream): string | undefined {
  return 'remoteAddr' in connection ? String(connection.remoteAddr) : undefined
}
