/**
 * What the rest of the house sees of the network: peers, requests, frames, bulk streams, gossip. No type of libp2p crosses this line,
 * except the connection encrypter that the composition root passes through. `create.ts` makes one.
 */
import type { Identity } from '../../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { Verdict } from '../../keys/verdict.ts'
import type { TopicName } from '../../protocols/gossip/constants.ts'
import type { MessageKind } from '../../protocols/policy.ts'
import type { OverlayLimits } from './limits.ts'
import type { NoiseComponents } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter } from '@libp2p/interface'

/** A fact for the node's log. `event` is `noun:verb`; the other fields are small, JSON-serialisable and free of secrets. */
export interface LogEvent {
  level: 'debug' | 'info' | 'warn' | 'error'
  event: string
  [fact: string]: unknown
}

export interface OverlayInit {
  identity: Identity
  /** `sealed(...)`; given libp2p's components, makes the one encrypter that this node speaks */
  encrypter: (components: NoiseComponents) => ConnectionEncrypter
  /** multiaddrs without peer id; `/ip4/127.0.0.1/tcp/0` takes a free port; empty: dials only */
  listen: string[]
  /** holds the peer store (a Level database in `peers/`) and the gossip marks; absent: nothing is remembered across restarts */
  datastoreDir?: string
  networkId: NetworkId
  /** asked whenever a connection has a proven peer id, both ways, and by gossip's scoring; must be cheap and not throw */
  isMember: (peer: PeerIdStr) => boolean
  /** asked for every request, frame, bulk stream and gossip message that arrives; must be cheap and not throw */
  can: (peer: PeerIdStr, kind: MessageKind) => boolean
  log: (event: LogEvent) => void
  /** wins over `defaultLimits` field by field */
  limits?: Partial<OverlayLimits>
}

export type { TopicName }

export interface PeerEvent {
  type: 'peer:connect' | 'peer:disconnect'
  peerId: PeerIdStr
}

export interface PeerView {
  peerId: PeerIdStr
  /** multiaddr of the connection in use, with `/p2p/<id>` */
  addr: string
  direction: 'inbound' | 'outbound'
  /** smoothed round trip time; undefined until the first answer */
  rttMs: number | undefined
}

/** A bounded duplex of bytes. Chunks are not messages: what one side writes may arrive in other pieces. */
export interface BoundedStream {
  /** One consumer. The peer is paused while more than `bulkReadMarkBytes` wait here. Ends when the peer half-closes; throws on a reset. */
  source: AsyncIterable<Uint8Array>
  /**
   * Resolves once the bytes have left for the connection, so awaiting it is all the pacing that a caller needs. Writes keep their order.
   *
   * @throws the signal's reason; `STREAM_CLOSED` where the stream is gone
   */
  write: (bytes: Uint8Array, signal?: AbortSignal) => Promise<void>
  /** Half-close: flushes and tells the peer that nothing more comes; `source` stays readable. Idempotent. */
  close: () => Promise<void>
  /** Drops everything in both directions at once. Idempotent. */
  abort: (error: Error) => void
}

export interface RequestContext {
  /** proven by the handshake, and allowed by the policy table */
  from: PeerIdStr
  /** aborts when the requester gave up, its time is over, its connection is gone or this node stops */
  signal: AbortSignal
}

export interface GossipContext {
  /** who signed the envelope; verified */
  author: PeerIdStr
  /** the author's term when it published */
  term: number
  /** the neighbour that passed it on; nothing but a hint */
  from: PeerIdStr
}

/** Handlers may be registered before or after `start`; those registered before miss nothing. */
export interface Overlay {
  readonly peerId: PeerIdStr
  /** @throws `LISTEN_FAILED` where an address cannot be bound */
  start: () => Promise<void>
  /** Closes every stream and connection; open requests fail with `NODE_STOPPED`. Idempotent. */
  stop: () => Promise<void>
  /** where others reach us, each with `/p2p/<id>`; empty before `start` */
  addrs: () => string[]
  /** connected peers, one entry a peer, sorted by id */
  peers: () => PeerView[]
  isConnected: (peer: PeerIdStr) => boolean
  /**
   * Dial one address and wait until the peer has answered over the new connection.
   *
   * @param addr - multiaddr, with or without `/p2p/<id>`
   * @returns the peer's proven id
   * @throws the handshake's own code where either side refused; `ADDRESS_INVALID`; `DIAL_FAILED` otherwise; the signal's reason
   */
  connect: (addr: string, signal: AbortSignal) => Promise<PeerIdStr>
  /** Close all connections to a peer. A peer in `keepConnected` is dialled again. */
  disconnect: (peer: PeerIdStr) => Promise<void>
  /** Replaces the set of peers that are dialled for ever while they are not connected; addresses from earlier runs are tried too. */
  keepConnected: (peers: Iterable<{ peerId: PeerIdStr, addrs: string[] }>) => void
  /** Fires once a peer, not once a connection: connect when it has answered us, disconnect when its last connection is gone. @returns unsubscribe */
  onPeer: (listener: (event: PeerEvent) => void) => () => void

  /**
   * Answer requests. Requests of one peer run concurrently up to a limit, past which its stream is paused.
   * A ConclaveError thrown by the handler reaches the requester with the same code, message, next and details; anything else as `INTERNAL`.
   */
  handle: (protocol: string, kind: MessageKind, handler: (request: Uint8Array, ctx: RequestContext) => Promise<Uint8Array>) => Promise<void>
  /**
   * Many in flight on one long-lived stream per peer and protocol; answers may overtake one another. Never sent twice by us.
   *
   * @throws what the handler threw; `PEER_UNREACHABLE` (not connected), `NOT_ALLOWED`, `PROTOCOL_UNSUPPORTED`, `REQUEST_TIMEOUT`,
   * `REQUEST_TOO_LARGE`, `BUSY` (too many wait), `STREAM_CLOSED` (the stream died: the peer may or may not have done it), `NODE_STOPPED`;
   * the signal's reason
   */
  request: (peer: PeerIdStr, protocol: string, request: Uint8Array, options: { signal?: AbortSignal, timeoutMs: number }) => Promise<Uint8Array>

  /** Take frames in the order in which one stream carried them. `onFrame` must not throw; it owns the bytes. */
  handleFrames: (protocol: string, kind: MessageKind, onFrame: (from: PeerIdStr, frame: Uint8Array) => void) => Promise<void>
  /**
   * Queue one frame. Frames of one stream arrive in order or not at all; after a failure the stream is opened anew and frames in between are lost.
   *
   * @returns false: not connected, the frame is too large or the queue is full; it was not and will not be sent
   */
  sendFrame: (peer: PeerIdStr, protocol: string, frame: Uint8Array) => boolean

  /** Serve bulk streams. The stream is closed when the handler returns and aborted when it throws. */
  handleStream: (protocol: string, kind: MessageKind, handler: (stream: BoundedStream, ctx: RequestContext) => Promise<void>) => Promise<void>
  /**
   * Resolves when the peer's handler has the stream. The caller closes or aborts it.
   *
   * @throws `PEER_UNREACHABLE`, `NOT_ALLOWED`, `PROTOCOL_UNSUPPORTED`, `BUSY`, `STREAM_CLOSED`, `NODE_STOPPED`; the signal's reason
   */
  openStream: (peer: PeerIdStr, protocol: string, signal: AbortSignal) => Promise<BoundedStream>

  /**
   * One subscriber a topic. `validate` sees envelopes that are well signed, fresh and allowed, before they are passed on: `accept` delivers and
   * forwards, `ignore` drops, `reject` drops and costs the neighbour score. Both callbacks are synchronous and own the payload.
   */
  subscribe: (topic: TopicName, onMessage: (payload: Uint8Array, ctx: GossipContext) => void, validate: (payload: Uint8Array, ctx: GossipContext) => Verdict<unknown>) => Promise<void>
  /**
   * Sign and publish. Not delivered to ourselves. Delivery is not promised: whoever must know has another way to learn it.
   *
   * @param term - an integer from 0
   * @returns how many neighbours it was sent to; 0 is no error
   * @throws `GOSSIP_TOO_LARGE` past 64 KiB; `NODE_STOPPED`
   */
  publish: (topic: TopicName, payload: Uint8Array, term: number) => Promise<{ recipients: number }>
}
