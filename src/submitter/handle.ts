/**
 * What a caller holds of a job: its state, its events, its results. All of it is read from this node's replica, so a handle works on any
 * member, and goes on working when whoever submitted the job is gone.
 */
import { signStatement } from '../../keys/statement.ts'
import type { Identity } from '../../keys/identity.ts'
import type { NetworkId } from '../../keys/ids.ts'
import { JobRequest } from '../../protocols/job/messages.js'
import { STATEMENT_DOMAINS } from '../../protocols/ledger/constants.ts'
import { SignedStatement } from '../../protocols/ledger/messages.js'
import type { JobEvent, JobHandle, JobInfo } from '../api.ts'
import { ConclaveError } from '../errors.ts'
import { encodeCancelRequest } from '../ledger/command.ts'
import type { LedgerEvent } from '../ledger/event.ts'
import { findJob } from '../ledger/state.ts'
import type { JobId, Ledger } from '../ledger/state.ts'
import { jobInfo as ledgerJobInfo } from '../ledger/view.ts'
import { records } from '../observer/results.ts'
import type { ResultsInit } from '../observer/results.ts'

/** Events that wait for a slow reader of `events()`; past it the stream ends with EVENTS_LOST. */
const MAX_QUEUED_EVENTS = 65_536

export interface HandleInit extends ResultsInit {
  identity: Identity
  network: NetworkId
  /** brings an encoded JobRequest to the leader */
  send: (request: Uint8Array, signal: AbortSignal | undefined) => Promise<Uint8Array>
  /** why nothing of a running job runs, where it is known here */
  waiting: (job: JobId) => string | undefined
  wallMs: () => number
}

/** @returns the job with this id, with this unique prefix, or the newest for `last`. @throws JOB_UNKNOWN, JOB_AMBIGUOUS */
export function resolveJob (ledger: Ledger, text: string): JobId {
  const ids = [...ledger.ended.keys(), ...ledger.running.keys()]
  const next = 'conclave jobs'
  if (text === 'last') {
    const newest = ids.reduce<JobId | undefined>((best, id) => best === undefined || submittedAt(ledger, id) > submittedAt(ledger, best) ? id : best, undefined)
    if (newest === undefined) throw new ConclaveError('JOB_UNKNOWN', 'this network has no job yet', { next: 'conclave run JOB --input FILE' })
    return newest
  }
  const found = ids.filter((id) => id === text || (text.length >= 4 && id.startsWith(text)))
  if (found.length > 1) throw new ConclaveError('JOB_AMBIGUOUS', `${text} begins the ids of ${found.length} jobs`, { next })
  if (found[0] === undefined) throw new ConclaveError('JOB_UNKNOWN', `no job ${text} is known here`, { next })
  return found[0]
}

const submittedAt = (ledger: Ledger, id: JobId): number => findJob(ledger, id)?.submittedAt ?? 0

/** The job as the API shows it. @throws JOB_UNKNOWN */
export function describeJob (ledger: Ledger, id: JobId, waiting?: string): JobInfo {
  const info = ledgerJobInfo(ledger, id)
  if (info === undefined) throw new ConclaveError('JOB_UNKNOWN', `no job ${id} is known here`, { next: 'conclave jobs' })
  return {
    id,
    name: info.name,
    status: info.status,
    ...(info.code === '' ? {} : { code: info.code, reason: info.reason }),
    submitter: info.submitter,
    submittedAt: info.createdAtMs,
    stages: info.stages.map(({ kind, tasks, done, assigned }) => ({ kind, total: tasks, done, running: assigned, pending: info.status === 'running' ? tasks - done - assigned : 0 })),
    participants: [...info.doneBy].map(([peerId, done]) => ({ peerId, done })).sort((a, b) => b.done - a.done),
    ...(waiting === undefined ? {} : { waiting })
  }
}

export function createHandle (init: HandleInit, id: JobId): JobHandle {
  const { replica } = init
  const info = (): JobInfo => describeJob(replica.ledger, id, init.waiting(id))
  return {
    id,
    info,
    results: (options = {}) => records(init, id, { order: options.order ?? 'ledger', signal: options.signal ?? new AbortController().signal }),
    events: (options = {}) => jobEvents(init, id, options.signal),
    async cancel () {
      const signed = signStatement(init.identity, STATEMENT_DOMAINS.cancel, encodeCancelRequest(init.network, id, init.wallMs()))
      const statement = SignedStatement.encode({ ...signed, payload: new Uint8Array(signed.payload), signature: new Uint8Array(signed.signature) })
      await init.send(JobRequest.encode({ hops: 0, cancel: statement }), undefined)
      while (findJob(replica.ledger, id)?.status === 'running') await replica.changed()
    },
    async done (options = {}) {
      while (info().status === 'running') await replica.changed(options.signal)
      return info()
    }
  }
}

async function * jobEvents (init: HandleInit, id: JobId, signal?: AbortSignal): AsyncGenerator<JobEvent> {
  const queue: JobEvent[] = []
  let wake = (): void => {}
  let lost = false
  const off = init.replica.onChange((events) => {
    for (const event of events) {
      const told = describeEvent(init.replica.ledger, event)
      if (told?.job !== id) continue
      if (queue.length >= MAX_QUEUED_EVENTS) lost = true
      else queue.push(told)
    }
    wake()
  })
  const abort = (): void => { wake() }
  signal?.addEventListener('abort', abort)
  try {
    for (;;) {
      for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
        yield event
        if (event.type === 'job:done' || event.type === 'job:fail' || event.type === 'job:cancel') return
      }
      signal?.throwIfAborted()
      if (lost) throw new ConclaveError('EVENTS_LOST', `the reader fell ${MAX_QUEUED_EVENTS} events behind`, { next: `conclave watch ${id}` })
      const job = findJob(init.replica.ledger, id)
      if (job === undefined || job.status !== 'running') return // it ended before, or while a snapshot was taken
      await new Promise<void>((resolve) => { wake = resolve })
    }
  } finally {
    off()
    signal?.removeEventListener('abort', abort)
  }
}

/** A ledger event as the API tells it; undefined for one that is no job's. */
export function describeEvent (ledger: Ledger, event: LedgerEvent): JobEvent | undefined {
  switch (event.type) {
    case 'job:submit': {
      const spec = findJob(ledger, event.job)?.spec
      return { type: event.type, job: event.job, name: spec?.name ?? '', submitter: spec?.submitter ?? '' }
    }
    case 'job:stage': {
      const { job, stage, tasks } = event
      return { type: event.type, job, stage, tasks, kind: findJob(ledger, job)?.stages[stage]?.spec.kind ?? '' }
    }
    case 'task:assign': {
      const { type, job, stage, task, attempt, participant } = event
      return { type, job, stage, task, attempt, participant }
    }
    case 'task:release': {
      const { type, job, stage, task, attempt, participant, reason } = event
      return { type, job, stage, task, attempt, participant, reason }
    }
    case 'task:done': {
      const { type, job, stage, task, attempt, participant } = event
      return { type, job, stage, task, attempt, participant }
    }
    case 'task:lost': {
      const { job, stage, task, attempt, participant } = event
      return { type: 'task:release', job, stage, task, attempt, participant, reason: 'lost' }
    }
    case 'task:fault': {
      const { type, job, stage, task, attempt, participant, code, message } = event
      return { type, job, stage, task, attempt, participant, code, message }
    }
    case 'job:done': return { type: event.type, job: event.job }
    case 'job:fail': return { type: event.type, job: event.job, code: event.code, reason: event.reason }
    case 'job:cancel': return { type: event.type, job: event.job, reason: event.reason }
    default: return undefined
  }
}
