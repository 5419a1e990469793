/**
 * Requests that only the leader can answer, brought to whoever leads now: handled here when this node leads, sent to the leader
 * where it is known, else to any member, which passes it on once.
 *
 * Every request of these services is idempotent (a job is named by the hash of its signed spec, a receipt by its attempt, an
 * admission by the peer), so a try whose outcome is unknown is simply made again.
 */
import { ConclaveError } from '../errors.ts'
import type { NodeConfig } from '../config.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { MessageKind } from '../../protocols/policy.ts'
import type { PeerIdStr } from '../../keys/ids.ts'

export interface LeaderService {
  readonly protocol: string
  readonly kind: MessageKind
  /** Called on the leader only. */
  handle (request: Uint8Array, ctx: { from: PeerIdStr, signal: AbortSignal }): Promise<Uint8Array>
  /** Called on every other node first: a reply that needs no leader, or undefined. */
  answer? (request: Uint8Array, ctx: { from: PeerIdStr, signal: AbortSignal }): Promise<Uint8Array> | undefined
  /** The request with one hop more, or undefined where it may not be passed on (again). Throws on bytes that do not decode. */
  forward (request: Uint8Array): Uint8Array | undefined
}

export interface RouteInit {
  overlay: Overlay
  config: NodeConfig['request']
  isLeading: () => boolean
  /** '' where nobody is known to lead */
  leader: () => PeerIdStr | ''
  /** peers that may lead, best first */
  voters: () => readonly string[]
}

/** Codes after which the same request may succeed elsewhere or later; every other code is the leader's answer. */
const RETRYABLE: ReadonlySet<string> = new Set([
  'NOT_LEADER', 'NO_LEADER', 'LEADERSHIP_LOST', 'PROPOSAL_DROPPED', 'BUSY', 'STOPPED',
  'PEER_UNREACHABLE', 'PROTOCOL_UNSUPPORTED', 'REQUEST_TIMEOUT', 'STREAM_CLOSED', 'NODE_STOPPED'
])

export interface Route {
  /** Answer this service's requests from other members. */
  serve (service: LeaderService): Promise<void>
  /**
   * @returns the leader's reply
   * @throws NO_QUORUM when no leader answered before the deadline; the leader's own error code otherwise; the signal's reason
   */
  call (service: LeaderService, request: Uint8Array, options?: { signal?: AbortSignal, deadlineMs?: number }): Promise<Uint8Array>
}

export function createRoute (init: RouteInit): Route {
  const { overlay, config } = init

  /** Where to send next: the leader, then voters and other connected peers in turn. */
  function target (attempt: number): PeerIdStr | undefined {
    const leader = init.leader()
    if (leader !== '' && leader !== overlay.peerId && overlay.isConnected(leader)) return leader
    const connected = overlay.peers().map((peer) => peer.peerId)
    const voters = connected.filter((peer) => init.voters().includes(peer))
    const candidates = voters.length > 0 ? voters : connected
    return candidates[attempt % Math.max(1, candidates.length)]
  }

  async function once (service: LeaderService, request: Uint8Array, attempt: number, signal: AbortSignal): Promise<Uint8Array> {
    if (init.isLeading()) return await service.handle(request, { from: overlay.peerId, signal })
    const peer = target(attempt)
    if (peer === undefined) throw new ConclaveError('PEER_UNREACHABLE', 'no member is connected')
    return await overlay.request(peer, service.protocol, request, { signal, timeoutMs: config.timeoutMs })
  }

  return {
    async serve (service) {
      await overlay.handle(service.protocol, service.kind, async (request, ctx) => {
        const answer = service.answer?.(request, ctx)
        if (answer !== undefined) return await answer
        if (init.isLeading()) return await service.handle(request, ctx)
        const leader = init.leader()
        const onward = service.forward(request)
        if (onward === undefined || leader === '' || leader === overlay.peerId || leader === ctx.from || !overlay.isConnected(leader)) {
          throw new ConclaveError(leader === '' ? 'NO_LEADER' : 'NOT_LEADER', 'this member does not lead', { details: { leader } })
        }
        return await overlay.request(leader, service.protocol, onward, { signal: ctx.signal, timeoutMs: config.timeoutMs })
      })
    },

    async call (service, request, options = {}) {
      const deadline = AbortSignal.timeout(options.deadlineMs ?? config.deadlineMs)
      const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline])
      let pauseMs = config.retryMs
      let last: unknown
      for (let attempt = 0; ; attempt++) {
        try {
          return await once(service, request, attempt, signal)
        } catch (error) {
          options.signal?.throwIfAborted()
          if (!deadline.aborted && !(error instanceof ConclaveError && RETRYABLE.has(error.code))) throw error
          if (!deadline.aborted) last = error
        }
        if (!deadline.aborted) await pause(pauseMs, signal)
        options.signal?.throwIfAborted()
        if (deadline.aborted) {
          throw new ConclaveError('NO_QUORUM', 'no leader answered: a majority of the voters must be up and connected', { next: 'conclave peers', cause: last })
        }
        pauseMs = Math.min(pauseMs * 2, config.maxRetryMs)
      }
    }
  }
}

/** Resolves after `ms` milliseconds or when the signal aborts, whichever is first. */
export async function pause (ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const done = (): void => { clearTimeout(timer); signal.removeEventListener('abort', done); resolve() }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
