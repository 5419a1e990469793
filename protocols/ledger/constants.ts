/**
 * What may stand in the ledger: the domains its statements are signed under and every limit of its commands.
 * Spec: README.md beside this file.
 */

/** Signing domains: a statement signed for one purpose verifies for no other. */
export const STATEMENT_DOMAINS = {
  jobSpec: 'job',
  receipts: 'receipts',
  cancel: 'cancel',
  revocation: 'revocation'
} as const

/** Limits of one command. A command beyond them is refused before it is proposed and has no effect if it is committed nevertheless. */
export const COMMAND_LIMITS = {
  /** one encoded command, bytes; the Raft log takes entries of at least this size */
  maxCommandBytes: 1_250_000,
  maxSpecBytes: 1_048_576,
  maxInputs: 4_096,
  maxPartitions: 256,
  /** inputs × partitions of a shuffle: each is an output that the ledger remembers while the job runs */
  maxShuffleOutputs: 262_144,
  maxStages: 2,
  maxNameChars: 128,
  maxSourceChars: 512,
  maxHolders: 8,
  maxCodeBytes: 1_048_576,
  maxInputBytes: 64 * 1_048_576,
  /** faults of its own that a task may be allowed */
  maxAttempts: 10,
  defaultMaxAttempts: 3,
  maxDeadlineMs: 30 * 86_400_000,
  nonceBytes: 16,
  maxReceipts: 256,
  maxAssignments: 256,
  maxReleases: 256,
  maxMissing: 256,
  maxFaultMessageChars: 2_048,
  maxReasonChars: 4_096,
  maxChainLength: 6,
  maxLeaseMs: 86_400_000
} as const

/** Ranges of a job's limits per task, and what 0 in the spec stands for. */
export const TASK_LIMITS = {
  timeoutMs: { min: 10, max: 3_600_000, default: 30_000 },
  memoryBytes: { min: 8 * 1_048_576, max: 1_073_741_824, default: 128 * 1_048_576 },
  inputBytes: { min: 1, max: 64 * 1_048_576, default: 16 * 1_048_576 },
  outputBytes: { min: 1, max: 64 * 1_048_576, default: 16 * 1_048_576 },
  logBytes: { min: 1, max: 1_048_576, default: 65_536 }
} as const

/** Limits of the whole ledger. */
export const LEDGER_LIMITS = {
  maxMembers: 1_024,
  maxGrants: 4_096,
  maxRevoked: 4_096,
  maxRunningJobs: 64,
  /** signed specs of all running jobs, bytes */
  maxRunningBytes: 32 * 1_048_576,
  /** shuffle outputs of all running jobs */
  maxRunningOutputs: 2 * 262_144,
  /** ended jobs that are remembered; the one that ended first is forgotten first */
  maxEndedJobs: 256,
  /** signed specs and receipts of ended jobs, bytes; beyond it the oldest are forgotten earlier */
  maxEndedBytes: 64 * 1_048_576,
  /** attempts of one task, whatever ended them */
  maxTaskAttempts: 100,
  /** times that one task may be put back because a block was lost; of a whole job: this per task, see `maxLosses` in src/ledger/task.ts */
  maxTaskLosses: 16,
  /** participants remembered as unlucky with a task */
  maxAvoid: 8,
  /** how far a job spec's date may lie in the future, and in the past, of the leader's clock when it is submitted */
  maxFutureMs: 5 * 60_000,
  maxSpecAgeMs: 86_400_000
} as const

/** Fault codes that count against a task's `maxAttempts`; `missing` does not, it is the data's fault. */
export const FAULT_CODES = ['timeout', 'memory', 'output', 'throw', 'denied', 'crash', 'code', 'missing'] as const
export type FaultCode = typeof FAULT_CODES[number]

export const RELEASE_REASONS = ['gone', 'lease', 'drain'] as const
export type ReleaseReason = typeof RELEASE_REASONS[number]
