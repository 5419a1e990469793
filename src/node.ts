/**
 * The composition root: makes every part, gives each what it needs, starts and stops them in order. Decides nothing itself.
 */
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { randomBytes } from 'node:crypto'
import { DEFAULT_TICKET_CAPABILITIES, DEFAULT_TICKET_TTL_MS, DEFAULT_TICKET_USES, MAX_TICKET_ADDRS, createInvite } from '../keys/ticket.ts'
import { loadOrCreateIdentity } from '../keys/key-file.ts'
import type { Identity } from '../keys/identity.ts'
import type { PeerIdStr } from '../keys/ids.ts'
import type { Head } from '../protocols/sync/messages.js'
import type { ConclaveNode, InviteOptions, JobHandle, JobRequest, JoinOptions, LogEvent, NodeEvent } from './api.ts'
import { createExchange } from './blocks/exchange.ts'
import { openBlockStore } from './blocks/store.ts'
import { DEFAULTS } from './config.ts'
import type { NodeConfig } from './config.ts'
import { createConsensus } from './consensus/driver.ts'
import type { Consensus } from './consensus/consensus.ts'
import { lockDataDir } from './data-dir.ts'
import { createDoorman } from './doorman.ts'
import { createEntrance } from './entrance.ts'
import { ConclaveError } from './errors.ts'
import { keepPorts, recallPorts } from './listen-ports.ts'
import { createLeader } from './leader/leader.ts'
import { createRoute } from './leader/route.ts'
import { createServices } from './leader/services.ts'
import { createLedger } from './ledger/state.ts'
import { rosterOf } from './ledger/view.ts'
import { acquireMembership } from './membership.ts'
import { createNeighbours } from './neighbours.ts'
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
const MAX_SNAPSHOT_BYTES = 256 << 20
const DEFAULT_LISTEN = ['/ip4/0.0.0.0/tcp/0']

/** `config` is for tests and benchmarks; a person has no use for it. */
export interface NodeOptions extends JoinOptions { config?: NodeConfig }

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
  const closers: Array<() => Promise<void> | void> = []
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
    return await compose(options, config, log, closers, close)
  } catch (error) {
    await close()
    throw error
  }
}

async function compose (options: NodeOptions, config: NodeConfig, log: (event: LogEvent) => void, closers: Array<() => Promise<void> | void>, close: () => Promise<void>): Promise<ConclaveNode> {
  const { dataDir } = options
  const nowMs = (): number => performance.now()
  const wallMs = (): number => Date.now()
  const lock = await lockDataDir(dataDir)
  closers.push(async () => { await lock.release() })
  const { identity } = await loadOrCreateIdentity(path.join(dataDir, 'identity.key'))
  const self = identity.peerId
  const membership = await acquireMembership(dataDir, identity, options.ticket, wallMs())
  const listen = options.listen ?? DEFAULT_LISTEN
  const slots = options.slots ?? Math.max(1, availableParallelism() - 1)

  const store = await openBlockStore(path.join(dataDir, 'blocks'), { maxBytes: config.blocks.maxBytes, log: blockLog(log) })
  closers.push(async () => { await store.close() })
  const executors = await createExecutors({ slots: Math.max(1, slots), jail: options.sandbox ?? 'auto', log: ({ event, ...facts }) => { log({ level: 'info', event, ...facts }) } })
  closers.push(async () => { await executors.stop() })

  const replica = createReplica(createLedger(membership.network))
  const replicaFile = createReplicaFile(path.join(dataDir, 'replica.snapshot'), replica, log)
  closers.push(async () => { await replicaFile.stop() })
  await replicaFile.load()
  const roster = () => ({ ...rosterOf(replica.ledger), index: replica.ledger.index })

  const doorman = createDoorman({
    membership,
    roster,
    admitMs: config.join.admitMs,
    nowMs: wallMs,
    toLeader: async (request, signal) => await route.call(services.member, request, { signal, deadlineMs: config.join.admitMs })
  })
  const overlay = createOverlay({
    identity,
    encrypter: sealed({ fence: membership.fence, credentials: membership.credentials, judge: doorman.judge, onRefused: (refusal) => { log({ level: 'info', event: 'peer:refuse', code: refusal.code, reason: refusal.reason, by: refusal.by, direction: refusal.direction, remote: refusal.remote, addr: refusal.addr }) } }),
    listen: await recallPorts(dataDir, listen),
    datastoreDir: dataDir,
    networkId: membership.network,
    isMember: doorman.isMember,
    can: doorman.can,
    log
  })
  closers.push(async () => { await overlay.stop() })
  const exchange = createExchange({ overlay, store, log: blockLog(log) })

  const consensus: Consensus = await createConsensus({
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

  const isFedByRaft = (): boolean => {
    const { conf } = consensus.status()
    return conf.voters.includes(self) || conf.votersOutgoing.includes(self) || conf.learners.includes(self)
  }
  const listeners = new Set<(event: NodeEvent) => void>()
  const emit = (event: NodeEvent): void => { for (const listener of [...listeners]) listener(event) }
  const onHead = (head: Head, previous: Head): void => {
    if (head.leader === previous.leader && head.term === previous.term) return
    emit({ type: 'leader:change', term: head.term, leader: head.leader === '' ? null : head.leader })
    participant.advertise()
  }
  const follow = createFollow({ overlay, replica, config: config.follow, requestTimeoutMs: config.request.timeoutMs, isFedByRaft, nowMs, log, onHead: (head, previous) => { if (!isFedByRaft()) onHead(head, previous) } })
  closers.push(async () => { await follow.stop() })
  const head = (): Head => {
    if (!isFedByRaft()) return follow.head()
    const { term, leader, commitIndex, conf } = consensus.status()
    return { term, leader, commitIndex, voters: conf.voters }
  }
  const leader = createLeader({ network: membership.network, overlay, consensus, replica, config, head, nowMs, log })
  closers.push(async () => { await leader.stop() })
  const route = createRoute({ overlay, config: config.request, isLeading: leader.isLeading, leader: () => head().leader as PeerIdStr | '', voters: () => head().voters })
  const neighbours = createNeighbours({ overlay, members: () => replica.ledger.members.keys(), isMember: doorman.isMember, bootstrap: [...membership.bootstrap, ...options.bootstrap ?? []], timeoutMs: config.request.timeoutMs, log })
  const services = createServices({ identity, credentials: membership.credentials, consensus, replica, onAdvertise: leader.onAdvertise, onHello: neighbours.onHello, nowMs: wallMs })
  const workers = (): PeerIdStr[] => overlay.peers().map(({ peerId }) => peerId).filter((peer) => replica.ledger.members.get(peer)?.capabilities.includes('work') === true)

  const outbox = await openOutbox(path.join(dataDir, 'outbox'), { log })
  closers.push(async () => { await outbox.close() })
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

  // everything that listens is in place before the first peer may connect
  for (const service of [services.job, services.member, services.work]) await route.serve(service)
  await serveLedger({ overlay, consensus, head })
  await exchange.serve()
  closers.push(async () => { await exchange.stop() })
  replica.onChange((events) => {
    if (events.length === 0 || events.some(({ type }) => type.startsWith('member:'))) {
      doorman.settle()
      neighbours.refresh()
    }
    for (const event of events) {
      if (event.type === 'member:admit' || event.type === 'member:revoke') emit({ type: event.type, peerId: event.peerId })
      if (event.type === 'member:revoke') overlay.disconnect(event.peerId).catch((error: unknown) => { log({ level: 'warn', event: 'revoke:fail', reason: String(error) }) })
      if (event.type === 'job:done' || event.type === 'job:fail' || event.type === 'job:cancel') store.unpin(event.job)
      if (event.type === 'job:forget') store.unpin(resultPin(event.job))
      const told = describeEvent(replica.ledger, event)
      if (told !== undefined) emit(told)
    }
  })
  overlay.onPeer(({ type, peerId }) => {
    if (type === 'peer:connect') {
      neighbours.greet(peerId)
      if (head().leader === peerId) participant.advertise()
    } else {
      consensus.peerLost(peerId)
      follow.onPeerLost(peerId)
      leader.kick()
    }
    emit({ type, peerId })
  })
  let seen: Head = head()
  consensus.onEvent((event) => {
    if (event.type === 'leader:change' || event.type === 'commit') {
      const now = head()
      if (isFedByRaft()) onHead(now, seen)
      seen = now
    }
    if (event.type === 'stopped' && event.error !== undefined) {
      log({ level: 'error', event: 'node:fail', code: event.error instanceof ConclaveError ? event.error.code : 'INTERNAL', reason: event.error.message })
      void stop()
    }
  })

  await overlay.start()
  await keepPorts(dataDir, listen, overlay.addrs())
  consensus.start()
  await follow.start()
  neighbours.refresh()

  const entrance = createEntrance({ identity, membership, overlay, replica, consensus, config, bootstrap: [...options.bootstrap ?? [], ...membership.bootstrap], member: services.member, route, wallMs, log })
  closers.push(() => { entrance.stop() })
  await entrance.enter(options.signal)
  participant.start()

  let stopped: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    stopped ??= (async () => {
      if (consensus.status().role === 'leader') await consensus.transferLeadership(undefined, AbortSignal.timeout(2000)).catch((error: unknown) => { log({ level: 'info', event: 'transfer:fail', reason: String(error) }) })
      await close()
    })()
    await stopped
  }
  const view = createView({ identity, membership, overlay, replica, consensus, leader, participant, executors, store, neighbours, head, isFedByRaft, nowMs })
  const handleInit = {
    identity,
    network: membership.network,
    replica,
    store,
    exchange,
    send: async (request: Uint8Array, signal: AbortSignal | undefined) => await route.call(services.job, request, signal === undefined ? {} : { signal }),
    waiting: view.waitingOf
  }

  return {
    peerId: self,
    network: membership.network,
    dataDir,
    addrs: () => overlay.addrs(),
    status: view.status,
    peers: view.peers,
    jobs: view.jobs,
    invite: async (invite) => makeInvite(identity, membership, overlay.addrs(), invite ?? {}),
    async submit (request: JobRequest, { signal }: { signal?: AbortSignal } = {}): Promise<JobHandle> {
      const ended = signal ?? new AbortController().signal
      const id = await submitJob({ identity, network: membership.network, store, exchange, executors, copies: config.blocks.copies, holders: workers, send: handleInit.send }, request, ended)
      // the leader has it; our own replica follows within a round trip
      while (!replica.ledger.running.has(id) && !replica.ledger.ended.has(id)) await replica.changed(ended)
      return createHandle(handleInit, id)
    },
    job: (text) => createHandle(handleInit, resolveJob(replica.ledger, text)),
    observe: ({ from = 0, signal } = {}) => committedResults(replica, from, signal ?? new AbortController().signal),
    on (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    stop,
    [Symbol.asyncDispose]: stop
  }
}

function makeInvite (identity: Identity, membership: Awaited<ReturnType<typeof acquireMembership>>, addrs: string[], options: InviteOptions): string {
  if (addrs.length === 0) throw new ConclaveError('NO_ADDRESS', 'this node listens nowhere, so nobody could reach it', { next: 'conclave up --listen /ip4/0.0.0.0/tcp/4001' })
  const { chain } = membership.credentials()
  return createInvite({
    identity,
    chain,
    network: membership.network,
    fence: membership.fence,
    addrs: addrs.slice(0, MAX_TICKET_ADDRS),
    capabilities: options.capabilities ?? DEFAULT_TICKET_CAPABILITIES,
    uses: options.uses ?? DEFAULT_TICKET_USES,
    ttlMs: options.ttlMs ?? DEFAULT_TICKET_TTL_MS,
    nowMs: Date.now(),
    seed: randomBytes(32)
  })
}

const blockLog = (log: (event: LogEvent) => void) => (event: { level?: LogEvent['level'], event?: string, [fact: string]: unknown }): void => {
  log({ level: 'info', event: 'block:event', ...event })
}
