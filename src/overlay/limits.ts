/**
 * Every limit of the overlay, in one place, with what happens past it.
 */

const KiB = 1024
const MiB = 1024 * KiB

export interface OverlayLimits {
  /** connections in all; past it new ones are refused and the least useful pruned */
  maxConnections: number
  /** sockets accepted a second from one host; past it they are closed at once */
  maxInboundPerHostPerSecond: number
  /**
   * Sockets whose handshake has not ended; past it new ones are closed at once. Larger than `maxInboundPerHostPerSecond` x
   * `inboundUpgradeTimeoutMs`, so that one host that opens sockets and says nothing can never use them up: an honest join from elsewhere always
   * finds room, and one from the same host finds it within a second.
   */
  maxPendingInbound: number
  /** a whole inbound handshake; 5 s of it are for an admission, which waits for a commit */
  inboundUpgradeTimeoutMs: number
  /** one address, the handshake included */
  dialAddressTimeoutMs: number
  /** all addresses of a peer */
  dialTimeoutMs: number
  maxParallelDials: number
  /** agreeing on a protocol for a new stream, either side */
  streamOpenTimeoutMs: number
  /** streams of one connection, each way; past it the stream is reset */
  maxStreamsPerConnection: number
  /** yamux receive window of one stream: bulk then delays a small message by milliseconds instead of tens */
  maxStreamWindowBytes: number
  /** read buffer of one stream; above the window, so that a paused stream is never reset for what was already on its way */
  maxStreamReadBufferBytes: number
  /** write buffer of one stream; a guard only, since every writer here waits for the drain */
  maxStreamWriteBufferBytes: number

  /** between two pings of a peer */
  pingIntervalMs: number
  /** a peer silent for this long after a ping is dead: its connections are aborted */
  pingTimeoutMs: number
  /** redial backoff: first step and cap, both with jitter */
  redialBaseMs: number
  redialCapMs: number
  /** peers that are redialled; past it the rest of the roster only connects inwards */
  maxKeptPeers: number

  /** requests that wait for their turn per peer and protocol; past it BUSY. Those on the wire: `protocols/rpc/constants.ts` */
  maxRpcQueued: number

  /** one ordered frame; past it `sendFrame` is false, inbound the stream is reset */
  maxFrameBytes: number
  /** bytes queued per peer and protocol; past it `sendFrame` is false */
  maxFrameQueueBytes: number

  /** bytes read ahead of a bulk consumer before the peer is paused */
  bulkReadMarkBytes: number
  /** bulk streams per peer and protocol, each way; past it BUSY */
  maxBulkStreams: number

  /** payload of one gossip message */
  maxGossipPayloadBytes: number
  /** one gossipsub RPC, which may carry many messages in answer to an IWANT; past it the stream is dropped */
  maxGossipRpcBytes: number
  /** gossip queued to one slow neighbour; past it its stream is dropped, and the watchdog opens another */
  maxGossipQueueBytes: number
  /** authors whose marks are kept; past it the one heard of longest ago is forgotten */
  maxGossipAuthors: number
  gossipHeartbeatMs: number
  /** how often the watchdog looks for neighbours without a gossip stream */
  gossipWatchdogMs: number
  /** marks are on disk at most this long after they moved */
  gossipMarksFlushMs: number
}

export const defaultLimits: OverlayLimits = {
  maxConnections: 1000,
  maxInboundPerHostPerSecond: 100,
  maxPendingInbound: 1024,
  inboundUpgradeTimeoutMs: 6_000,
  dialAddressTimeoutMs: 8_000,
  dialTimeoutMs: 15_000,
  maxParallelDials: 50,
  streamOpenTimeoutMs: 5_000,
  maxStreamsPerConnection: 128,
  maxStreamWindowBytes: 2 * MiB,
  maxStreamReadBufferBytes: 8 * MiB,
  maxStreamWriteBufferBytes: 16 * MiB,

  pingIntervalMs: 1_000,
  pingTimeoutMs: 5_000,
  redialBaseMs: 200,
  redialCapMs: 5_000,
  maxKeptPeers: 256,

  maxRpcQueued: 4096,

  maxFrameBytes: 4 * MiB,
  maxFrameQueueBytes: 16 * MiB,

  bulkReadMarkBytes: 1 * MiB,
  maxBulkStreams: 16,

  maxGossipPayloadBytes: 64 * KiB,
  maxGossipRpcBytes: 4 * MiB,
  maxGossipQueueBytes: 8 * MiB,
  maxGossipAuthors: 4096,
  gossipHeartbeatMs: 1_000,
  gossipWatchdogMs: 1_000,
  gossipMarksFlushMs: 1_000
}
