/**
 * The leader's work while this node leads: plan, propose, tell. Planning is pure (`plan.ts`); here are its clock, its view of the
 * participants, and the order of things: one plan at a time, each made from a ledger that holds the one before.
 */
import { Command } from '../../protocols/ledger/messages.js'
import type { PeerIdStr } from '../../keys/ids.ts'
import { Notice } from '../../protocols/sync/messages.js'
import type { CommittedEntry, Head } from '../../protocols/sync/messages.js'
import type { Advertise } from '../../protocols/work/messages.js'
import type { LogEvent } from '../api.ts'
import type { NodeConfig } from '../config.ts'
import { nextConfChange } from '../consensus/autopilot.ts'
import type { AppliedEntry, Consensus } from '../consensus/consensus.ts'
import { ConclaveError } from '../errors.ts'
import { assignCommand, failCommand, releaseCommand } from '../ledger/command.ts'
import type { Replica } from '../observer/replica.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { explain } from './explain.ts'
import type { Explanation } from './explain.ts'
import { PLAN_OPTIONS, type PlanOptions } from './plan-options.ts'
import { createPlanMemory, plan } from './plan.ts'
import type { ParticipantView, PlanMemory } from './plan.ts'

/** Entries of one notice, bytes; what does not fit is left to the catch-up stream, and only the head is told. */
const MAX_NOTICE_BYTES = 48 << 10

export interface LeaderInit {
  overlay: Overlay
  consensus: Consensus
  replica: Replica
  config: NodeConfig
  head: () => Head
  nowMs: () => number
  wallMs: () => number
  log: (event: LogEvent) => void
}

export interface Leader {
  /** This node leads, and its replica holds everything that was committed before it was elected. */
  isLeading (): boolean
  /** A participant is alive and has so many slots. */
  onAdvertise (from: PeerIdStr, advertised: Advertise): void
  /** A connection closed: also before this node led. */
  onPeerLost (peer: PeerIdStr): void
  /** Why what is not running does not; empty unless leading. */
  explain (): readonly Explanation[]
  stop (): Promise<void>
}

interface Seen { slots: number, isDraining: boolean, atMs: number }

/** Participants that the leader remembers; who was heard of longest ago is forgotten first. */
const MAX_SEEN = 1024

export function createLeader (init: LeaderInit): Leader {
  const { consensus, replica, overlay, config, nowMs } = init
  const stopping = new AbortController()
  const options: PlanOptions = { ...PLAN_OPTIONS, graceMs: config.leader.goneGraceMs, leaseMarginMs: config.leader.leaseSlackMs }
  const seen = new Map<PeerIdStr, Seen>()
  // whose connection this node saw close: gone, where somebody it never met may only be late to find a new leader
  const lost = new Set<PeerIdStr>()
  let memory: PlanMemory = createPlanMemory()
  let memoryTerm = 0
  let planning: Promise<void> = Promise.resolve()
  let wanted = false
  let busy = false
  let wake: NodeJS.Timeout | undefined

  const isLeading = (): boolean => {
    const { role, term } = consensus.status()
    return role === 'leader' && replica.ledger.term === term
  }

  /**
   * Who advertised to this node, and who is only connected (it may hold blocks), sorted by peer id. How long somebody may be away, `plan`
   * judges with its grace.
   */
  function participants (): ParticipantView[] {
    const now = nowMs()
    const views: ParticipantView[] = [...seen].map(([peerId, { slots, isDraining, atMs }]) => {
      const isConnected = (peerId === overlay.peerId || overlay.isConnected(peerId)) && now - atMs < config.leader.silentMs
      return { peerId, slots, isDraining, isConnected }
    })
    for (const { peerId } of overlay.peers()) {
      if (!seen.has(peerId)) views.push({ peerId, slots: 0, isDraining: false, isConnected: true })
    }
    for (const peerId of lost) {
      if (!seen.has(peerId) && !overlay.isConnected(peerId)) views.push({ peerId, slots: 0, isDraining: false, isConnected: false })
    }
    return views.sort((a, b) => a.peerId < b.peerId ? -1 : 1)
  }

  async function planOnce (): Promise<void> {
    const { term } = consensus.status()
    if (memoryTerm !== term) {
      memory = createPlanMemory()
      memoryTerm = term
    }
    const { assignments, releases, ends, wakeAtMs } = plan(replica.ledger, participants(), { nowMs: nowMs(), wallMs: init.wallMs() }, memory, options)
    if (wakeAtMs !== undefined) wakeIn(wakeAtMs - nowMs())
    const proposals = [
      ...ends.map((end) => failCommand(end.job, end.code, end.reason)),
      ...(releases.length > 0 ? [releaseCommand(term, releases)] : []),
      ...(assignments.length > 0 ? [assignCommand(term, assignments)] : [])
    ]
    await Promise.all(proposals.map(async (command) => await consensus.propose(command, stopping.signal)))
    if (proposals.length > 0) wanted = true
  }

  /** Plan again after so many milliseconds, or at the next tick if that is sooner. */
  function wakeIn (ms: number): void {
    clearTimeout(wake)
    if (ms < config.leader.planMs) wake = setTimeout(kick, Math.max(1, ms))
  }

  function kick (): void {
    wanted = true
    if (busy || stopping.signal.aborted) return
    busy = true
    planning = planAll()
  }

  async function planAll (): Promise<void> {
    // everything that arrives in this turn of the event loop is planned together
    await new Promise<void>((resolve) => setImmediate(resolve))
    try {
      while (wanted && isLeading() && !stopping.signal.aborted) {
        wanted = false
        await planOnce()
      }
    } catch (error) {
      // the next tick or commit tries again
      if (!stopping.signal.aborted) init.log({ level: 'info', event: 'plan:fail', code: error instanceof ConclaveError ? error.code : 'INTERNAL', reason: String(error) })
    }
    busy = false // in the same turn as the last look at `wanted`
  }

  /** Tell everybody what was committed: assignments on `tasks`, the rest on `results`. */
  function announce (entries: readonly AppliedEntry[]): void {
    const tasks: CommittedEntry[] = []
    const results: CommittedEntry[] = []
    for (const { index, term, data } of entries) {
      const entry = { index, term, data: new Uint8Array(data) }
      ;(isAssign(data) ? tasks : results).push(entry)
    }
    publish('tasks', tasks)
    publish('results', results)
  }

  function publish (topic: 'tasks' | 'results', entries: CommittedEntry[]): void {
    if (entries.length === 0) return
    const bytes = entries.reduce((sum, entry) => sum + entry.data.length + 32, 0)
    send(topic, bytes <= MAX_NOTICE_BYTES ? entries : [])
  }

  function send (topic: 'tasks' | 'results', entries: CommittedEntry[]): void {
    const head = init.head()
    overlay.publish(topic, Notice.encode({ head, entries }), head.term).catch((error: unknown) => {
      if (!stopping.signal.aborted) init.log({ level: 'warn', event: 'notice:fail', topic, reason: String(error) })
    })
  }

  async function autopilot (): Promise<void> {
    const status = consensus.status()
    const eligible = [...replica.ledger.members].filter(([peer, member]) => member.capabilities.includes('vote') && (peer === overlay.peerId || overlay.isConnected(peer))).map(([peer]) => peer)
    const changes = nextConfChange({ self: overlay.peerId, eligible, conf: status.conf, progress: status.progress, lastIndex: status.lastIndex, target: config.raft.targetVoters })
    if (changes.length === 0) return
    init.log({ level: 'info', event: 'voters:change', changes })
    await consensus.changeMembers(changes, stopping.signal)
  }

  let changingVoters = false
  const timers = [
    setInterval(kick, config.leader.planMs),
    setInterval(() => { if (isLeading()) send('results', []) }, config.leader.headMs),
    setInterval(() => {
      if (!isLeading() || changingVoters) return
      changingVoters = true
      autopilot()
        .catch((error: unknown) => { if (!stopping.signal.aborted) init.log({ level: 'info', event: 'voters:fail', reason: String(error) }) })
        .finally(() => { changingVoters = false })
    }, config.leader.autopilotMs)
  ]
  const offEvents = consensus.onEvent((event) => {
    if (event.type !== 'commit' || consensus.status().role !== 'leader') return
    announce(event.entries)
    kick()
  })

  return {
    isLeading,
    onAdvertise (from, advertised) {
      const known = seen.get(from)
      seen.delete(from)
      if (seen.size >= MAX_SEEN) seen.delete(seen.keys().next().value as PeerIdStr)
      seen.set(from, { slots: advertised.slots, isDraining: advertised.draining, atMs: nowMs() })
      if (known === undefined || known.slots !== advertised.slots || known.isDraining !== advertised.draining) kick()
    },
    onPeerLost (peer) {
      lost.delete(peer)
      lost.add(peer)
      if (lost.size > MAX_SEEN) lost.delete(lost.values().next().value as PeerIdStr)
      kick()
    },
    explain: () => isLeading() ? explain(replica.ledger, participants(), memory, nowMs(), options) : [],
    async stop () {
      stopping.abort(new ConclaveError('NODE_STOPPED', 'the node is stopping'))
      timers.forEach((timer) => { clearInterval(timer) })
      clearTimeout(wake)
      offEvents()
      await planning
    }
  }
}

function isAssign (data: Uint8Array): boolean {
  // field 4 (`assign`) of Command, length-delimited: the whole entry is one field, so its first byte tells
  return data[0] === ((4 << 3) | 2) && Command.decode(data).assign !== undefined
}
