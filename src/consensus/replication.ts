/**
 * The leader's half of log replication. Source: Raft paper §5.3, §5.4.2, §6, §7; thesis §10.2 (batching, pipelining, parallel disk
 * write); etcd-io/raft (flow control).
 *
 * Appends are not sent where they arise but by `flush`, when effects are collected: proposals between two readies share messages.
 */
import { log, send } from './core.ts'
import type { Core } from './core.ts'
import { entryBytes, invariant } from './log.ts'
import { becomeProbe, becomeReplicate, becomeSnapshot, isPaused, noteMatch, noteReject, noteSent } from './progress.ts'
import type { Progress } from './progress.ts'
import { jointIndex } from './quorum.ts'
import { ackRead, startEarlyReads } from './reads.ts'
import type { Entry, EntryKind, Message, RaftId } from './types.ts'

/** Append to the leader's own log; it counts as replicated here once it is on disk. @returns the entry */
export function appendOwn (core: Core, kind: EntryKind, data: Uint8Array): Entry {
  const entry: Entry = { index: core.log.lastIndex + 1, term: core.term, kind, data }
  core.log.append([entry])
  core.uncommittedBytes += entryBytes(entry)
  return entry
}

/** Send whatever may be sent now: entries, news of commits, heartbeats that confirm reads. */
export function flush (core: Core): void {
  if (core.role !== 'leader') return
  for (const [id, progress] of core.progress) {
    if (id === core.id) continue
    while (!isPaused(progress) && hasNews(core, progress)) {
      if (!sendAppend(core, id, progress)) break
    }
  }
  if (core.readSeq > core.readSeqSent) broadcastHeartbeat(core)
}

function hasNews (core: Core, progress: Progress): boolean {
  return progress.next <= core.log.lastIndex || progress.sentCommit < Math.min(core.log.commit, progress.next - 1)
}

/** @returns false if nothing was sent: a snapshot is needed and the member is silent */
function sendAppend (core: Core, id: RaftId, progress: Progress): boolean {
  const previous = progress.next - 1
  const logTerm = core.log.term(previous)
  if (logTerm === undefined) return sendSnapshot(core, id, progress)
  const entries = isPaused(progress) ? [] : core.log.slice(progress.next, core.log.lastIndex, core.config.maxAppendBytes)
  const last = previous + entries.length
  send(core, 'append', id, { index: previous, logTerm, entries, commit: core.log.commit })
  progress.sentCommit = Math.max(progress.sentCommit, Math.min(core.log.commit, last))
  noteSent(progress, last, entries.reduce((bytes, entry) => bytes + entryBytes(entry), 0))
  return true
}

function sendSnapshot (core: Core, id: RaftId, progress: Progress): boolean {
  if (!progress.recentActive) return false
  invariant(core.snapshot.index >= core.log.offset, `no snapshot covers the log compacted up to ${core.log.offset}`)
  becomeSnapshot(progress, core.snapshot.index)
  send(core, 'snapshot', id, { snapshot: core.snapshot })
  log(core, 'raft:snapshot', { to: id, index: core.snapshot.index })
  return true
}

/** Only what a member is known to hold may be committed there by a heartbeat. */
export function broadcastHeartbeat (core: Core): void {
  core.heartbeatElapsed = 0
  core.readSeqSent = core.readSeq
  for (const [id, progress] of core.progress) {
    if (id === core.id) continue
    send(core, 'heartbeat', id, { commit: Math.min(progress.match, core.log.commit), index: core.readSeq })
  }
}

/**
 * Commit what a quorum holds, if it is of this term: earlier entries are committed by being before it, never by counting (§5.4.2).
 *
 * @returns true if the commit index rose
 */
export function maybeCommit (core: Core): boolean {
  const before = core.log.commit
  const index = Math.min(jointIndex(core.conf, id => core.progress.get(id)?.match ?? 0), core.log.lastIndex)
  if (index <= before || core.log.term(index) !== core.term) return false
  core.log.commitTo(index)
  for (const entry of core.log.slice(before + 1, index, Infinity)) core.uncommittedBytes -= entryBytes(entry)
  startEarlyReads(core)
  return true
}

/** This node's own entries are on disk. */
export function noteOwnMatch (core: Core): void {
  const own = core.progress.get(core.id)
  if (core.role === 'leader' && own !== undefined && noteMatch(own, core.log.stable)) maybeCommit(core)
}

/** @returns false for an index that this leader has never sent */
export function handleAppendReply (core: Core, message: Message): boolean {
  const progress = core.progress.get(message.from)
  if (progress === undefined) return true
  if (message.index > core.log.lastIndex) return false
  progress.recentActive = true
  if (message.reject) {
    // skip in one step all of our entries whose term the follower cannot have there
    const hint = message.logTerm > 0
      ? core.log.lastIndexOfTermUpTo(message.logTerm, message.rejectHint, Math.min(message.rejectHint, core.log.offset - 1))
      : message.rejectHint
    noteReject(progress, message.index, Math.max(hint, 0))
    return true
  }
  const isNews = noteMatch(progress, message.index)
  if (!isNews && !(progress.state === 'probe' && progress.match === message.index)) return true
  if (progress.state === 'replicate') progress.inflight.freeUpTo(message.index)
  else if (progress.state === 'probe' || progress.match >= core.log.offset) becomeReplicate(progress)
  if (isNews) maybeCommit(core)
  if (message.from === core.transferee) sendTimeoutNow(core)
  return true
}

export function handleHeartbeatReply (core: Core, message: Message): void {
  const progress = core.progress.get(message.from)
  if (progress === undefined) return
  progress.recentActive = true
  progress.probeSent = false
  // an append may have been lost: an empty one at `next` is refused if so, and then we go back
  if (progress.state !== 'snapshot' && (progress.match < core.log.lastIndex || progress.state === 'probe')) {
    sendAppend(core, message.from, progress)
  }
  ackRead(core, progress, message.index)
}

/** The transferee has all of the log: it shall campaign at once (thesis §3.10). */
export function sendTimeoutNow (core: Core): void {
  if (core.transferee === '') return
  if (core.progress.get(core.transferee)?.match === core.log.lastIndex) send(core, 'timeoutNow', core.transferee, {})
}

/** The connection to a member is gone, and what was under way with it: find out again where it stands. */
export function noteUnreachable (core: Core, id: RaftId): void {
  const progress = core.progress.get(id)
  if (progress?.state === 'replicate') becomeProbe(progress)
}

export function reportSnapshot (core: Core, id: RaftId, ok: boolean): void {
  const progress = core.progress.get(id)
  if (core.role !== 'leader' || progress?.state !== 'snapshot') return
  if (!ok) progress.pendingSnapshot = 0
  becomeProbe(progress)
  // it may still be restoring, or in trouble: the next heartbeat's reply starts it
  progress.probeSent = true
}
