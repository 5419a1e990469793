/**
 * The control API of a node: HTTP/1 and NDJSON on a socket that only its owner may open. Decides nothing: every route is one call of the node.
 */
import http from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import fs from 'node:fs/promises'
import { ConclaveError, httpStatusOf } from '../errors.ts'
import type { ConclaveNode, NodeEvent } from '../api.ts'
import { readBody, toInvite, toSubmit } from './body.ts'
import { toErrorBody } from './error-body.ts'
import { follow } from './follow.ts'
import { writeLines } from './ndjson.ts'
import { LIMITS, SCHEMA_VERSION } from './routes.ts'
import type { StatusReply } from './routes.ts'

export interface ControlInit {
  node: ConclaveNode
  /** from `claimSocketPath` */
  socket: string
  version: string
  /** somebody asked the daemon to stop; called at most once, after the answer is out */
  onStop: () => void
  limits?: Partial<Limits>
}

export interface ControlServer {
  /** Ends streams with DAEMON_STOPPING, takes no new client. */
  stop (): Promise<void>
}

type Limits = Record<keyof typeof LIMITS, number>
interface Call { request: IncomingMessage, response: ServerResponse, url: URL, id: string, signal: AbortSignal }
type Route = (call: Call) => Promise<unknown>
/** A route's reply that is streamed line by line. */
class Lines { readonly lines: AsyncIterable<unknown>; constructor (lines: AsyncIterable<unknown>) { this.lines = lines } }

/** Listens before it resolves. @throws CONTROL_SOCKET_FAILED */
export async function serveControl (init: ControlInit): Promise<ControlServer> {
  const limits: Limits = { ...LIMITS, ...init.limits }
  const stopping = new AbortController()
  const routes = routesOf(init, limits)
  const server = http.createServer({ requestTimeout: limits.requestTimeoutMs, headersTimeout: limits.requestTimeoutMs, keepAliveTimeout: 1000 }, (request, response) => {
    void answer(request, response)
  })
  server.maxConnections = limits.maxConnections

  async function answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.once('close', () => gone.abort(new ConclaveError('CLIENT_GONE', 'the client went away')))
    const signal = AbortSignal.any([gone.signal, stopping.signal])
    try {
      const url = new URL(request.url ?? '/', 'http://localhost')
      const [route, id] = match(routes, request.method ?? '', url.pathname)
      const reply = await route({ request, response, url, id, signal })
      if (reply instanceof Lines) await writeLines(response, reply.lines, signal)
      else send(response, 200, reply)
    } catch (error) {
      if (response.destroyed) return
      const body = toErrorBody(error)
      // A body that was not read to its end would be taken for the next request.
      if (!request.complete) response.setHeader('connection', 'close')
      if (response.headersSent) response.destroy()
      else send(response, httpStatusOf(body.code), { error: body })
    }
  }

  await listen(server, init.socket)
  return {
    async stop () {
      stopping.abort(new ConclaveError('DAEMON_STOPPING', 'the daemon is stopping', { next: 'conclave up' }))
      const closed = new Promise<void>((resolve) => { server.close(() => resolve()) })
      server.closeIdleConnections()
      const cut = setTimeout(() => server.closeAllConnections(), limits.drainMs)
      await closed
      clearTimeout(cut)
    }
  }
}

function send (response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store' })
  response.end(text)
}

/** The socket is born with mode 0600: `listen` binds a path in the same tick, under the umask set around it. */
async function listen (server: Server, socket: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  const before = process.umask(0o177)
  try {
    server.listen(socket, resolve)
  } finally {
    process.umask(before)
  }
  try {
    await promise
    if (process.platform !== 'win32') await fs.chmod(socket, 0o600)
  } catch (error) {
    throw new ConclaveError('CONTROL_SOCKET_FAILED', `the control socket ${socket} cannot be opened`, { cause: error, next: 'choose another --data-dir' })
  }
}

/** Finds `POST /v1/jobs/<id>/cancel` under `POST jobs/*`, then `/cancel`. */
function match (routes: ReadonlyMap<string, Route>, method: string, pathname: string): [Route, string] {
  const [, version, noun, id, verb] = pathname.split('/')
  if (version !== `v${SCHEMA_VERSION}`) throw new ConclaveError('BAD_REQUEST', `this daemon speaks v${SCHEMA_VERSION}, not ${version ?? ''}`, { next: 'use the `conclave` command of the same version' })
  const key = [noun, ...(id === undefined ? [] : ['*']), ...(verb === undefined ? [] : [verb])].join('/')
  const route = routes.get(`${method} ${key}`)
  if (route === undefined) throw new ConclaveError('NOT_FOUND', `the daemon knows no ${method} ${pathname}`, { next: 'use the `conclave` command of the same version' })
  try {
    return [route, decodeURIComponent(id ?? '')]
  } catch (error) {
    throw new ConclaveError('BAD_REQUEST', `${pathname} is badly encoded`, { cause: error })
  }
}

function routesOf (init: ControlInit, limits: Limits): ReadonlyMap<string, Route> {
  const { node } = init
  let stopAsked = false
  const status = (): StatusReply => ({ ...node.status(), pid: process.pid, addrs: node.addrs(), dataDir: node.dataDir, version: init.version })
  return new Map<string, Route>([
    ['GET status', async () => status()],
    ['GET peers', async () => ({ peers: node.peers() })],
    ['GET jobs', async () => ({ jobs: node.jobs() })],
    ['POST jobs', async ({ request, signal }) => {
      const handle = await node.submit(toSubmit(await readBody(request, limits.maxBodyBytes)), { signal })
      return handle.info()
    }],
    ['GET jobs/*', async ({ id }) => node.job(id).info()],
    ['GET jobs/*/follow', async ({ id, signal }) => new Lines(follow(node.job(id), limits.progressMs, signal))],
    ['GET jobs/*/results', async ({ id, url, signal }) => new Lines(records(node.job(id).results({ signal, order: url.searchParams.get('order') === 'key' ? 'key' : 'ledger' })))],
    ['POST jobs/*/cancel', async ({ id }) => {
      const handle = node.job(id)
      await handle.cancel()
      return handle.info()
    }],
    ['POST peers/*/revoke', async ({ id }) => {
      await node.revoke(id)
      return {}
    }],
    ['POST invites', async ({ request }) => ({ ticket: await node.invite(toInvite(await readBody(request, limits.maxBodyBytes))) })],
    ['GET events', async ({ signal }) => new Lines(events(node, signal))],
    ['POST stop', async ({ response }) => {
      if (!stopAsked) response.once('close', init.onStop)
      stopAsked = true
      return { pid: process.pid }
    }]
  ])
}

async function * records (results: AsyncIterable<unknown>): AsyncGenerator<{ record: unknown }> {
  for await (const record of results) yield { record }
}

/** Events kept for a client that reads slowly; past it the oldest go, and a line says how many. */
const MAX_QUEUED_EVENTS = 1024

async function * events (node: ConclaveNode, signal: AbortSignal): AsyncGenerator<NodeEvent | { type: 'events:lost', count: number }> {
  const queue: NodeEvent[] = []
  let lost = 0
  let wake = Promise.withResolvers<void>()
  const off = node.on((event) => {
    if (queue.length === MAX_QUEUED_EVENTS) { queue.shift(); lost++ }
    queue.push(event)
    wake.resolve()
  })
  const abort = (): void => wake.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    for (;;) {
      signal.throwIfAborted()
      if (lost > 0) yield { type: 'events:lost', count: lost }
      lost = 0
      for (let event = queue.shift(); event !== undefined; event = queue.shift()) yield event
      await wake.promise
      wake = Promise.withResolvers<void>()
    }
  } finally {
    off()
    signal.removeEventListener('abort', abort)
  }
}
