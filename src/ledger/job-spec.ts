/**
 * The job spec: its codec and every limit on what a submitter may ask for. The submitter checks with the same function before it
 * signs, so that a mistake is told before anything travels.
 */
import { COMMAND_LIMITS as LIMITS, TASK_LIMITS } from '../../protocols/ledger/constants.ts'
import { JobSpec as JobSpecMessage } from '../../protocols/ledger/messages.js'
import { accept, reject, type Verdict } from '../../keys/verdict.ts'
import { cidBytes, cidText } from './cid.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { JobInput, JobSpec, StageSpec, TaskLimits } from './state.ts'

/** A peer id's text is at most this long: longer ones are no Ed25519 ids. */
const MAX_PEER_ID_CHARS = 64

/** The payload that the submitter signs (domain STATEMENT_DOMAINS.jobSpec). */
export function encodeJobSpec (spec: JobSpec): Uint8Array<ArrayBuffer> {
  return JobSpecMessage.encode({
    network: spec.network,
    submitter: spec.submitter,
    nonce: new Uint8Array(spec.nonce),
    createdAtMs: spec.createdAtMs,
    name: spec.name,
    code: cidBytes(spec.code.cid),
    codeBytes: spec.code.bytes,
    codeHolders: [...spec.code.holders],
    inputs: spec.inputs.map((input) => ({ ...input, cid: cidBytes(input.cid), holders: [...input.holders] })),
    stages: spec.stages.map((stage) => ({ ...stage })),
    limits: { ...spec.limits },
    maxAttempts: spec.maxAttempts,
    deadlineMs: spec.deadlineMs,
    encoding: spec.encoding
  })
}

/**
 * Read a spec and hold it against every limit; 0 for a limit or for `maxAttempts` means its default.
 *
 * @returns the spec, or `reject` with SPEC_UNDECODABLE, SPEC_INVALID, SPEC_TOO_LARGE
 */
export function decodeJobSpec (payload: Uint8Array): Verdict<JobSpec> {
  if (payload.byteLength > LIMITS.maxSpecBytes) return reject('SPEC_TOO_LARGE', `the job spec has ${payload.byteLength} bytes; at most ${LIMITS.maxSpecBytes} are taken`)
  let message: JobSpecMessage
  try {
    message = JobSpecMessage.decode(payload, {
      limits: { inputs: LIMITS.maxInputs, stages: LIMITS.maxStages, codeHolders: LIMITS.maxHolders, inputs$: { holders: LIMITS.maxHolders } }
    })
  } catch (error) {
    return reject('SPEC_UNDECODABLE', `the job spec does not decode: ${error instanceof Error ? error.message : 'unknown'}`)
  }
  return readSpec(message)
}

function readSpec (message: JobSpecMessage): Verdict<JobSpec> {
  const bad = (reason: string): Verdict<never> => reject('SPEC_INVALID', reason)
  if (message.nonce.length !== LIMITS.nonceBytes) return bad(`the nonce must have ${LIMITS.nonceBytes} bytes`)
  if (!isCount(message.createdAtMs) || !isCount(message.deadlineMs) || message.deadlineMs > LIMITS.maxDeadlineMs) return bad('a date or the deadline is out of range')
  if (message.name.length > LIMITS.maxNameChars) return bad(`the name has more than ${LIMITS.maxNameChars} characters`)
  const code = cidText(message.code)
  if (code === undefined) return bad('the code is not named by a CID (v1, sha2-256)')
  if (message.codeBytes === 0 || message.codeBytes > LIMITS.maxCodeBytes) return bad(`the code must have 1 to ${LIMITS.maxCodeBytes} bytes`)
  if (message.encoding !== 'utf8' && message.encoding !== 'latin1') return bad('the encoding must be utf8 or latin1')
  const maxAttempts = message.maxAttempts === 0 ? LIMITS.defaultMaxAttempts : message.maxAttempts
  if (maxAttempts > LIMITS.maxAttempts) return bad(`at most ${LIMITS.maxAttempts} attempts are made`)
  const limits = readLimits(message.limits)
  if (typeof limits === 'string') return bad(limits)
  const stages = readStages(message.stages, message.inputs.length)
  if (typeof stages === 'string') return bad(stages)
  const inputs: JobInput[] = []
  for (const [n, input] of message.inputs.entries()) {
    const read = readInput(input, limits)
    if (typeof read === 'string') return bad(`input ${n}: ${read}`)
    inputs.push(read)
  }
  const codeHolders = readHolders(message.codeHolders)
  if (codeHolders === undefined) return bad('the holders of the code are not peer ids')
  return accept({
    network: message.network as NetworkId,
    submitter: message.submitter as PeerIdStr,
    nonce: message.nonce,
    createdAtMs: message.createdAtMs,
    name: message.name,
    code: { cid: code, bytes: message.codeBytes, holders: codeHolders },
    inputs,
    stages,
    limits,
    maxAttempts,
    deadlineMs: message.deadlineMs,
    encoding: message.encoding
  })
}

/** [map] or [map, reduce]: every stage but the last writes partitions, each a task of the next. */
function readStages (stages: JobSpecMessage['stages'], inputs: number): StageSpec[] | string {
  if (stages.length === 0 || stages.length > LIMITS.maxStages) return `a job has 1 to ${LIMITS.maxStages} stages`
  const read: StageSpec[] = []
  for (const [n, { kind, clean, combine, partitions }] of stages.entries()) {
    const isLast = n === stages.length - 1
    if (kind !== (n === 0 ? 'map' : 'reduce')) return 'the stages must be map, or map and reduce'
    if (isLast ? partitions !== 0 : partitions < 1 || partitions > LIMITS.maxPartitions) return `stage ${n}: ${isLast ? 'the last stage writes no partitions' : `1 to ${LIMITS.maxPartitions} partitions are possible`}`
    if (inputs * partitions > LIMITS.maxShuffleOutputs) return `${inputs} inputs in ${partitions} partitions: at most ${LIMITS.maxShuffleOutputs} outputs can be shuffled; use larger splits or fewer partitions`
    read.push({ kind, clean, combine, partitions })
  }
  return read
}

function readLimits (message: JobSpecMessage['limits']): TaskLimits | string {
  const read = { timeoutMs: 0, memoryBytes: 0, inputBytes: 0, outputBytes: 0, logBytes: 0 }
  for (const name of Object.keys(read) as Array<keyof typeof read>) {
    const range = TASK_LIMITS[name]
    const asked = message?.[name] ?? 0
    const value = asked === 0 ? range.default : asked
    if (value < range.min || value > range.max) return `${name} must be ${range.min} to ${range.max}`
    read[name] = value
  }
  return read
}

function readInput (input: JobSpecMessage['inputs'][number], limits: TaskLimits): JobInput | string {
  const cid = cidText(input.cid)
  if (cid === undefined) return 'not named by a CID (v1, sha2-256)'
  if (input.bytes > limits.inputBytes) return `${input.bytes} bytes; the job's limit for one task is ${limits.inputBytes}`
  if (input.source.length > LIMITS.maxSourceChars) return `its source's name has more than ${LIMITS.maxSourceChars} characters`
  if (!isCount(input.firstRecord)) return 'the number of its first record is out of range'
  const holders = readHolders(input.holders)
  if (holders === undefined) return 'its holders are not peer ids'
  return { cid, bytes: input.bytes, records: input.records, holders, source: input.source, firstRecord: input.firstRecord }
}

/** The list as peer ids, or undefined where one is too long to be any or they are too many. */
export function readHolders (holders: readonly string[]): readonly PeerIdStr[] | undefined {
  if (holders.length > LIMITS.maxHolders) return undefined
  return holders.every((holder) => holder.length > 0 && holder.length <= MAX_PEER_ID_CHARS) ? holders as PeerIdStr[] : undefined
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
