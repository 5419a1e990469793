/** Defaults of consensus, in one place, and what must hold between them. */
import { ConclaveError } from '../../keys/conclave-error.ts'
import { MAX_FRAME_BYTES } from './codec.ts'
import type { ConsensusLimits, ConsensusTiming } from './consensus.ts'

const KiB = 1024
const MiB = 1024 * KiB

export const DEFAULT_TIMING: ConsensusTiming = { tickMs: 50, electionTicks: 10, heartbeatTicks: 2 }

export const DEFAULT_LIMITS: ConsensusLimits = {
  maxEntryBytes: 512 * KiB,
  maxAppendBytes: 256 * KiB,
  maxInflightMessages: 64,
  maxInflightBytes: 4 * MiB,
  maxUncommittedBytes: 16 * MiB,
  maxPendingProposals: 4096,
  maxInboxBytes: 32 * MiB,
  maxSnapshotBytes: 64 * MiB,
  snapshotTimeoutMs: 60_000,
  maxSnapshotSends: 2,
  snapshotEntries: 10_000,
  snapshotBytes: 16 * MiB,
  trailingEntries: 1000,
  segmentBytes: 16 * MiB,
  maxStaggerMs: 100
}

/** @throws CONSENSUS_CONFIG where a number makes no sense */
export function settle (timing: Partial<ConsensusTiming> = {}, limits: Partial<ConsensusLimits> = {}): { timing: ConsensusTiming, limits: ConsensusLimits } {
  const settled = { timing: { ...DEFAULT_TIMING, ...timing }, limits: { ...DEFAULT_LIMITS, ...limits } }
  for (const [name, value] of [...Object.entries(settled.timing), ...Object.entries(settled.limits)]) {
    const least = name === 'maxStaggerMs' || name === 'trailingEntries' ? 0 : 1
    if (!Number.isSafeInteger(value) || value < least) throw wrong(`${name} is ${value}; it must be a whole number of at least ${least}`)
  }
  const { maxEntryBytes, maxAppendBytes, maxInboxBytes } = settled.limits
  if (Math.max(maxEntryBytes, maxAppendBytes) > MAX_FRAME_BYTES / 2) throw wrong(`maxEntryBytes and maxAppendBytes are at most ${MAX_FRAME_BYTES / 2}`)
  if (maxInboxBytes < MAX_FRAME_BYTES) throw wrong(`maxInboxBytes is at least one frame, ${MAX_FRAME_BYTES}`)
  if (settled.timing.electionTicks < 3 * settled.timing.heartbeatTicks) throw wrong('electionTicks is at least 3 × heartbeatTicks')
  return settled
}

const wrong = (reason: string): ConclaveError => new ConclaveError('CONSENSUS_CONFIG', reason, { next: 'Correct the configuration.' })
