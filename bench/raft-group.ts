/** Our voters, each a process with its log on disk, and a client that is a fourth peer of the sealed overlay. */
import path from 'node:path'
import type { Overlay } from '../src/overlay/overlay.ts'
import type { Told } from './child.ts'
import { identityOf, overlayOf, PUT } from './consensus-server.ts'
import type { ServerSettings } from './consensus-server.ts'
import type { Group, Server } from './consensus.ts'
import { eventually, freePorts } from './processes.ts'
import type { Asked, Room } from './processes.ts'

const READY_MS = 30_000
const PUT_TIMEOUT_MS = 10_000
/** Number of the client's identity; voters have those below. */
const CLIENT = 9

export async function startOurs (room: Room, count: number, limits: Pick<ServerSettings, 'snapshotEntries'> = {}): Promise<Group<OurServer>> {
  const ports = await freePorts(count)
  const voters = ports.map((_, i) => i)
  const client = overlayOf(CLIENT, [...voters, CLIENT], undefined)
  await client.start()
  const serial = Math.random().toString(36).slice(2, 8)
  const servers = voters.map((self) => new OurServer(room, client, { self, voters, port: ports[self] as number, dir: path.join(room.dir, `raft-${serial}-${self}`), ...limits }, ports))
  await Promise.all(servers.map(async (server) => { await server.restart() }))
  return {
    servers,
    leader: async () => await leaderOf(servers),
    async stop () {
      await client.stop()
      await Promise.all(servers.map(async (server) => { await server.kill() }))
    }
  }
}

async function leaderOf (servers: readonly OurServer[]): Promise<OurServer> {
  let found: OurServer | undefined
  await eventually('a leader of ours that all follow', READY_MS, async () => {
    const statuses = await Promise.all(servers.map(async (server) => await server.status()))
    found = servers.find((_, i) => statuses[i]?.role === 'leader')
    return found !== undefined && statuses.every((status) => status.leader === (found as OurServer).peerId)
  })
  return found as OurServer
}

export class OurServer implements Server {
  readonly settings: ServerSettings
  readonly peerId: ReturnType<typeof identityOf>['peerId']
  readonly #room: Room
  readonly #client: Overlay
  readonly #ports: readonly number[]
  #child: Asked | undefined

  constructor (room: Room, client: Overlay, settings: ServerSettings, ports: readonly number[]) {
    this.#room = room
    this.#client = client
    this.#ports = ports
    this.settings = settings
    this.peerId = identityOf(settings.self).peerId
  }

  get pid (): number { return this.#child?.pid ?? 0 }

  async restart (): Promise<void> {
    const { child } = await this.#room.fork('consensus-server.ts', [JSON.stringify(this.settings)])
    this.#child = child
    const addrOf = (port: number): string => `/ip4/127.0.0.1/tcp/${port}`
    await child.ask({ type: 'connect', peers: this.settings.voters.filter((voter) => voter !== this.settings.self).map((number) => ({ number, addrs: [addrOf(this.#ports[number] as number)] })) })
    await this.#client.connect(addrOf(this.settings.port), AbortSignal.timeout(READY_MS))
    await eventually(`voter ${this.settings.self} follows a leader`, READY_MS, async () => (await this.status()).leader !== '')
  }

  async status (): Promise<Told & { role: string, leader: string, term: number, appliedIndex: number, elections: number }> {
    return await (this.#child as Asked).ask({ type: 'status' })
  }

  async load (count: number, bytes: number): Promise<void> { await (this.#child as Asked).ask({ type: 'load', count, bytes }) }

  /** Begins to sample this process; with a file, writes what was sampled. */
  async profile (file?: string): Promise<void> { await (this.#child as Asked).ask({ type: 'profile', ...(file === undefined ? {} : { file }) }) }

  async put (key: string, value: Uint8Array): Promise<void> {
    const request = new Uint8Array(8 + value.length)
    request.set(Buffer.from(key.padEnd(8).slice(0, 8), 'latin1'))
    request.set(value, 8)
    await this.#client.request(this.peerId, PUT, request, { timeoutMs: PUT_TIMEOUT_MS })
  }

  disconnect (): void {}

  async kill (): Promise<void> { await this.#child?.kill() }
}
