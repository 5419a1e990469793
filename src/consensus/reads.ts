/**
 * ReadIndex: linearizable reads without a log entry and without trust in clocks. Source: thesis §6.4.
 *
 * The leader notes its commit index, once it has committed in its term (before that it may not know what is committed; with one
 * voter, too), then lets a quorum confirm by heartbeat that it still leads. Reads are numbered; one heartbeat confirms all up to its
 * number.
 */
import { send } from './core.ts'
import type { Core } from './core.ts'
import type { Progress } from './progress.ts'
import { jointIndex } from './quorum.ts'
import type { DropReason, Message, RaftId } from './types.ts'

/** At any node, for itself: see `Raft.readIndex`. */
export function readIndex (core: Core, context: Uint8Array): void {
  if (core.role === 'leader') requestRead(core, core.id, context)
  else if (core.leader !== '') send(core, 'readIndex', core.leader, { context })
  else refuse(core, core.id, context, 'noLeader')
}

export function handleReadIndex (core: Core, message: Message): void {
  if (core.role === 'leader') requestRead(core, message.from, message.context)
  else refuse(core, message.from, message.context, 'noLeader')
}

export function handleReadIndexReply (core: Core, message: Message): void {
  const { index, context } = message
  core.readStates.push(message.reject ? { index: 0, context, dropped: 'noLeader' } : { index, context })
}

function requestRead (core: Core, from: RaftId, context: Uint8Array): void {
  if (core.reads.length + core.earlyReads.length >= core.config.maxPendingReads) refuse(core, from, context, 'quota')
  else if (core.log.term(core.log.commit) !== core.term) core.earlyReads.push({ from, context })
  else startRead(core, from, context)
}

function startRead (core: Core, from: RaftId, context: Uint8Array): void {
  core.readSeq++
  core.reads.push({ seq: core.readSeq, from, context, index: core.log.commit })
  releaseReads(core)
}

/** Called whenever the leader commits: what it commits by counting is of its own term. */
export function startEarlyReads (core: Core): void {
  const early = core.earlyReads
  core.earlyReads = []
  for (const { from, context } of early) startRead(core, from, context)
}

/** A member has confirmed this leader by answering the heartbeat with number `seq`. */
export function ackRead (core: Core, progress: Progress, seq: number): void {
  if (seq <= progress.readAck || seq > core.readSeq) return
  progress.readAck = seq
  releaseReads(core)
}

/** Answer the reads that a quorum has confirmed; this node confirms itself. */
export function releaseReads (core: Core): void {
  if (core.reads.length === 0) return
  const confirmed = jointIndex(core.conf, id => id === core.id ? core.readSeq : core.progress.get(id)?.readAck ?? 0)
  const pending = core.reads.findIndex(read => read.seq > confirmed)
  for (const { from, context, index } of core.reads.splice(0, pending === -1 ? core.reads.length : pending)) {
    if (from === core.id) core.readStates.push({ index, context })
    else send(core, 'readIndexReply', from, { index, context })
  }
}

/** This node stops leading. */
export function failReads (core: Core): void {
  const pending = [...core.reads, ...core.earlyReads]
  core.reads = []
  core.earlyReads = []
  for (const { from, context } of pending) refuse(core, from, context, 'noLeader')
}

function refuse (core: Core, from: RaftId, context: Uint8Array, dropped: DropReason): void {
  if (from === core.id) core.readStates.push({ index: 0, context, dropped })
  else send(core, 'readIndexReply', from, { reject: true, context })
}
