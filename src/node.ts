/**
 * The composition root: makes every part, gives each what it needs, starts and stops them in order. Decides nothing itself.
 */
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { randomBytes } from 'node:crypto'
import { DEFAULT_TICKET_CAPABILITIES, DEFAULT_TICKET_TTL_MS, DEFAULT_TICKET_USES, createInvite } from '../keys/ticket.ts'
import { loadOrCreateIdentity } from '../keys/key-file.ts'
import type { PeerIdStr } from '../keys/ids.ts'
import { signStatement } from '../keys/statement.ts'
import { STATEMENT_DOMAINS } from '../protocols/ledger/constants.ts'
import { SignedStatement } from '../protocols/ledger/messages.js'
import { MemberRequest } from '../protocols/member/messages.js'
import type { Head } from '../protocols/sync/messages.js'
import type { ConclaveNode, InviteOptions, JobHandle, JobRequest, JoinOptions, LogEvent, NodeEvent } from './api.ts'
import { createExchange } from './blocks/exchange.ts'
import { openBlockStore } from './blocks/store.ts'
import type { BlockStore } from './blocks/store.ts'
import { DEFAULTS } from './config.ts'
import type { NodeConfig } from './config.ts'
import { createConsensus } from './consensus/driver.ts'
import { lockDataDir } from './data-dir.ts'
import { createDoorman } from './doorman.ts'
import { createEntrance } from './entrance.ts'
import { ConclaveError } from './errors.ts'
import { keepPorts, recallPorts } from './listen-ports.ts'
import { createLeader } from './leader/leader.ts'
import { createRoute } from './leader/route.ts'
import { createServices } from './leader/services.ts'
import { encodeRevocation } from './ledger/command.ts'
import { createLedger, findJob } from './ledger/state.ts'
import type { Ledger } from './ledger/state.ts'
import { rosterOf } from './ledger/view.ts'
import { acquireMembership } from './membership.ts'
import { createNeighbours, ticketAddrs } from './neighbours.ts'
import { createView } from './node-view.ts'
import { createFollow } from './observer/follow.ts'
import { createReplica } from './observer/replica.ts'
import { createReplicaFile } from './observer/replica-file.ts'
import { committedResults } from './observer/results.ts'
import { serveLedger } from './observer/serve.ts'
import { createOverlay } from './overlay/create.ts'
import { sealed } from './overlay/sealed.ts'
import { openOutbox } from './participant/outbox.ts'
import { createParticipant } from './participant/participant.ts'
import { resultPin } from './participant/attempt.ts'
import { createExecutors } from './participant/sandbox/executors.ts'
import { createRaftTransport } from './raft-transport.ts'
import { createHandle, describeEvent, resolveJob } from './submitter/handle.ts'
import { submitJob } from './submitter/submit.ts'

/** Largest snapshot of the ledger that travels between voters. */
const MAX_SNAPSHOT_BYTES = 64 << 20
/** A leader that stops waits this long for its successor. */
const TRANSFER_MS = 2000
const DEFAULT_LISTEN = ['/ip4/0.0.0.0/tcp/0']

/** The rest of `JoinOptions` is for people; these two are for tests and benchmarks. */
export interface NodeOptions extends JoinOptions {
  config?: NodeConfig
  /** wall clock, ms since 1970: what certificates and deadlines are held against */
  wallMs?: () => number
}

type Closers = Array<() => Promise<void> | void>

/**
 * Start a node: of the network that `dataDir` belongs to, of the ticket's network, or of a new one.
 *
 * @returns once it is a member: at once for one that was before, after its admission for a joiner
 * @throws TICKET_*, GRANT_USED_UP and the other refusals of the handshake, JOIN_TIMEOUT, DATA_DIR_IN_USE, KEY_FILE_*, LOG_*, LISTEN_FAILED,
 *   SANDBOX_*; the signal's reason. Nothing is left running then.
 */
export async function createNode (options: NodeOptions): Promise<ConclaveNode> {
  const config = options.config ?? DEFAULTS
  const log = options.log ?? (() => {})
  const closers: Closers = []
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer()
      } catch (error) {
        log({ level: 'error', event: 'stop:fail', reason: String(error) })
      }
    }
  }
  try {
    const disk = await openDisk(options, config, log, closers)
    const parts = await compose(options, config, log, disk, closers)
    const stop = stopOf(parts, close)
    react(parts, log, stop)
    await begin(parts, options)
    return apiOf(parts, stop)
  } catch (error) {
    await close()
    throw error
  }
}

/** What lies in the data directory, opened; nothing of it talks to anybody. */
async function openDisk (options: NodeOptions, config: NodeConfig, log: (event: LogEvent) => void, closers: Closers) {
  const { dataDir } = options
  const wallMs = options.wallMs ?? Date.now
  const lock = await lockDataDir(dataDir)
  closers.push(async () => { await lock.release() })
  const { identity } = await loadOrCreateIdentity(path.join(dataDir, 'identity.key'))
  const membership = await acquireMembership(dataDir, identity, options.ticket, wallMs())
  const store = await openBlockStore(path.join(dataDir, 'blocks'), { maxBytes: config.blocks.maxBytes, log })
  closers.push(async () => { await store.close() })
  const replica = createReplica(createLedger(membership.network))
  const replicaFile = createReplicaFile(path.join(dataDir, 'replica.snapshot'), replica, log)
  closers.push(async () => { await replicaFile.stop() })
  await replicaFile.load()
  const outbox = await openOutbox(path.join(dataDir, 'outbox'), { log })
  closers.push(async () => { await outbox.close() })
  return { dataDir, identity, membership, store, replica, outbox, wallMs }
}

/** Every part, given what it needs; timers run, but nothing listens yet. Parts refer to later ones only in callbacks. */
async function compose (options: NodeOptions, config: NodeConfig, log: (event: LogEvent) => void, disk: Awaited<ReturnType<typeof openDisk>>, closers: Closers) {
  const { dataDir, identity, membership, store, replica, outbox, wallMs } = disk
  const self = identity.peerId
  const nowMs = (): number => performance.now()
  const slots = options.slots ?? Math.max(1, availableParallelism() - 1)
  const listen = options.listen ?? DEFAULT_LISTEN
  const bootstrap = [...options.bootstrap ?? [], ...membership.bootstrap]

  const executors = await createExecutors({ slots: Math.max(1, slots), jail: options.sandbox ?? 'auto', log: ({ event, ...facts }) => { log({ level: 'info', event, ...facts }) } })
  closers.push(async () => { await executors.stop() })
  const doorman = createDoorman({
    membership,
    roster: () => ({ ...rosterOf(replica.ledger), index: replica.ledger.index }),
    admitMs: config.join.admitMs,
    nowMs: wallMs,
    toLeader: async (request, signal) => await route.call(services.member, request, { signal, deadlineMs: config.join.admitMs })
  })
  const overlay = createOverlay({
    identity,
    encrypter: sealed({
      fence: membership.fence,
      credentials: membership.credentials,
      judge: doorman.judge,
      onRefused: ({ code, reason, by, direction, remote, addr }) => { log({ level: 'info', event: 'peer:refuse', code, reason, by, direction, remote, addr }) }
    }),
    listen: await recallPorts(dataDir, listen),
    datastoreDir: dataDir,
    networkId: membership.network,
    isMember: doorman.isMember,
    can: doorman.can,
    log
  })
  closers.push(async () => { await overlay.stop() })
  const exchange = createExchange({ overlay, store, log })
  closers.push(() => { exchange.stop() })
  const consensus = await createConsensus({
    id: self,
    dir: path.join(dataDir, 'raft'),
    // a founder whose log is gone, but not its replica, must not found the network a second time
    ...(membership.founder && replica.ledger.index === 0 ? { bootstrapVoters: [self] } : {}),
    transport: await createRaftTransport(overlay, MAX_SNAPSHOT_BYTES),
    machine: { apply: (entries) => { replica.apply(entries) }, snapshot: () => replica.snapshot(), restore: (data, index) => { replica.restore(data, index) } },
    timing: { tickMs: config.raft.tickMs, electionTicks: config.raft.electionTicks, heartbeatTicks: config.raft.heartbeatTicks },
    limits: { snapshotEntries: config.raft.snapshotEntries, snapshotBytes: config.raft.snapshotBytes, maxPendingProposals: config.raft.maxPendingProposals },
    log
  })
  closers.push(async () => { await consensus.stop() })

  /** A voter or learner has the ledger from Raft; everybody else from gossip and repairs. */
  const isFedByRaft = (): boolean => {
    const { conf } = consensus.status()
    return [conf.voters, conf.votersOutgoing, conf.learners].some((ids) => ids.includes(self))
  }
  const news = createNews()
  const onHead = (head: Head, previous: Head): void => {
    if (head.leader === previous.leader && head.term === previous.term) return
    news.emit({ type: 'leader:change', term: head.term, leader: head.leader === '' ? null : head.leader })
    participant.advertise()
  }
  const follow = createFollow({ overlay, replica, config: config.follow, requestTimeoutMs: config.request.timeoutMs, isFedByRaft, nowMs, log, onHead: (head, previous) => { if (!isFedByRaft()) onHead(head, previous) } })
  closers.push(async () => { await follow.stop() })
  const head = (): Head => {
    if (!isFedByRaft()) return follow.head()
    const { term, leader, commitIndex, conf } = consensus.status()
    return { term, leader, commitIndex, voters: conf.voters }
  }
  const leader = createLeader({ overlay, consensus, replica, config, head, nowMs, wallMs, log })
  closers.push(async () => { await leader.stop() })
  const route = createRoute({ overlay, config: config.request, isLeading: leader.isLeading, leader: () => head().leader as PeerIdStr | '', voters: () => head().voters })
  const neighbours = createNeighbours({ overlay, members: () => replica.ledger.members.keys(), isMember: doorman.isMember, bootstrap, timeoutMs: config.request.timeoutMs, log })
  const services = createServices({ identity, credentials: membership.credentials, consensus, replica, onAdvertise: leader.onAdvertise, onHello: neighbours.onHello, nowMs: wallMs })
  const workers = (): PeerIdStr[] => overlay.peers().map(({ peerId }) => peerId).filter((peer) => replica.ledger.members.get(peer)?.capabilities.includes('work') === true)
  const participant = createParticipant({
    identity,
    self,
    network: membership.network,
    overlay,
    replica,
    outbox,
    store,
    exchange,
    executors,
    slots,
    config: config.participant,
    fetchTimeoutMs: config.participant.fetchTimeoutMs,
    copies: config.blocks.copies,
    holders: workers,
    head,
    toLeader: async (request, signal) => await route.call(services.work, request, { signal }),
    local: (request, signal) => leader.isLeading() ? services.work.handle(request, { from: self, signal }) : undefined,
    nowMs,
    log
  })
  closers.push(async () => { await participant.stop() })
  const entrance = createEntrance({ identity, membership, overlay, replica, consensus, config, bootstrap, member: services.member, route, wallMs, log })
  closers.push(() => { entrance.stop() })
  return { ...disk, config, listen, executors, doorman, overlay, exchange, consensus, isFedByRaft, news, onHead, follow, head, leader, route, neighbours, services, workers, participant, entrance, nowMs }
}

type Parts = Awaited<ReturnType<typeof compose>>

/** Who listens to the node's events. */
function createNews (): { emit: (event: NodeEvent) => void, on: (listener: (event: NodeEvent) => void) => () => void } {
  const listeners = new Set<(event: NodeEvent) => void>()
  return {
    emit: (event) => { for (const listener of [...listeners]) listener(event) },
    on (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    }
  }
}

/** What one part's events mean to the others. */
function react (parts: Parts, log: (event: LogEvent) => void, stop: () => Promise<void>): void {
  const { replica, doorman, neighbours, overlay, store, news, consensus, follow, leader, participant, head, isFedByRaft } = parts
  replica.onChange((events) => {
    if (events.length === 0 || events.some(({ type }) => type.startsWith('member:'))) {
      doorman.settle()
      neighbours.refresh()
    }
    for (const event of events) {
      if (event.type === 'member:admit' || event.type === 'member:revoke') news.emit({ type: event.type, peerId: event.peerId })
      if (event.type === 'member:revoke') overlay.disconnect(event.peerId).catch((error: unknown) => { log({ level: 'warn', event: 'revoke:fail', reason: String(error) }) })
      if (event.type === 'job:done' || event.type === 'job:fail' || event.type === 'job:cancel') store.unpin(event.job)
      if (event.type === 'job:forget') store.unpin(resultPin(event.job))
      const told = describeEvent(replica.ledger, event)
      if (told !== undefined) news.emit(told)
    }
  })
  overlay.onPeer(({ type, peerId }) => {
    if (type === 'peer:connect') {
      neighbours.greet(peerId)
      if (head().leader === peerId) participant.advertise()
    } else {
      consensus.peerLost(peerId)
      follow.onPeerLost(peerId)
      leader.onPeerLost(peerId)
    }
    news.emit({ type, peerId })
  })
  let seen: Head = head()
  consensus.onEvent((event) => {
    if (event.type === 'leader:change' || event.type === 'commit') {
      const now = head()
      if (isFedByRaft()) parts.onHead(now, seen)
      seen = now
    }
    if (event.type === 'stopped' && event.error !== undefined) {
      const failure = { code: event.error instanceof ConclaveError ? event.error.code : 'INTERNAL', reason: event.error.message }
      log({ level: 'error', event: 'node:fail', ...failure })
      news.emit({ type: 'node:fail', ...failure })
      void stop()
    }
  })
}

/** Listen, talk, come in, work: in this order. Every handler is in place before the first peer may connect. */
async function begin (parts: Parts, options: NodeOptions): Promise<void> {
  const { route, services, overlay, consensus, head, exchange, dataDir, listen, follow, neighbours, entrance, participant, store, replica } = parts
  for (const service of [services.job, services.member, services.work]) await route.serve(service)
  await serveLedger({ overlay, consensus, head })
  await exchange.serve()
  pinNeeded(store, replica.ledger)
  await overlay.start()
  await keepPorts(dataDir, listen, overlay.addrs())
  consensus.start()
  await follow.start()
  neighbours.refresh()
  await entrance.enter(options.signal)
  participant.start()
}

/** Pins live in memory: after a restart, what the ledger needs is pinned again. */
function pinNeeded (store: BlockStore, ledger: Ledger): void {
  for (const job of ledger.running.values()) {
    for (const cid of [job.spec.code.cid, ...job.spec.inputs.map((input) => input.cid)]) store.pin(cid, job.id)
    for (const stage of job.stages) for (const task of stage.tasks) if (task.state === 'done') for (const { cid } of task.outputs) store.pin(cid, job.id)
  }
  for (const job of ledger.ended.values()) for (const { outputs } of job.results) for (const { cid } of outputs) store.pin(cid, resultPin(job.id))
}

/** Leadership is handed over first, so that nobody has to notice that it is gone. */
function stopOf ({ consensus }: Parts, close: () => Promise<void>): () => Promise<void> {
  let stopped: Promise<void> | undefined
  return async () => {
    stopped ??= (async () => {
      const { role, conf } = consensus.status()
      if (role === 'leader' && conf.voters.length > 1) await consensus.transferLeadership(undefined, AbortSignal.timeout(TRANSFER_MS)).catch(() => {}) // then they elect one
      await close()
    })()
    await stopped
  }
}

function apiOf (parts: Parts, stop: () => Promise<void>): ConclaveNode {
  const { identity, membership, dataDir, replica, store, exchange, executors, overlay, route, services, config, workers, news, wallMs } = parts
  const view = createView(parts)
  const send = async (request: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> => await route.call(services.job, request, signal === undefined ? {} : { signal })
  const handleInit = { identity, network: membership.network, replica, store, exchange, send, waiting: view.waitingOf, wallMs }
  return {
    peerId: identity.peerId,
    network: membership.network,
    dataDir,
    addrs: () => overlay.addrs(),
    status: view.status,
    peers: view.peers,
    jobs: view.jobs,
    invite: async (invite) => makeInvite(parts, invite ?? {}),
    revoke: async (peerId) => { await revoke(parts, peerId) },
    async submit (request: JobRequest, { signal }: { signal?: AbortSignal } = {}): Promise<JobHandle> {
      const ended = signal ?? new AbortController().signal
      const id = await submitJob({ identity, network: membership.network, store, exchange, executors, copies: config.blocks.copies, holders: workers, send, wallMs }, request, ended)
      // the leader has it; our own replica follows within a round trip
      while (findJob(replica.ledger, id) === undefined) await replica.changed(ended)
      return createHandle(handleInit, id)
    },
    job: (text) => createHandle(handleInit, resolveJob(replica.ledger, text)),
    observe: ({ from = 0, signal } = {}) => committedResults(replica, from, signal ?? new AbortController().signal),
    on: news.on,
    stop,
    [Symbol.asyncDispose]: stop
  }
}

/** Returns once this node's own replica has it too. */
async function revoke ({ identity, membership, replica, route, services, wallMs }: Parts, peerId: string): Promise<void> {
  const peer = peerId as PeerIdStr
  if (replica.ledger.revoked.has(peer)) return
  if (!replica.ledger.members.has(peer)) throw new ConclaveError('MEMBER_UNKNOWN', `${peerId} is no member of this network`, { next: 'conclave peers' })
  const statement = signStatement(identity, STATEMENT_DOMAINS.revocation, encodeRevocation(membership.network, peer, wallMs()))
  const signed = SignedStatement.encode({ ...statement, payload: new Uint8Array(statement.payload), signature: new Uint8Array(statement.signature) })
  const issuerChain = membership.credentials().chain.map((link) => new Uint8Array(link))
  await route.call(services.member, MemberRequest.encode({ hops: 0, revoke: { signed, issuerChain } }))
  while (!replica.ledger.revoked.has(peer)) await replica.changed()
}

/** A ticket names this node and other members that are up, so that it opens the door when this node is down. */
function makeInvite ({ identity, membership, overlay, neighbours, wallMs }: Parts, options: InviteOptions): string {
  const own = overlay.addrs()
  const others = overlay.peers().map(({ peerId }) => neighbours.addrsOf(peerId))
  const addrs = ticketAddrs(own, others)
  if (own.length === 0) throw new ConclaveError('NO_ADDRESS', 'this node listens nowhere, so nobody could reach it', { next: 'conclave up --listen /ip4/0.0.0.0/tcp/4001' })
  const { chain } = membership.credentials()
  return createInvite({
    identity,
    chain,
    network: membership.network,
    fence: membership.fence,
    addrs,
    capabilities: options.capabilities ?? DEFAULT_TICKET_CAPABILITIES,
    uses: options.uses ?? DEFAULT_TICKET_USES,
    ttlMs: options.ttlMs ?? DEFAULT_TICKET_TTL_MS,
    nowMs: wallMs(),
    seed: randomBytes(32)
  })
}
