/**
 * Questions to the ledger. Nothing here changes it; what is returned may share its objects and holds until the next `apply`.
 */
import { outputFor } from './task.ts'
import { findJob, isReady, type CidStr, type Counters, type Job, type JobFault, type JobId, type Ledger, type Position, type Result, type RunningJob, type Signed } from './state.ts'
import type { Capability } from '../../keys/certificate.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Roster } from '../../keys/roster.ts'

/** What keys/roster judges peers by: the index of now, and live views of the ledger's own maps, so that asking costs nothing. */
export function rosterOf (ledger: Ledger): Roster {
  return { network: ledger.network, index: ledger.index, members: ledger.members, revoked: ledger.revoked }
}

/** Whether the peer is a member with this capability; dates are for the handshake to check. */
export function can (ledger: Ledger, peer: PeerIdStr, capability: Capability): boolean {
  return ledger.members.get(peer)?.capabilities.includes(capability) === true
}

export interface StageInfo { readonly kind: 'map' | 'reduce', readonly tasks: number, readonly pending: number, readonly assigned: number, readonly done: number }

export interface JobInfo {
  readonly id: JobId
  readonly name: string
  readonly submitter: PeerIdStr
  readonly status: Job['status']
  readonly createdAtMs: number
  /** ledger indexes; `endedAt` 0 while it runs */
  readonly submittedAt: number
  readonly endedAt: number
  /** an unopened stage has all its tasks in none of the three counts */
  readonly stages: readonly StageInfo[]
  readonly results: number
  readonly counters: Counters
  readonly doneBy: ReadonlyMap<PeerIdStr, number>
  readonly losses: number
  readonly code: string
  readonly reason: string
  readonly fault: JobFault | undefined
}

/** A job's facts for people and programs, or undefined where it is not known (any more). */
export function jobInfo (ledger: Ledger, id: string): JobInfo | undefined {
  const job = findJob(ledger, id)
  return job === undefined ? undefined : infoOf(job)
}

/** Every known job: ended ones in order of their end, then running ones in order of submission. */
export function jobInfos (ledger: Ledger): JobInfo[] {
  return [...ledger.ended.values(), ...ledger.running.values()].map(infoOf)
}

function infoOf (job: Job): JobInfo {
  const { id, spec, status, submittedAt, counters, doneBy } = job
  const facts = { id, name: spec.name, submitter: spec.submitter, status, createdAtMs: spec.createdAtMs, submittedAt, results: job.results.length, counters, doneBy }
  if (job.status === 'running') {
    const stages = job.stages.map((stage) => ({ kind: stage.spec.kind, tasks: stage.size, pending: stage.pending.size, assigned: stage.assigned.size, done: stage.done }))
    return { ...facts, endedAt: 0, stages, losses: job.losses, code: '', reason: '', fault: undefined }
  }
  const stages = job.stages.map((stage) => ({ kind: stage.spec.kind, tasks: stage.size, pending: 0, assigned: 0, done: stage.done }))
  return { ...facts, endedAt: job.endedAt, stages, losses: 0, code: job.code, reason: job.reason, fault: job.fault }
}

/** A block that a task reads, and who has it: `holders` without repetition, the likeliest first. */
export interface TaskInput { readonly cid: CidStr, readonly bytes: number, readonly holders: readonly PeerIdStr[] }

/**
 * What a task reads: a map task its input, a reduce task its partition of every map output, in order of the map tasks. Two maps may
 * have made equal blocks: then the CID stands twice, with the holders of both.
 *
 * @returns undefined where the job does not run or the stage before is not (or no longer) done: a task that cannot start
 */
export function taskInputs (ledger: Ledger, id: string, stage: number, task: number): TaskInput[] | undefined {
  const job = ledger.running.get(id as JobId)
  if (job === undefined || !isReady(job, stage) || task >= (job.stages[stage]?.size ?? 0)) return undefined
  if (stage === 0) {
    const input = job.spec.inputs[task]
    return input === undefined ? undefined : [{ cid: input.cid, bytes: input.bytes, holders: input.holders }]
  }
  return partitionInputs(job, stage, task)
}

function partitionInputs (job: RunningJob, stage: number, partition: number): TaskInput[] {
  const inputs: Array<{ cid: CidStr, bytes: number, holders: PeerIdStr[] }> = []
  const holdersOf = new Map<CidStr, PeerIdStr[]>()
  for (const made of job.stages[stage - 1]?.tasks ?? []) {
    const output = made.state === 'done' ? outputFor(made.outputs, partition) : undefined
    if (made.state !== 'done' || output === undefined) continue
    const holders = holdersOf.get(output.cid) ?? []
    holdersOf.set(output.cid, holders)
    for (const holder of [made.participant, ...output.holders]) {
      if (!holders.includes(holder)) holders.push(holder)
    }
    inputs.push({ cid: output.cid, bytes: output.bytes, holders })
  }
  return inputs
}

/** The job's code and who had it at submission; undefined where it does not run. */
export function codeOf (ledger: Ledger, id: string): TaskInput | undefined {
  const job = ledger.running.get(id as JobId)
  return job === undefined ? undefined : { cid: job.spec.code.cid, bytes: job.spec.code.bytes, holders: job.spec.code.holders }
}

/** A job's committed results in ledger order; empty where it is not known. */
export function results (ledger: Ledger, id: string): readonly Result[] {
  return findJob(ledger, id)?.results ?? []
}

export interface CommittedResult extends Result {
  readonly job: JobId
  /** the signed ReceiptBatch whose receipt number `position.ordinal` this is */
  readonly signed: Signed
}

/**
 * Every committed result that is still remembered from a position on, of all jobs, in ledger order. For those that come late: who
 * follows the ledger gets the same from its events.
 */
export function committedResults (ledger: Ledger, from: Position): CommittedResult[] {
  const found: CommittedResult[] = []
  for (const jobs of [ledger.ended, ledger.running]) {
    for (const job of jobs.values()) {
      for (const result of job.results) {
        const batch = ledger.batches.get(result.position.index)
        if (batch !== undefined && comparePositions(result.position, from) >= 0) found.push({ ...result, job: job.id, signed: batch.signed })
      }
    }
  }
  return found.sort((a, b) => comparePositions(a.position, b.position))
}

/** Negative, zero or positive as `a` stands before, at or after `b`. */
export function comparePositions (a: Position, b: Position): number {
  return a.index - b.index || a.ordinal - b.ordinal
}

export interface FinalOutput { readonly task: number, readonly cid: CidStr, readonly bytes: number, readonly records: number, readonly holders: readonly PeerIdStr[] }

/** The blocks that make up a job's result so far, in order of their tasks (that of the inputs, or of the partitions). */
export function finalOutputs (ledger: Ledger, id: string): FinalOutput[] {
  return results(ledger, id)
    .flatMap(({ task, participant, outputs }) => outputs.map(({ cid, bytes, records, holders }) => ({ task, cid, bytes, records, holders: [...new Set([participant, ...holders])] })))
    .sort((a, b) => a.task - b.task)
}
