/**
 * The command line's side of the control API.
 */
import http from 'node:http'
import type { IncomingMessage } from 'node:http'
import { ConclaveError } from '../errors.ts'
import type { InviteOptions, JobInfo, NodeEvent, PeerInfo } from '../api.ts'
import { fromErrorBody } from './error-body.ts'
import { readLines } from './ndjson.ts'
import { LIMITS, SCHEMA_VERSION } from './routes.ts'
import type { FollowLine, StatusReply, SubmitBody } from './routes.ts'
import { readControl } from './socket-path.ts'

/** A reply that is not a stream; a status of thousands of jobs fits. */
const MAX_REPLY_BYTES = 64 << 20

/** Every call throws NOT_RUNNING where no daemon answers, DAEMON_LOST where it goes away meanwhile, and the daemon's own errors with their codes. */
export interface ControlClient {
  status (signal?: AbortSignal): Promise<StatusReply>
  peers (signal?: AbortSignal): Promise<PeerInfo[]>
  jobs (signal?: AbortSignal): Promise<JobInfo[]>
  job (id: string, signal?: AbortSignal): Promise<JobInfo>
  submit (request: SubmitBody, signal?: AbortSignal): Promise<JobInfo>
  cancel (id: string, signal?: AbortSignal): Promise<JobInfo>
  invite (options: InviteOptions, signal?: AbortSignal): Promise<string>
  revoke (peerId: string, signal?: AbortSignal): Promise<void>
  follow (id: string, signal?: AbortSignal): AsyncGenerator<FollowLine>
  results (id: string, order: 'ledger' | 'key', signal?: AbortSignal): AsyncGenerator<unknown>
  events (signal?: AbortSignal): AsyncGenerator<NodeEvent>
  /** @returns the pid of the daemon that will end */
  stop (signal?: AbortSignal): Promise<number>
}

/** @throws NOT_RUNNING where the data directory names no daemon */
export async function connectControl (dataDir: string): Promise<ControlClient> {
  const control = await readControl(dataDir)
  if (control === undefined) throw notRunning(dataDir)
  const { socket } = control

  async function open (method: string, path: string, body: unknown, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    signal?.throwIfAborted()
    const text = body === undefined ? undefined : JSON.stringify(body)
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const headers = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
    const request = http.request({ socketPath: socket, method, path: `/v${SCHEMA_VERSION}/${path}`, headers, agent: false, ...(signal === undefined ? {} : { signal }) }, resolve)
    request.once('error', reject)
    request.end(text)
    let response
    try {
      response = await promise
    } catch (error) {
      signal?.throwIfAborted()
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ECONNREFUSED') throw notRunning(dataDir, error)
      if (code === 'EACCES') throw new ConclaveError('DENIED', `the daemon of ${dataDir} belongs to another user`, { cause: error, next: 'use a --data-dir of your own' })
      throw lost(error)
    }
    if (response.statusCode === 200) return response
    const failure = (await whole(response)) as { error?: unknown } | undefined
    throw fromErrorBody(failure?.error) ?? new ConclaveError('DAEMON_UNREADABLE', `the daemon answered with status ${response.statusCode ?? 0}`)
  }

  async function call<T> (method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const response = await open(method, path, body, signal)
    try {
      return await whole(response) as T
    } catch (error) {
      signal?.throwIfAborted()
      throw error instanceof ConclaveError ? error : lost(error)
    }
  }

  async function * stream<T> (path: string, signal?: AbortSignal): AsyncGenerator<T> {
    const response = await open('GET', path, undefined, signal)
    try {
      for await (const line of readLines(response, LIMITS.maxLineBytes)) {
        const { end, error } = line as { end?: true, error?: unknown }
        if (end === true) return
        const failure = error === undefined ? undefined : fromErrorBody(error)
        if (failure !== undefined) throw failure
        yield line as T
      }
    } catch (error) {
      signal?.throwIfAborted()
      throw error instanceof ConclaveError ? error : lost(error)
    } finally {
      response.destroy()
    }
    throw lost(undefined)
  }

  const job = (id: string): string => `jobs/${encodeURIComponent(id)}`
  return {
    status: async (signal) => await call('GET', 'status', undefined, signal),
    peers: async (signal) => (await call<{ peers: PeerInfo[] }>('GET', 'peers', undefined, signal)).peers,
    jobs: async (signal) => (await call<{ jobs: JobInfo[] }>('GET', 'jobs', undefined, signal)).jobs,
    job: async (id, signal) => await call('GET', job(id), undefined, signal),
    submit: async (request, signal) => await call('POST', 'jobs', request, signal),
    cancel: async (id, signal) => await call('POST', `${job(id)}/cancel`, {}, signal),
    revoke: async (peerId, signal) => { await call('POST', `peers/${encodeURIComponent(peerId)}/revoke`, {}, signal) },
    invite: async (options, signal) => (await call<{ ticket: string }>('POST', 'invites', options, signal)).ticket,
    follow: (id, signal) => stream(`${job(id)}/follow`, signal),
    async * results (id, order, signal) {
      for await (const { record } of stream<{ record: unknown }>(`${job(id)}/results?order=${order}`, signal)) yield record
    },
    events: (signal) => stream('events', signal),
    stop: async (signal) => (await call<{ pid: number }>('POST', 'stop', {}, signal)).pid
  }
}

async function whole (response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_REPLY_BYTES) throw new ConclaveError('DAEMON_UNREADABLE', `the daemon's answer exceeds ${MAX_REPLY_BYTES} bytes`)
    chunks.push(chunk)
  }
  for await (const value of readLines((async function * () { yield Buffer.concat(chunks) })(), MAX_REPLY_BYTES)) return value
  throw lost(undefined)
}

const notRunning = (dataDir: string, cause?: unknown): ConclaveError =>
  new ConclaveError('NOT_RUNNING', `no node runs on the data directory ${dataDir}`, { cause, next: 'conclave up, or name its directory with --data-dir', details: { dataDir } })
const lost = (cause: unknown): ConclaveError =>
  new ConclaveError('DAEMON_LOST', 'the daemon went away before it had answered', { cause, next: 'conclave up; jobs go on without it: conclave jobs on any other member' })
