/**
 * Consensus against etcd: three members as processes on loopback, data on disk and synced, one client process. Both speak what their own
 * clients speak: ours a request of the sealed overlay, etcd gRPC over HTTP/2.
 */
import { performance } from 'node:perf_hooks'
import { measureCore } from './consensus-core.ts'
import { startEtcd } from './etcd.ts'
import { Series, against, cpuSeconds, interleave, percentile } from './measure.ts'
import type { Context, Side, Table, Workload } from './measure.ts'
import { createRoom, eventually, hasPeer, pause } from './processes.ts'
import type { Room } from './processes.ts'
import { startOurs } from './raft-group.ts'
import { wallMs } from './child.ts'

export interface Server {
  readonly pid: number
  /** Resolves once committed. @param key - at most 8 characters */
  put (key: string, value: Uint8Array): Promise<void>
  disconnect (): void
  /** Start it again on its data; resolves once it follows a leader. */
  restart (): Promise<void>
  /** SIGKILL. */
  kill (): Promise<void>
}

export interface Group<S extends Server = Server> {
  readonly servers: readonly S[]
  leader (): Promise<S>
  stop (): Promise<void>
}

const VALUE = new Uint8Array(256).fill(120)
const WARM_UP = 300
const LATENCY_PUTS = 500
const CLIENTS = 64
const THROUGHPUT_MS = 5000
/** A put is sent to each survivor this often while nobody may lead. */
const PROBE_MS = 5
const FAILOVER_MS = 30_000
const ENTRIES = 100_000
/** Fewer say little about an election, which is a matter of chance. */
const MIN_FAILOVERS = 10

export const consensus: Workload = {
  name: 'consensus',
  title: 'Consensus: three voters on disk',
  isDefault: true,
  async run (context): Promise<Table> {
    const hasEtcd = context.withPeers && await hasPeer(['etcd', '--version'], 'etcd-server', context.log)
    const sides: Side[] = hasEtcd ? ['ours', 'peer'] : ['ours']
    const series = new Series()
    await using room = await createRoom()
    for (let i = 0; i < context.rounds; i++) measureCore(series)
    await interleave(context.rounds, sides, async (side, round) => { await measureLoad(context, room, side, round, series) })
    await measureFailover(context, room, sides, series)
    for (const side of sides) await measureRestart(context, room, side, series)
    return { ...(hasEtcd ? { peer: 'etcd 3.4' } : {}), rows: rowsOf(series), notes: notesOf(context, hasEtcd) }
  }
}

function rowsOf (series: Series): Table['rows'] {
  return [
    series.row('commit, 1 client, p50, ms', 2, { text: '≤ 1.5× etcd', isMet: against((ours, peer) => ours <= 1.5 * peer) }),
    series.row('commit, 1 client, p99, ms', 2),
    series.row('commits/s, 64 clients, 256 bytes', 0, { text: '≥ 1× etcd', isMet: against((ours, peer) => ours >= peer) }),
    series.row('64 clients, p50, ms', 1),
    series.row('64 clients, p99, ms', 1),
    series.row('CPU of all processes, ms per 1,000 commits', 0),
    series.row('of it the client, ms per 1,000 commits', 0),
    series.row('SIGKILL of the leader → next commit, ms', 0, { text: '≤ 300 ms and ≤ 0.25× etcd', isMet: (ours, peer) => ours <= 300 && (Number.isNaN(peer) || ours <= 0.25 * peer) }),
    series.row('restart with 100,000 entries in the log, start of the process → next commit, ms', 0, { text: '≤ 2,000 ms', isMet: (ours) => ours <= 2000 }),
    series.row('of it opening the log, ms', 0),
    series.row('restart after 100,000 entries with the default snapshots, ms', 0),
    series.row('core alone, commits/s, one proposal at a time', 0, { text: '≥ 50,000', isMet: (ours) => ours >= 50_000 }),
    series.row('core alone, commits/s, 64 proposals at a time', 0, { text: '≥ 50,000', isMet: (ours) => ours >= 50_000 })
  ]
}

const notesOf = ({ withPeers }: Context, hasEtcd: boolean): string[] => [
  'Ours runs the driver over the sealed overlay (Noise, yamux) with the timing of a node (`src/config.ts`); etcd speaks plain text between its members and to its client, with its default timing.',
  'Failover: from the moment of the kill, a put goes to each survivor every 5 ms without waiting for the ones before; the first that is acknowledged ends the round.',
  'Restart: a group of one, so that its election and its first commit are in the figure as well as the start of the process.',
  ...(hasEtcd ? [] : [withPeers ? 'etcd could not be run here.' : 'etcd was not run: `--peers` runs it.'])
]

/** A new group for each round, so that nothing of the one before is left in it. */
async function measureLoad (context: Context, room: Room, side: Side, round: number, series: Series): Promise<void> {
  const group = side === 'ours' ? await startOurs(room, 3) : await startEtcd(room, 3)
  try {
    const leader = await group.leader()
    for (let i = 0; i < WARM_UP; i++) await leader.put(keyOf(i), VALUE)
    const latencies = await puts(leader, 1, (done) => done < LATENCY_PUTS)
    series.add(side, 'commit, 1 client, p50, ms', percentile(latencies, 0.5))
    series.add(side, 'commit, 1 client, p99, ms', percentile(latencies, 0.99))

    await puts(leader, CLIENTS, (done) => done < 20 * WARM_UP)
    const pids = group.servers.map(({ pid }) => pid)
    const cpuBefore = cpuSeconds(pids)
    const clientBefore = process.cpuUsage()
    const startMs = performance.now()
    const loaded = await puts(leader, CLIENTS, () => performance.now() - startMs < THROUGHPUT_MS)
    const seconds = (performance.now() - startMs) / 1000
    const client = process.cpuUsage(clientBefore)
    const clientSeconds = (client.user + client.system) / 1e6
    series.add(side, 'commits/s, 64 clients, 256 bytes', loaded.length / seconds)
    series.add(side, '64 clients, p50, ms', percentile(loaded, 0.5))
    series.add(side, '64 clients, p99, ms', percentile(loaded, 0.99))
    series.add(side, 'CPU of all processes, ms per 1,000 commits', (cpuSeconds(pids) - cpuBefore + clientSeconds) * 1e6 / loaded.length)
    series.add(side, 'of it the client, ms per 1,000 commits', clientSeconds * 1e6 / loaded.length)
    context.log(`load ${side} ${round + 1}: p50 ${percentile(latencies, 0.5).toFixed(2)} ms, ${(loaded.length / seconds).toFixed(0)} commits/s`)
  } finally {
    await group.stop()
  }
}

const keyOf = (i: number): string => `k${i % 1000}`

/** @param goesOn - asked before each put. @returns the time that each took, ms */
async function puts (server: Server, clients: number, goesOn: (done: number) => boolean): Promise<number[]> {
  const times: number[] = []
  let begun = 0
  await Promise.all(Array.from({ length: clients }, async () => {
    while (goesOn(begun)) {
      const key = keyOf(begun++)
      const startMs = performance.now()
      await server.put(key, VALUE)
      times.push(performance.now() - startMs)
    }
  }))
  return times
}

async function measureFailover (context: Context, room: Room, sides: readonly Side[], series: Series): Promise<void> {
  const groups = new Map<Side, Group>()
  try {
    for (const side of sides) groups.set(side, side === 'ours' ? await startOurs(room, 3) : await startEtcd(room, 3))
    await interleave(Math.max(MIN_FAILOVERS, context.rounds), sides, async (side, round) => {
      const group = groups.get(side) as Group
      const leader = await group.leader()
      const survivors = group.servers.filter((server) => server !== leader)
      for (let i = 0; i < 50; i++) await leader.put(keyOf(i), VALUE)
      const ms = await failOver(leader, survivors)
      series.add(side, 'SIGKILL of the leader → next commit, ms', ms)
      context.log(`failover ${side} ${round + 1}: ${ms.toFixed(0)} ms`)
      await leader.restart()
      await pause(300 + Math.random() * 300)
    })
  } finally {
    for (const group of groups.values()) await group.stop()
  }
}

async function failOver (leader: Server, survivors: readonly Server[]): Promise<number> {
  const over = Promise.withResolvers<number>()
  const startMs = performance.now()
  const killed = leader.kill()
  const probe = setInterval(() => {
    for (const server of survivors) server.put('probe', VALUE).then(() => { over.resolve(performance.now() - startMs) }, () => {}) // nobody leads yet
  }, PROBE_MS)
  const timer = setTimeout(() => { over.reject(new Error(`no commit within ${FAILOVER_MS} ms`)) }, FAILOVER_MS)
  try {
    return await over.promise
  } finally {
    clearInterval(probe)
    clearTimeout(timer)
    await killed
    for (const server of survivors) server.disconnect()
  }
}

async function measureRestart (context: Context, room: Room, side: Side, series: Series): Promise<void> {
  if (side === 'ours') {
    for (const [measure, limits] of [
      ['restart with 100,000 entries in the log, start of the process → next commit, ms', { snapshotEntries: 10 * ENTRIES }],
      ['restart after 100,000 entries with the default snapshots, ms', {}]
    ] as const) {
      const group = await startOurs(room, 1, limits)
      const server = await group.leader()
      await server.load(ENTRIES, VALUE.length)
      await group.stop()
      for (let round = 0; round < context.rounds; round++) {
        const startMs = wallMs()
        const { child } = await room.fork('consensus-server.ts', [JSON.stringify({ ...server.settings, isProbing: true })])
        const acked = await child.told('acked')
        if ((acked.index as number) < ENTRIES) throw new Error(`the log ended at ${String(acked.index)}`)
        series.add(side, measure, acked.atMs as number - startMs)
        if (limits.snapshotEntries !== undefined) series.add(side, 'of it opening the log, ms', acked.openMs as number)
        context.log(`restart ours ${round + 1}: ${(acked.atMs as number - startMs).toFixed(0)} ms, log ${(acked.openMs as number).toFixed(0)} ms`)
        await child.kill()
      }
    }
    return
  }
  const group = await startEtcd(room, 1)
  const server = await group.leader()
  await puts(server, 4 * CLIENTS, (done) => done < ENTRIES)
  for (let round = 0; round < context.rounds; round++) {
    await server.kill()
    const startMs = performance.now()
    const restarting = server.restart()
    await eventually('etcd commits', FAILOVER_MS, async () => await server.put('probe', VALUE).then(() => true, () => { server.disconnect(); return false }), 2)
    const ms = performance.now() - startMs
    await restarting
    series.add(side, 'restart with 100,000 entries in the log, start of the process → next commit, ms', ms)
    context.log(`restart etcd ${round + 1}: ${ms.toFixed(0)} ms`)
  }
  await group.stop()
}
