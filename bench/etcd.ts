/**
 * A group of etcd members on loopback with their data on disk, and the little of its gRPC that a put needs, over one HTTP/2 connection a
 * member as its own clients do. Protocol: https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/
 */
import type { ChildProcess } from 'node:child_process'
import http2 from 'node:http2'
import path from 'node:path'
import { eventually, freePorts } from './processes.ts'
import type { Room } from './processes.ts'
import type { Group, Server } from './consensus.ts'

const READY_MS = 30_000

interface Member { name: string, clientPort: number, peerPort: number, dir: string }

/** As it comes: heartbeat 100 ms, election timeout 1,000 ms, fsync on. */
export async function startEtcd (room: Room, count: number): Promise<Group> {
  const ports = await freePorts(2 * count)
  const serial = Math.random().toString(36).slice(2, 8)
  const members = Array.from({ length: count }, (_, i): Member => ({ name: `e${i}`, clientPort: ports[2 * i] as number, peerPort: ports[2 * i + 1] as number, dir: path.join(room.dir, `etcd-${serial}-${i}`) }))
  const cluster = members.map(({ name, peerPort }) => `${name}=http://127.0.0.1:${peerPort}`).join(',')
  const servers = members.map((member) => new EtcdServer(room, member, cluster))
  for (const server of servers) server.start()
  await Promise.all(servers.map(async (server) => { await server.ready() }))
  return {
    servers,
    leader: async () => await leaderOf(servers),
    async stop () { await Promise.all(servers.map(async (server) => { await server.kill() })) }
  }
}

async function leaderOf (servers: readonly EtcdServer[]): Promise<EtcdServer> {
  let found: EtcdServer | undefined
  await eventually('an etcd leader', READY_MS, async () => {
    for (const server of servers) {
      const status = await server.status()
      if (status !== undefined && status.leader !== '0' && status.leader === status.self) found = server
    }
    return found !== undefined
  })
  return found as EtcdServer
}

class EtcdServer implements Server {
  readonly #room: Room
  readonly #member: Member
  readonly #cluster: string
  #child: ChildProcess | undefined
  #session: http2.ClientHttp2Session | undefined

  constructor (room: Room, member: Member, cluster: string) {
    this.#room = room
    this.#member = member
    this.#cluster = cluster
  }

  get pid (): number { return this.#child?.pid ?? 0 }

  start (): void {
    const { name, clientPort, peerPort, dir } = this.#member
    const client = `http://127.0.0.1:${clientPort}`
    const peer = `http://127.0.0.1:${peerPort}`
    this.#child = this.#room.spawn('etcd', [
      '--name', name, '--data-dir', dir, '--listen-client-urls', client, '--advertise-client-urls', client, '--listen-peer-urls', peer,
      '--initial-advertise-peer-urls', peer, '--initial-cluster', this.#cluster, '--initial-cluster-state', 'new', '--logger', 'zap', '--log-level', 'error'])
  }

  async restart (): Promise<void> {
    this.start()
    await this.ready()
  }

  async ready (): Promise<void> {
    await eventually(`${this.#member.name} has a leader`, READY_MS, async () => ((await this.status())?.leader ?? '0') !== '0')
  }

  /** By its JSON gateway; never while something is measured. */
  async status (): Promise<{ self: string, leader: string } | undefined> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.#member.clientPort}/v3/maintenance/status`, { method: 'POST', body: '{}', signal: AbortSignal.timeout(1000) })
      const { header, leader } = await response.json() as { header: { member_id: string }, leader?: string }
      return { self: header.member_id, leader: leader ?? '0' }
    } catch {
      return undefined
    }
  }

  async put (key: string, value: Uint8Array): Promise<void> {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed) {
      this.#session = http2.connect(`http://127.0.0.1:${this.#member.clientPort}`)
      this.#session.on('error', () => {}) // each of its streams says so too
    }
    const stream = this.#session.request({ ':method': 'POST', ':path': '/etcdserverpb.KV/Put', 'content-type': 'application/grpc', te: 'trailers' })
    await new Promise<void>((resolve, reject) => {
      stream.on('trailers', (trailers) => {
        if (trailers['grpc-status'] === '0') resolve()
        else reject(new Error(String(trailers['grpc-message'])))
      })
      stream.on('response', (headers) => { if (headers['grpc-status'] !== undefined && headers['grpc-status'] !== '0') reject(new Error(String(headers['grpc-message']))) })
      stream.on('error', reject)
      stream.on('close', () => { reject(new Error('the stream was closed')) })
      stream.resume()
      stream.end(putRequest(key, value))
    })
  }

  disconnect (): void {
    this.#session?.destroy()
    this.#session = undefined
  }

  async kill (): Promise<void> {
    if (this.#child !== undefined) await this.#room.kill(this.#child)
    this.disconnect()
  }
}

/** PutRequest { key = 1, value = 2 } behind gRPC's five bytes: not compressed, length. */
function putRequest (key: string, value: Uint8Array): Buffer {
  const message = Buffer.concat([field(1, Buffer.from(key)), field(2, value)])
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

function field (number: number, bytes: Uint8Array): Buffer {
  const length: number[] = []
  let rest = bytes.length
  for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128)
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), bytes])
}
