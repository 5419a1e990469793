/** The tables of the README that repeat what the code says, made from the code: a test compares them. */
import { CERTIFICATE_LIFETIME_MS, CLOCK_SKEW_MS, MAX_GRANT_USES } from '../../keys/certificate.ts'
import { DEFAULT_TICKET_TTL_MS, DEFAULT_TICKET_USES } from '../../keys/ticket.ts'
import { MAX_PAYLOAD_BYTES } from '../../protocols/gossip/constants.ts'
import { COMMAND_LIMITS, LEDGER_LIMITS, TASK_LIMITS } from '../../protocols/ledger/constants.ts'
import { DEFAULT_SPLIT_BYTES, DEFAULT_RECORD_BYTES, MAX_SPLIT_BYTES } from '../../src/blocks/import.ts'
import { MAX_BLOCK_BYTES } from '../../src/blocks/store.ts'
import { DEFAULTS } from '../../src/config.ts'
import { ERRORS, EXIT } from '../../src/errors.ts'
import type { ExitClass } from '../../src/errors.ts'
import { defaultLimits } from '../../src/overlay/limits.ts'
import { DEFAULT_CEILING } from '../../src/participant/sandbox/types.ts'

const count = (n: number): string => n.toLocaleString('en')

export function size (bytes: number): string {
  for (const [unit, name] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']] as const) if (bytes >= unit && bytes % unit === 0) return `${count(bytes / unit)} ${name}`
  return `${count(bytes)} bytes`
}

export function time (ms: number): string {
  for (const [unit, one, many] of [[86_400_000, 'day', 'days'], [3_600_000, 'hour', 'hours'], [60_000, 'minute', 'minutes'], [1000, 's', 's']] as const) {
    if (ms >= unit && ms % unit === 0) return `${ms / unit} ${ms === unit ? one : many}`
  }
  return `${ms} ms`
}

const table = (rows: readonly (readonly string[])[]): string => rows.map((cells, at) => `| ${cells.join(' | ')} |\n${at === 0 ? `|${' --- |'.repeat(cells.length)}\n` : ''}`).join('')

export function limitsTable (): string {
  const { timeoutMs, memoryBytes, inputBytes, outputBytes, logBytes } = TASK_LIMITS
  return table([
    ['What', 'Limit', 'Past it'],
    ['one task: wall time', `${time(timeoutMs.default)}; \`--timeout\`, at most ${time(timeoutMs.max)}`, 'killed, `TASK_TIMEOUT`'],
    ['one task: memory', `${size(memoryBytes.default)}; \`--memory\`, at most ${size(DEFAULT_CEILING.memoryBytes)} on one machine`, 'ended, `TASK_MEMORY`'],
    ['one task: input, output, log', `${size(inputBytes.default)}, ${size(outputBytes.default)}, ${size(logBytes.default)}`, '`TASK_DENIED`, `TASK_OUTPUT`; the log is cut'],
    ['one task: attempts that fault', `${COMMAND_LIMITS.defaultMaxAttempts}; \`--attempts\`, at most ${COMMAND_LIMITS.maxAttempts}`, 'the job fails with the last fault'],
    ['tasks at once on a machine', 'cores − 1, at least 1; `--slots`', 'they wait'],
    ['one line of input', size(DEFAULT_RECORD_BYTES), '`INPUT_RECORD_TOO_LONG`'],
    ['one job: splits of its input', `${count(COMMAND_LIMITS.maxInputs)}, of ${size(DEFAULT_SPLIT_BYTES)}; \`--split\`, at most ${size(MAX_SPLIT_BYTES)}`, 'larger splits first, then `INPUT_TOO_LARGE`'],
    ['one job: module, partitions', `${size(COMMAND_LIMITS.maxCodeBytes)}, ${COMMAND_LIMITS.maxPartitions}`, 'refused'],
    ['one job: deadline', `none; \`--deadline\`, at most ${time(COMMAND_LIMITS.maxDeadlineMs)}`, 'the job fails'],
    ['jobs that run at once', count(LEDGER_LIMITS.maxRunningJobs), 'refused: try again'],
    ['ended jobs that are remembered', count(LEDGER_LIMITS.maxEndedJobs), 'the one that ended first is forgotten'],
    ['members, of which vote', `${count(LEDGER_LIMITS.maxMembers)}, up to ${DEFAULTS.raft.targetVoters}`, 'refused; further ones are spare'],
    ['a ticket', `${DEFAULT_TICKET_USES} use, ${time(DEFAULT_TICKET_TTL_MS)}; \`--uses\` up to ${count(MAX_GRANT_USES)}, \`--ttl\` up to ${time(CERTIFICATE_LIFETIME_MS)}`, '`GRANT_USED_UP`, `TICKET_EXPIRED`'],
    ['a certificate', `${time(CERTIFICATE_LIFETIME_MS)}, renewed at half-life; ${time(CLOCK_SKEW_MS)} of clock skew are forgiven`, 'let in for renewal alone'],
    ['block store', size(DEFAULTS.blocks.maxBytes), 'evicts what no remembered job needs, then `BLOCK_STORE_FULL`'],
    ['one block, one gossip message, one frame', `${size(MAX_BLOCK_BYTES)}, ${size(MAX_PAYLOAD_BYTES)}, ${size(defaultLimits.maxFrameBytes)}`, 'not sent; from a peer: refused, its stream reset'],
    ['connections, streams of one', `${count(defaultLimits.maxConnections)}, ${defaultLimits.maxStreamsPerConnection} each way`, 'refused'],
    ['joining; asking for the leader', `${time(DEFAULTS.join.deadlineMs)}; ${time(DEFAULTS.request.deadlineMs)}`, '`JOIN_TIMEOUT`; `NO_QUORUM`']
  ])
}

const MEANINGS: Readonly<Record<ExitClass, string>> = {
  ok: 'done',
  failed: 'it was tried, and failed',
  usage: 'the command line cannot be understood',
  input: 'a job, an input or an output file cannot be used',
  unreachable: 'somebody is not there: no node runs here, no majority, a member is away',
  denied: 'not allowed, or not trusted',
  busy: 'in use, or full',
  internal: 'a bug of ours, or the disk\'s fault',
  interrupted: 'Ctrl+C, SIGTERM or SIGHUP; a job that was watched goes on'
}

/** Two codes of each class: the first of the table in `src/errors.ts`. */
export function exitTable (): string {
  const classes = Object.entries(EXIT) as [ExitClass, number][]
  return table([
    ['Exit', 'Class', 'Meaning', 'For example'],
    ...classes.map(([name, code]) => [String(code), name, MEANINGS[name], Object.entries(ERRORS).filter(([, { exit }]) => exit === name).slice(0, 2).map(([each]) => `\`${each}\``).join(', ')])
  ])
}
