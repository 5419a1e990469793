/**
 * How a node that is no voter follows the ledger: notices on both topics as they come, holes and snapshots over `/conclave/ledger/1` from any
 * voter. Ordering is pure (`order.ts`); here are its clock and its questions.
 */
import type { PeerIdStr } from '../../keys/ids.ts'
import { SyncReply, SyncRequest } from '../../protocols/sync/messages.js'
import type { Head, Notice } from '../../protocols/sync/messages.js'
import type { LogEvent } from '../api.ts'
import { PROTOCOL } from '../config.ts'
import type { NodeConfig } from '../config.ts'
import { ConclaveError } from '../errors.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { isAuthentic } from '../ledger/authentic.ts'
import { NOTICE_LIMITS, electedBy, judgeNotice } from './notice.ts'
import { createOrder, gapOf, ingest, jump, learnHead } from './order.ts'
import type { Replica } from './replica.ts'
import { MAX_REPLY_BYTES } from './serve.ts'

const MAX_SNAPSHOT_BYTES = 64 << 20
/** Members asked who leads. */
const MAX_ELECTORATE = 9

export interface FollowInit {
  overlay: Overlay
  replica: Replica
  config: NodeConfig['follow']
  requestTimeoutMs: number
  /** this node's log is fed by Raft: notices tell it nothing that it may apply */
  isFedByRaft: () => boolean
  nowMs: () => number
  log: (event: LogEvent) => void
  /** the head changed: another leader, term, or commit index */
  onHead: (head: Head, previous: Head) => void
}

export interface Follow {
  /** What is known of the leader; `leader` '' where none is. */
  head (): Head
  /** The leader's connection is gone: it is not known to lead any more. */
  onPeerLost (peer: PeerIdStr): void
  start (): Promise<void>
  stop (): Promise<void>
}

const NOBODY: Head = { term: 0, leader: '', commitIndex: 0, voters: [] }

export function createFollow (init: FollowInit): Follow {
  const { overlay, replica, config } = init
  const stopping = new AbortController()
  let head: Head = NOBODY
  let heardMs = init.nowMs()
  let order = createOrder(replica.ledger.index + 1)
  let gapSinceMs: number | undefined
  let repairing: Promise<void> | undefined
  let confirming: Promise<void> | undefined
  let turn = 0

  function take (entries: Notice['entries'], from: PeerIdStr): void {
    if (init.isFedByRaft()) return
    const forged = entries.findIndex(({ index, data }) => index > replica.ledger.index && !isAuthentic(data))
    if (forged >= 0) init.log({ level: 'error', event: 'ledger:forged', from, index: entries[forged]?.index })
    // the replica may have moved on by Raft while this node was a voter
    if (order.next !== replica.ledger.index + 1) order = createOrder(replica.ledger.index + 1)
    replica.apply(ingest(order, forged < 0 ? entries : entries.slice(0, forged)))
  }

  /** What the leader that we believe in says of itself. */
  function hear (next: Head): void {
    heardMs = init.nowMs()
    const previous = head
    head = { ...next, commitIndex: Math.max(next.commitIndex, head.commitIndex) }
    learnHead(order, head.commitIndex)
    if (previous.leader !== head.leader || previous.term !== head.term || previous.commitIndex !== head.commitIndex) init.onHead(head, previous)
  }

  const isKnown = (claim: Head): boolean => claim.term === head.term && claim.leader === head.leader && claim.leader !== ''

  /** Anybody may claim to lead a later term: believed once more than half of the voters that answer say so too. */
  function confirm (): void {
    confirming ??= Promise.allSettled(electorate().map(async (peer) => (await ask(peer, {})).head)).then((answers) => {
      const heads = answers.flatMap((answer) => answer.status === 'fulfilled' && answer.value !== undefined ? [answer.value] : [])
      const elected = electedBy(heads)
      if (elected !== undefined && elected.term >= head.term && !init.isFedByRaft()) hear(elected)
    }).finally(() => { confirming = undefined })
  }

  /** Known voters that are connected; where there are none, whoever is. */
  function electorate (): PeerIdStr[] {
    const connected = overlay.peers().map((peer) => peer.peerId)
    const known = connected.filter((peer) => head.voters.includes(peer))
    return (known.length > 0 ? known : connected).slice(0, MAX_ELECTORATE)
  }

  async function subscribe (topic: 'tasks' | 'results'): Promise<void> {
    await overlay.subscribe(topic, (payload, envelope) => {
      const verdict = judgeNotice(payload, envelope, head.term)
      if (verdict.verdict !== 'accept' || verdict.value.head?.leader !== envelope.author) return // a participant's hint
      if (!isKnown(verdict.value.head)) {
        confirm()
        return // what it says is asked for again once it is believed
      }
      hear(verdict.value.head)
      take(verdict.value.entries, envelope.author)
    }, (payload, envelope) => judgeNotice(payload, envelope, head.term))
  }

  /** Voters first, each asked in turn. */
  function source (): PeerIdStr | undefined {
    const connected = overlay.peers().map((peer) => peer.peerId)
    const voters = connected.filter((peer) => head.voters.includes(peer))
    const candidates = voters.length > 0 ? voters : connected
    return candidates.length === 0 ? undefined : candidates[turn++ % candidates.length]
  }

  async function ask (peer: PeerIdStr, request: Partial<SyncRequest>): Promise<SyncReply> {
    const bytes = await overlay.request(peer, PROTOCOL.sync, SyncRequest.encode(request), { signal: stopping.signal, timeoutMs: init.requestTimeoutMs })
    return SyncReply.decode(bytes, { limits: NOTICE_LIMITS })
  }

  /** Ask one voter for what follows our replica, until it has no more. */
  async function repair (): Promise<void> {
    const peer = source()
    if (peer === undefined) return
    for (;;) {
      const from = replica.ledger.index + 1
      const reply = await ask(peer, { range: { from, maxBytes: MAX_REPLY_BYTES } })
      if (reply.head !== undefined) {
        if (isKnown(reply.head)) hear(reply.head)
        else confirm()
      }
      if (reply.snapshot !== undefined) await restore(peer, reply.snapshot.index, reply.snapshot.bytes)
      else take(reply.entries, peer)
      if (replica.ledger.index < from || gapOf(order) === undefined) return
    }
  }

  async function restore (peer: PeerIdStr, index: number, bytes: number): Promise<void> {
    if (bytes > MAX_SNAPSHOT_BYTES) throw new ConclaveError('SNAPSHOT_TOO_LARGE', `${peer} offers a snapshot of ${bytes} bytes`)
    const parts: Uint8Array[] = []
    for (let offset = 0; offset < bytes;) {
      const { part } = await ask(peer, { snapshot: { index, offset } })
      if (part.length === 0) throw new ConclaveError('SNAPSHOT_GONE', `${peer} stopped in the middle of a snapshot`)
      parts.push(part)
      offset += part.length
    }
    replica.restore(Buffer.concat(parts), index)
    replica.apply(jump(order, replica.ledger.index))
  }

  function tick (): void {
    if (init.isFedByRaft() || repairing !== undefined) return
    const now = init.nowMs()
    const isMissing = gapOf(order) !== undefined
    gapSinceMs = isMissing ? gapSinceMs ?? now : undefined
    const isOverdue = gapSinceMs !== undefined && now - gapSinceMs >= config.repairMs
    if (!isOverdue && now - heardMs < config.silentMs) return
    heardMs = now
    if (!isOverdue) confirm()
    repairing = repair().catch((error: unknown) => {
      if (!stopping.signal.aborted) init.log({ level: 'debug', event: 'repair:fail', reason: String(error) })
    }).finally(() => { repairing = undefined })
  }

  let timer: NodeJS.Timeout | undefined
  return {
    head: () => head,
    onPeerLost (peer) {
      if (head.leader !== peer) return
      const previous = head
      head = { ...head, leader: '' }
      init.onHead(head, previous)
    },
    async start () {
      await subscribe('tasks')
      await subscribe('results')
      heardMs = -Infinity // ask at once
      timer = setInterval(tick, Math.max(20, config.repairMs / 3))
      tick()
    },
    async stop () {
      stopping.abort(new ConclaveError('NODE_STOPPED', 'the node is stopping'))
      clearInterval(timer)
      await Promise.all([repairing, confirming])
    }
  }
}
