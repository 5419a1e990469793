/**
 * The ledger as bytes and back: deterministic dag-cbor, so that equal ledgers have equal bytes (and equal hashes) on every node.
 * Lists keep the order of the Maps and Sets; derived sums and decoded specs are left out and computed again.
 * Source: https://ipld.io/specs/codecs/dag-cbor/spec/
 */
import { decode as decodeCbor, encode as encodeCbor } from '@ipld/dag-cbor'
import { ConclaveError } from '../../keys/conclave-error.ts'
import { createStages, outputsOf } from './jobs.ts'
import { decodeJobSpec } from './job-spec.ts'
import { NO_HISTORY, createLedger, type Counters, type EndedJob, type Grant, type JobFault, type JobId, type JobSpec, type Ledger, type LedgerStats, type Member, type Result, type RunningJob, type Signed, type Stage, type Task, type TaskHistory, type TaskOutput } from './state.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'

/** Raised when the format changes; a node refuses what it does not know instead of guessing. */
const FORMAT = 1

type OutputRow = [partition: number, cid: string, bytes: number, records: number, holders: PeerIdStr[]]
type HistoryRow = [faults: number, losses: number, avoid: PeerIdStr[]]
/** pending: p; assigned: a; done: d. The last two hold what the state carries. */
type TaskRow = ['p' | 'a' | 'd', attempt: number, history: HistoryRow | null, participantOrWaiting: string, rest: number | OutputRow[], since: number]
type ResultRow = [task: number, attempt: number, participant: PeerIdStr, index: number, ordinal: number, outputs: OutputRow[]]
type SignedRow = [payload: Uint8Array, signer: string, signature: Uint8Array]

interface JobRow {
  id: JobId
  signed: SignedRow
  submittedAt: number
  results: ResultRow[]
  counters: Counters
  doneBy: Array<[PeerIdStr, number]>
}
interface RunningRow extends JobRow { losses: number, stages: Array<{ tasks: TaskRow[], pending: number[] }> }
interface EndedRow extends JobRow { status: EndedJob['status'], endedAt: number, done: number[], code: string, reason: string, fault: JobFault | null }

interface Snapshot {
  format: number
  network: NetworkId
  index: number
  term: number
  members: Array<[PeerIdStr, { capabilities: Member['capabilities'], notAfterMs: number, grantId: string | null, chain: readonly Uint8Array[], admittedAt: number }]>
  grants: Array<[string, Grant]>
  revoked: PeerIdStr[]
  running: RunningRow[]
  ended: EndedRow[]
  batches: Array<[number, SignedRow, number]>
  stats: LedgerStats
  forgottenUpTo: number
}

/** The whole ledger; a fresh buffer. */
export function encodeLedger (ledger: Ledger): Uint8Array {
  const snapshot: Snapshot = {
    format: FORMAT,
    network: ledger.network,
    index: ledger.index,
    term: ledger.term,
    members: [...ledger.members].map(([peer, { capabilities, notAfterMs, grantId, chain, admittedAt }]) => [peer, { capabilities, notAfterMs, grantId: grantId ?? null, chain, admittedAt }]),
    grants: [...ledger.grants],
    revoked: [...ledger.revoked],
    running: [...ledger.running.values()].map(runningRow),
    ended: [...ledger.ended.values()].map(endedRow),
    batches: [...ledger.batches].map(([index, { signed, results }]) => [index, signedRow(signed), results]),
    stats: ledger.stats,
    forgottenUpTo: ledger.forgottenUpTo
  }
  return encodeCbor(snapshot)
}

const signedRow = ({ payload, signer, signature }: Signed): SignedRow => [payload, signer, signature]
const outputRow = (output: TaskOutput): OutputRow => [output.partition, output.cid, output.bytes, output.records, [...output.holders]]
const historyRow = (history: TaskHistory): HistoryRow | null => history === NO_HISTORY ? null : [history.faults, history.losses, [...history.avoid]]

function taskRow (task: Task): TaskRow {
  const history = historyRow(task.history)
  switch (task.state) {
    case 'pending': return ['p', task.attempt, history, task.waiting ?? '', 0, 0]
    case 'assigned': return ['a', task.attempt, history, task.participant, task.leaseMs, task.since]
    case 'done': return ['d', task.attempt, history, task.participant, task.outputs.map(outputRow), task.since]
  }
}

function jobRow (job: RunningJob | EndedJob): JobRow {
  return {
    id: job.id,
    signed: signedRow(job.signed),
    submittedAt: job.submittedAt,
    results: job.results.map(({ task, attempt, participant, position, outputs }) => [task, attempt, participant, position.index, position.ordinal, outputs.map(outputRow)]),
    counters: job.counters,
    doneBy: [...job.doneBy]
  }
}

function runningRow (job: RunningJob): RunningRow {
  return { ...jobRow(job), losses: job.losses, stages: job.stages.map((stage) => ({ tasks: stage.tasks.map(taskRow), pending: [...stage.pending] })) }
}

function endedRow (job: EndedJob): EndedRow {
  const { status, endedAt, code, reason, fault } = job
  return { ...jobRow(job), status, endedAt, code, reason, fault: fault ?? null, done: job.stages.map((stage) => stage.done) }
}

/**
 * The ledger that was encoded.
 *
 * @param bytes - from disk or from a voter; whether it is of the caller's network, the caller asks (`network` of the result)
 * @throws SNAPSHOT_CORRUPT where the bytes are not a snapshot in the format that this version writes
 */
export function decodeLedger (bytes: Uint8Array): Ledger {
  try {
    const snapshot = decodeCbor<Snapshot>(bytes)
    if (snapshot.format !== FORMAT) throw new Error(`format ${String(snapshot.format)}, this version reads ${FORMAT}`)
    return restore(snapshot)
  } catch (cause) {
    throw new ConclaveError('SNAPSHOT_CORRUPT', `the ledger snapshot cannot be read: ${cause instanceof Error ? cause.message : 'unknown'}`, { cause, next: 'update conclave, or remove the data directory of this node and join again' })
  }
}

function restore (snapshot: Snapshot): Ledger {
  const ledger = createLedger(snapshot.network)
  ledger.index = snapshot.index
  ledger.term = snapshot.term
  Object.assign(ledger.stats, snapshot.stats)
  ledger.forgottenUpTo = snapshot.forgottenUpTo
  for (const [peer, { capabilities, notAfterMs, grantId, chain, admittedAt }] of snapshot.members) {
    ledger.members.set(peer, { capabilities, notAfterMs, ...(grantId === null ? {} : { grantId }), chain, admittedAt })
  }
  for (const [id, grant] of snapshot.grants) ledger.grants.set(id, grant)
  for (const peer of snapshot.revoked) ledger.revoked.add(peer)
  for (const [index, signed, results] of snapshot.batches) {
    ledger.batches.set(index, { signed: signedOf(signed), results })
    ledger.usage.batchBytes += signed[0].length
  }
  for (const row of snapshot.running) {
    const spec = specOf(row)
    ledger.running.set(row.id, { ...factsOf(row, spec), status: 'running', losses: row.losses, stages: restoreStages(spec, row) })
    ledger.usage.runningBytes += row.signed[0].length
    ledger.usage.runningOutputs += outputsOf(spec)
  }
  for (const row of snapshot.ended) {
    const spec = specOf(row)
    const { status, endedAt, code, reason, fault } = row
    const stages = createStages(spec).map((stage, n) => ({ spec: stage.spec, size: stage.size, done: row.done[n] ?? 0 }))
    ledger.ended.set(row.id, { ...factsOf(row, { ...spec, inputs: [] }), status, endedAt, code, reason, fault: fault ?? undefined, stages })
    ledger.usage.endedBytes += row.signed[0].length
  }
  return ledger
}

const signedOf = ([payload, signer, signature]: SignedRow): Signed => ({ payload, signer, signature })
const outputOf = ([partition, cid, bytes, records, holders]: OutputRow): TaskOutput => ({ partition, cid, bytes, records, holders })

function specOf (row: JobRow): JobSpec {
  const spec = decodeJobSpec(row.signed[0])
  if (spec.verdict !== 'accept') throw new Error(`job ${row.id}: ${spec.reason}`)
  return spec.value
}

function factsOf (row: JobRow, spec: JobSpec): Pick<RunningJob, 'id' | 'spec' | 'signed' | 'submittedAt' | 'results' | 'counters' | 'doneBy'> {
  const results = row.results.map(([task, attempt, participant, index, ordinal, outputs]): Result => ({ task, attempt, participant, position: { index, ordinal }, outputs: outputs.map(outputOf) }))
  return { id: row.id, spec, signed: signedOf(row.signed), submittedAt: row.submittedAt, results, counters: row.counters, doneBy: new Map(row.doneBy) }
}

function restoreStages (spec: JobSpec, row: RunningRow): readonly Stage[] {
  const stages = createStages(spec)
  for (const [n, stage] of stages.entries()) {
    const kept = row.stages[n]
    if (kept === undefined) throw new Error(`job ${row.id}: stage ${n} is absent`)
    for (const task of kept.tasks.map(taskOf)) {
      if (task.state === 'assigned') stage.assigned.add(stage.tasks.length)
      if (task.state === 'done') stage.done++
      stage.tasks.push(task)
    }
    for (const number of kept.pending) stage.pending.add(number)
    const isWhole = (stage.tasks.length === 0 || stage.tasks.length === stage.size) && stage.pending.size + stage.assigned.size + stage.done === stage.tasks.length
    if (!isWhole) throw new Error(`job ${row.id}: the tasks of stage ${n} do not add up`)
  }
  return stages
}

function taskOf ([state, attempt, kept, text, rest, since]: TaskRow): Task {
  const history: TaskHistory = kept === null ? NO_HISTORY : { faults: kept[0], losses: kept[1], avoid: kept[2] }
  if (state === 'p') return { state: 'pending', attempt, history, waiting: text === '' ? undefined : text }
  if (state === 'a' && typeof rest === 'number') return { state: 'assigned', attempt, history, participant: text as PeerIdStr, leaseMs: rest, since }
  if (state === 'd' && typeof rest !== 'number') return { state: 'done', attempt, history, participant: text as PeerIdStr, outputs: rest.map(outputOf), since }
  throw new Error(`a task in state ${String(state)}`)
}
