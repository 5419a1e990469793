/** What a node shows of itself: status, peers, jobs, and why something waits. */
import type { Identity } from '../keys/identity.ts'
import type { PeerIdStr } from '../keys/ids.ts'
import type { Head } from '../protocols/sync/messages.js'
import type { JobInfo, NodeRole, NodeStatus, PeerInfo, Waiting } from './api.ts'
import type { BlockStore } from './blocks/store.ts'
import type { Consensus } from './consensus/consensus.ts'
import type { Leader } from './leader/leader.ts'
import { explain } from './leader/explain.ts'
import type { Explanation } from './leader/explain.ts'
import { createPlanMemory } from './leader/plan.ts'
import type { JobId } from './ledger/state.ts'
import type { Membership } from './membership.ts'
import type { Neighbours } from './neighbours.ts'
import type { Replica } from './observer/replica.ts'
import type { Overlay } from './overlay/overlay.ts'
import type { Participant } from './participant/participant.ts'
import type { Executors } from './participant/sandbox/executors.ts'
import { describeJob } from './submitter/handle.ts'

export interface ViewInit {
  identity: Identity
  membership: Membership
  overlay: Overlay
  replica: Replica
  consensus: Consensus
  leader: Leader
  participant: Participant
  executors: Executors
  store: BlockStore
  neighbours: Neighbours
  head: () => Head
  isFedByRaft: () => boolean
  nowMs: () => number
}

export interface View {
  status (): NodeStatus
  peers (): PeerInfo[]
  jobs (): JobInfo[]
  waitingOf (job: JobId): string | undefined
}

export function createView (init: ViewInit): View {
  const { identity, overlay, replica, consensus, head } = init
  const self = identity.peerId

  function role (): NodeRole {
    const { role: raftRole, conf } = consensus.status()
    if (raftRole === 'leader') return 'leader'
    if (conf.voters.includes(self)) return 'follower'
    return conf.learners.includes(self) ? 'learner' : 'member'
  }

  /** The leader knows; everybody else says what its own connections suggest. */
  function explanations (): readonly Explanation[] {
    if (replica.ledger.running.size === 0) return []
    if (init.leader.isLeading()) return init.leader.explain()
    const here = [{ peerId: self, slots: init.participant.slots, isDraining: false, isConnected: true },
      ...overlay.peers().map(({ peerId }) => ({ peerId, slots: 1, isDraining: false, isConnected: true }))]
    return explain(replica.ledger, here, createPlanMemory(), init.nowMs())
  }

  function leaderless (): Waiting | undefined {
    const { leader, voters } = head()
    if (leader !== '') return undefined
    const up = voters.filter((peer) => peer === self || overlay.isConnected(peer as PeerIdStr)).length
    const why = voters.length === 0
      ? 'no member of the network is connected'
      : `${up} of ${voters.length} voters are connected and ${Math.floor(voters.length / 2) + 1} are needed to elect a leader`
    return { what: 'leader', why, next: 'start the missing machines with `conclave up`; `conclave peers` shows which' }
  }

  function waiting (): Waiting[] {
    const none = leaderless()
    const jobs = explanations().flatMap(({ job, reasons }) => reasons.filter(({ code, next }) => code !== 'RUNNING' && next !== '').map(({ tasks, reason, next }) => ({ what: `job ${job}, ${tasks} tasks`, why: reason, next })))
    return none === undefined ? jobs : [none, ...jobs]
  }

  function waitingOf (job: JobId): string | undefined {
    const running = replica.ledger.running.get(job)
    if (running === undefined || running.stages.some((stage) => stage.assigned.size > 0)) return undefined
    const none = leaderless()
    if (none !== undefined) return `no leader: ${none.why}`
    const reasons = explanations().find((explanation) => explanation.job === job)?.reasons ?? []
    return reasons.map(({ reason }) => reason).join('; ') || undefined
  }

  return {
    waitingOf,
    status () {
      const { term, leader, voters, commitIndex } = head()
      const jobs = { running: replica.ledger.running.size, finished: 0, failed: 0, cancelled: 0 }
      for (const { status } of replica.ledger.ended.values()) jobs[status === 'succeeded' ? 'finished' : status]++
      const { bytes, maxBytes, count } = init.store.usage()
      const { layers, fallbacks } = init.executors.layers
      return {
        peerId: self,
        network: init.membership.network,
        role: role(),
        term,
        leader: leader === '' ? null : leader,
        voters: [...voters],
        members: replica.ledger.members.size,
        commitIndex: Math.max(commitIndex, replica.ledger.index),
        appliedIndex: replica.ledger.index,
        jobs,
        sandbox: { layers: [...layers], ...(fallbacks.length === 0 ? {} : { missing: [...fallbacks] }) },
        slots: { total: init.participant.slots, busy: init.participant.busy() },
        blocks: { bytes, maxBytes, count },
        waiting: waiting()
      }
    },
    peers () {
      const { leader, voters } = head()
      const connected = new Map(overlay.peers().map((peer) => [peer.peerId, peer]))
      return [...replica.ledger.members].filter(([peerId]) => peerId !== self).map(([peerId, member]) => ({
        peerId,
        connected: connected.has(peerId),
        addrs: init.neighbours.addrsOf(peerId),
        rttMs: connected.get(peerId)?.rttMs ?? null,
        capabilities: [...member.capabilities],
        voter: voters.includes(peerId),
        leader: leader === peerId,
        notAfter: member.notAfterMs
      }))
    },
    jobs () {
      const ids = [...replica.ledger.ended.keys(), ...replica.ledger.running.keys()]
      return ids.map((id) => describeJob(replica.ledger, id, waitingOf(id))).sort((a, b) => b.submittedAt - a.submittedAt)
    }
  }
}
