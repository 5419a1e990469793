/**
 * What gossipsub is told, every limit set. Source: gossipsub v1.1 and v1.2 (https://github.com/libp2p/specs/tree/master/pubsub/gossipsub).
 */
import { createHash } from 'node:crypto'
import { StrictNoSign } from '@libp2p/gossipsub'
import { TOPIC_NAMES, wireTopic } from '../../protocols/gossip/constants.ts'
import type { OverlayLimits } from './limits.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { GossipsubOpts } from '@libp2p/gossipsub'

/** A peer that is no member (any more): far below every threshold, so nothing is taken from it or sent to it. */
const STRANGER_SCORE = -10_000

/** Score of a topic: only messages that an honest peer would not have sent count. Quiet topics must not cost anything, so P3 is off. */
const TOPIC_SCORE = {
  topicWeight: 1,
  timeInMeshWeight: 0.001,
  timeInMeshQuantum: 1_000,
  timeInMeshCap: 1_000,
  firstMessageDeliveriesWeight: 0.1,
  firstMessageDeliveriesDecay: 0.5,
  firstMessageDeliveriesCap: 50,
  meshMessageDeliveriesWeight: 0,
  meshMessageDeliveriesDecay: 0.5,
  meshMessageDeliveriesCap: 1,
  meshMessageDeliveriesThreshold: 1,
  meshMessageDeliveriesWindow: 10,
  meshMessageDeliveriesActivation: 5_000,
  meshFailurePenaltyWeight: 0,
  meshFailurePenaltyDecay: 0.5,
  invalidMessageDeliveriesWeight: -10,
  invalidMessageDeliveriesDecay: 0.9
}

/** @param isMember - asked once per peer and heartbeat */
export function gossipOptions (network: NetworkId, limits: OverlayLimits, isMember: (peer: PeerIdStr) => boolean): Partial<GossipsubOpts> {
  const topics = TOPIC_NAMES.map(name => wireTopic(network, name))
  return {
    // our envelope is signed; a second signature would cost 3.8 times the throughput
    globalSignaturePolicy: StrictNoSign,
    msgIdFn: message => createHash('sha256').update(message.data).digest(),
    msgIdToStrFn: id => Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('base64'),
    fallbackToFloodsub: false,
    allowPublishToZeroTopicPeers: true,
    emitSelf: false,
    canRelayMessage: false,
    // the leader's word reaches all its neighbours in one hop; what that may queue is bounded by maxOutboundBufferSize
    floodPublish: true,
    doPX: false,
    D: 8,
    Dlo: 6,
    Dhi: 12,
    Dout: 2,
    Dscore: 4,
    Dlazy: 6,
    heartbeatInterval: limits.gossipHeartbeatMs,
    mcacheLength: 5,
    mcacheGossip: 3,
    seenTTL: 120_000,
    // an overloaded machine answers late; that is no misbehaviour
    gossipsubIWantFollowupMs: 10_000,
    allowedTopics: topics,
    maxTopicBytesPerPeer: 8 * 1024,
    maxInboundDataLength: limits.maxGossipRpcBytes,
    maxOutboundBufferSize: limits.maxGossipQueueBytes,
    // one each way; the others are for the moment in which a reset stream is replaced
    maxInboundStreams: 4,
    maxOutboundStreams: 4,
    decodeRpcLimits: {
      maxSubscriptions: 16,
      maxMessages: 1_024,
      maxIhaveMessageIDs: 5_000,
      maxIwantMessageIDs: 5_000,
      maxIdontwantMessageIDs: 512,
      maxControlMessages: 64,
      maxPeerInfos: 0
    },
    scoreParams: {
      topics: Object.fromEntries(topics.map(topic => [topic, TOPIC_SCORE])),
      topicScoreCap: 10,
      appSpecificScore: peer => isMember(peer as PeerIdStr) ? 0 : STRANGER_SCORE,
      appSpecificWeight: 1,
      // many members behind one address are the normal case: a lab, a laptop with five nodes
      IPColocationFactorWeight: 0,
      behaviourPenaltyWeight: -1,
      behaviourPenaltyThreshold: 10,
      behaviourPenaltyDecay: 0.9,
      decayInterval: 1_000,
      decayToZero: 0.01,
      retainScore: 600_000
    },
    scoreThresholds: { gossipThreshold: -20, publishThreshold: -50, graylistThreshold: -100, acceptPXThreshold: 1_000, opportunisticGraftThreshold: 0 }
  }
}
