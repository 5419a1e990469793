/**
 * What the control API says: the shapes on the socket and its limits. HTTP/1 over a unix socket (a named pipe on Windows) that only its
 * owner may open; bodies are JSON, streams are NDJSON.
 *
 * A stream ends with the line `{"end":true}`, or `{"error":{…}}`. One that ends otherwise was cut: the daemon is gone.
 */
import type { JobEvent, JobInfo, JobRequest, NodeStatus } from '../api.ts'

/** Of everything that a program may read: the control API and every `--json`. Raised when a field changes its meaning or goes. */
export const SCHEMA_VERSION = 1

export const LIMITS = {
  /** a job's code and the list of its inputs; past it: BODY_TOO_LARGE */
  maxBodyBytes: 32 << 20,
  /** one line of a stream, at the client; past it: DAEMON_UNREADABLE */
  maxLineBytes: 64 << 20,
  /** clients at the same time; further ones are refused by the socket */
  maxConnections: 256,
  /** a request must have arrived whole by then */
  requestTimeoutMs: 30_000,
  /** progress is told at most this often */
  progressMs: 200,
  /** the daemon waits this long for streams to end when it stops, then cuts them */
  drainMs: 1000
} as const

export interface StatusReply extends NodeStatus { pid: number, addrs: string[], dataDir: string, version: string }

/** `code` as text: it is a module's source. */
export type SubmitBody = Omit<JobRequest, 'code'> & { code: string }

/** One line of `/v1/jobs/<id>/follow`. Begins with `progress`, ends with `end`. */
export type FollowLine = { event: 'progress', info: JobInfo } | { event: 'fact', fact: JobEvent } | { event: 'end', info: JobInfo }

export interface ErrorBody { code: string, message: string, next: string, details?: Record<string, unknown> }
