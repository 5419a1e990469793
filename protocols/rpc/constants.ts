/**
 * Limits of request/response protocols. Spec: README.md beside this file.
 */

export interface RpcLimits {
  /** one framed Request or Reply; past it: REQUEST_TOO_LARGE or REPLY_TOO_LARGE where it is made, a reset where it arrives */
  maxFrameBytes: number
  /** requests on the wire per stream; the requester holds the next ones back, the answerer stops reading */
  maxInFlight: number
}

const MiB = 1024 * 1024

/** What a Request or Reply adds to its body, at most. */
export const RPC_OVERHEAD_BYTES = 64

/** Liveness: an empty request, answered by an empty reply. Its kind is `member`. */
export const PING_PROTOCOL = '/conclave/ping/1'

const DEFAULT_LIMITS: RpcLimits = { maxFrameBytes: 2 * MiB, maxInFlight: 128 }

const LIMITS: Readonly<Record<string, RpcLimits>> = {
  // ranges of the ledger are the largest replies, and the fewest
  '/conclave/ledger/1': { maxFrameBytes: 4 * MiB, maxInFlight: 8 },
  [PING_PROTOCOL]: { maxFrameBytes: RPC_OVERHEAD_BYTES, maxInFlight: 4 }
}

/** The limits that both ends of a protocol keep. */
export function rpcLimits (protocol: string): RpcLimits {
  return LIMITS[protocol] ?? DEFAULT_LIMITS
}

/** Longest wait that an answerer believes a requester; past it the handler's signal aborts at this time. */
export const MAX_RPC_TIMEOUT_MS = 10 * 60_000

/** What of an error crosses the wire, in characters; longer texts are cut, larger details left out. */
export const FAILURE_LIMITS = { code: 64, message: 2_048, next: 512, details: 8_192 } as const
