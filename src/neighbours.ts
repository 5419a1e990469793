/**
 * Where the other members are: what they told us, what others told us of them, and who should be dialled. A member that moved says so
 * to the first one that it reaches; nobody's address is in the ledger.
 */
import type { PeerIdStr } from '../keys/ids.ts'
import { MAX_TICKET_ADDRS } from '../keys/ticket.ts'
import { MemberReply, MemberRequest } from '../protocols/member/messages.js'
import type { PeerAddrs } from '../protocols/member/messages.js'
import { PROTOCOL } from './config.ts'
import { peerOf } from './membership.ts'
import type { LogEvent } from './api.ts'
import type { Overlay } from './overlay/overlay.ts'

/** Addresses kept of one member, and told of it. */
const MAX_ADDRS = 8
/** Members told in one reply, and kept. */
const MAX_PEERS = 512
/** Members that are dialled for ever; beyond it the mesh is kept by those who dial us, and by gossip. */
const MAX_KEPT = 128

/**
 * The addresses that a ticket carries: up to two of our own, then one of each other member. Those that other machines can reach come first;
 * loopback ones help only where there is nothing else.
 */
export function ticketAddrs (own: readonly string[], others: ReadonlyArray<readonly string[]>): string[] {
  const reachable = (addrs: readonly string[]): string[] => {
    const far = addrs.filter((addr) => !/^\/ip4\/127\.|^\/ip6\/::1\//.test(addr))
    return far.length > 0 ? far : [...addrs]
  }
  return [...reachable(own).slice(0, 2), ...others.flatMap((addrs) => reachable(addrs).slice(0, 1))].slice(0, MAX_TICKET_ADDRS)
}

export interface NeighboursInit {
  overlay: Overlay
  members: () => Iterable<PeerIdStr>
  isMember: (peer: PeerIdStr) => boolean
  bootstrap: readonly string[]
  timeoutMs: number
  log: (event: LogEvent) => void
}

export interface Neighbours {
  /** A peer said where it listens: @returns the others that we know. */
  onHello (from: PeerIdStr, addrs: string[]): PeerAddrs[]
  /** Say hello to a peer that has just connected. */
  greet (peer: PeerIdStr): void
  addrsOf (peer: PeerIdStr): string[]
  /** The roster changed: dial who is missing, forget who left. */
  refresh (): void
}

export function createNeighbours (init: NeighboursInit): Neighbours {
  const { overlay } = init
  const book = new Map<PeerIdStr, string[]>()
  for (const addr of init.bootstrap) {
    const peer = peerOf(addr)
    if (peer !== undefined) book.set(peer, [...book.get(peer) ?? [], addr])
  }

  function learn (peer: PeerIdStr, addrs: readonly string[]): boolean {
    if (peer === overlay.peerId || addrs.length === 0 || (!book.has(peer) && book.size >= MAX_PEERS)) return false
    const next = addrs.slice(0, MAX_ADDRS).filter((addr) => addr.length < 256 && peerOf(addr) === peer)
    if (next.length === 0 || next.join() === book.get(peer)?.join()) return false
    book.set(peer, next)
    return true
  }

  function refresh (): void {
    const kept: Array<{ peerId: PeerIdStr, addrs: string[] }> = []
    for (const peerId of init.members()) {
      if (peerId === overlay.peerId) continue
      if (kept.length >= MAX_KEPT) break
      kept.push({ peerId, addrs: book.get(peerId) ?? [] })
    }
    overlay.keepConnected(kept)
  }

  return {
    refresh,
    addrsOf: (peer) => book.get(peer) ?? [],
    onHello (from, addrs) {
      if (learn(from, addrs)) refresh()
      return [...book].filter(([peer]) => peer !== from && init.isMember(peer)).slice(0, MAX_PEERS).map(([peer, known]) => ({ peer, addrs: known }))
    },
    greet (peer) {
      const hello = MemberRequest.encode({ hops: 0, hello: { addrs: overlay.addrs().slice(0, MAX_ADDRS) } })
      overlay.request(peer, PROTOCOL.member, hello, { timeoutMs: init.timeoutMs }).then((bytes) => {
        const { peers } = MemberReply.decode(bytes, { limits: { peers: MAX_PEERS, peers$: { addrs: MAX_ADDRS } } })
        // what the member itself told us wins over what others say of it
        const news = peers.filter(({ peer: other, addrs }) => !overlay.isConnected(other as PeerIdStr) && learn(other as PeerIdStr, addrs))
        if (news.length > 0) refresh()
      }).catch((error: unknown) => { init.log({ level: 'debug', event: 'hello:fail', peer, reason: String(error) }) })
    }
  }
}
