/**
 * Messages between voters as bytes (protocols/raft). Pure.
 */
import {
  Frame as FrameMessage, SnapshotTransfer as SnapshotTransferMessage, type Message as WireMessage, type SnapshotMeta as WireMeta
} from '../../protocols/raft/messages.js'
import { accept, reject, type Verdict } from '../../keys/verdict.ts'
import { crc32c } from './crc32c.ts'
import type { Entry, EntryKind, Message, MessageType, RaftId, SnapshotMeta } from './types.ts'

/** A frame is never longer, in either direction. */
export const MAX_FRAME_BYTES = 1024 * 1024
const MAX_MESSAGES = 4096
const MAX_ENTRIES = 65536
const MAX_IDS = 1024
const MAX_ID_BYTES = 255
const MESSAGE_OVERHEAD_BYTES = 256
const ENTRY_OVERHEAD_BYTES = 32

const TYPES: ReadonlySet<string> = new Set<MessageType>(['preVote', 'preVoteReply', 'vote', 'voteReply', 'append', 'appendReply', 'heartbeat',
  'heartbeatReply', 'snapshot', 'timeoutNow', 'readIndex', 'readIndexReply'])
const KINDS: ReadonlySet<string> = new Set<EntryKind>(['normal', 'conf', 'empty'])

/** Who speaks, and whom it thinks it speaks to: hex of the incarnations, '' where unknown. */
export interface Envelope {
  incarnation: string
  peerIncarnation: string
}

export interface Frame extends Envelope { messages: Message[] }

export interface SnapshotTransfer extends Envelope {
  message: Message
  data: Uint8Array
}

/** @returns an upper bound of what the message adds to a frame, as long as ids are as short as the decoder demands */
export function sizeBound (message: Message): number {
  let bytes = MESSAGE_OVERHEAD_BYTES + message.from.length + message.to.length + message.context.length
  for (const entry of message.entries) bytes += entry.data.length + ENTRY_OVERHEAD_BYTES
  return bytes
}

/**
 * @param messages - in order
 * @returns groups in order that each fit a frame; a message that is too long on its own stands alone
 */
export function packFrames (messages: readonly Message[]): Message[][] {
  const frames: Message[][] = []
  let room = 0
  for (const message of messages) {
    const size = sizeBound(message)
    if (size > room || frames.at(-1)!.length === MAX_MESSAGES) {
      frames.push([])
      room = MAX_FRAME_BYTES - MESSAGE_OVERHEAD_BYTES
    }
    frames.at(-1)!.push(message)
    room -= size
  }
  return frames
}

export function encodeFrame (frame: Frame): Uint8Array {
  return FrameMessage.encode({ ...encodeEnvelope(frame), messages: frame.messages.map(toWire) })
}

/**
 * @param from - proven sender; every message must say the same, and be meant for `self`
 * @returns the frame, whose entries may share memory with `bytes`; `reject` for all that an honest sender cannot make
 */
export function decodeFrame (bytes: Uint8Array, from: RaftId, self: RaftId): Verdict<Frame> {
  if (bytes.length > MAX_FRAME_BYTES) return reject('RAFT_FRAME_TOO_LARGE', `${bytes.length} bytes`)
  return decoding(() => {
    const wire = FrameMessage.decode(bytes, { limits: { messages: MAX_MESSAGES, messages$: MESSAGE_LIMITS } })
    return { ...decodeEnvelope(wire), messages: wire.messages.map(message => fromWire(message, from, self)) }
  })
}

export function encodeSnapshotTransfer (transfer: SnapshotTransfer): Uint8Array {
  return SnapshotTransferMessage.encode({
    ...encodeEnvelope(transfer), message: toWire(transfer.message), data: transfer.data, crc32c: crc32c(transfer.data)
  })
}

/** As `decodeFrame`. @param maxBytes - of `data` */
export function decodeSnapshotTransfer (bytes: Uint8Array, from: RaftId, self: RaftId, maxBytes: number): Verdict<SnapshotTransfer> {
  return decoding(() => {
    const wire = SnapshotTransferMessage.decode(bytes, { limits: { message: MESSAGE_LIMITS } })
    check(wire.message?.type === 'snapshot', 'no snapshot message')
    check(wire.data.length <= maxBytes, `${wire.data.length} bytes of state`)
    check(crc32c(wire.data) === wire.crc32c, 'the checksum is wrong')
    return { ...decodeEnvelope(wire), message: fromWire(wire.message, from, self), data: wire.data }
  })
}

const META_LIMITS = { voters: MAX_IDS, votersOutgoing: MAX_IDS, learners: MAX_IDS, learnersNext: MAX_IDS }
const MESSAGE_LIMITS = { entries: MAX_ENTRIES, snapshot: META_LIMITS }

class BadMessage extends Error {}

function check (holds: boolean, reason: string): asserts holds {
  if (!holds) throw new BadMessage(reason)
}

function decoding<T> (decode: () => T): Verdict<T> {
  try {
    return accept(decode())
  } catch (error) {
    return reject('RAFT_BAD_FRAME', error instanceof Error ? error.message : String(error))
  }
}

function encodeEnvelope (envelope: Envelope): { incarnation: Uint8Array, peerIncarnation: Uint8Array } {
  return { incarnation: Buffer.from(envelope.incarnation, 'hex'), peerIncarnation: Buffer.from(envelope.peerIncarnation, 'hex') }
}

function decodeEnvelope (wire: { incarnation: Uint8Array, peerIncarnation: Uint8Array }): Envelope {
  check(wire.incarnation.length === 16, 'no incarnation')
  check(wire.peerIncarnation.length === 0 || wire.peerIncarnation.length === 16, 'the incarnation of the receiver is of a wrong length')
  return { incarnation: Buffer.from(wire.incarnation).toString('hex'), peerIncarnation: Buffer.from(wire.peerIncarnation).toString('hex') }
}

function toWire (message: Message): WireMessage {
  const { entries, snapshot, ...rest } = message
  return {
    ...rest,
    entries: entries.map(({ term, kind, data }) => ({ term, kind: kind === 'normal' ? '' : kind, data })),
    ...(snapshot === undefined ? {} : { snapshot: { index: snapshot.index, term: snapshot.term, ...snapshot.conf } })
  }
}

function fromWire (wire: WireMessage, from: RaftId, self: RaftId): Message {
  const { type, snapshot, entries, ...rest } = wire
  check(isType(type), `no message of type ${type.slice(0, 32)}`)
  check(wire.from === from, 'a message says that it is from somebody else')
  check(wire.to === self, 'a message is meant for somebody else')
  check((type === 'snapshot') === (snapshot !== undefined), 'a snapshot where none belongs, or none')
  for (const value of [wire.term, wire.index, wire.logTerm, wire.commit, wire.rejectHint, wire.index + entries.length]) {
    check(Number.isSafeInteger(value) && value >= 0, 'a number is out of range')
  }
  const message: Message = { ...rest, type, entries: entries.map((entry, i) => entryFromWire(entry, wire.index + 1 + i)) }
  if (snapshot !== undefined) message.snapshot = metaFromWire(snapshot)
  return message
}

function entryFromWire (wire: { term: number, kind: string, data: Uint8Array }, index: number): Entry {
  const kind = wire.kind === '' ? 'normal' : wire.kind
  check(isKind(kind), 'an entry is of no known kind')
  check(Number.isSafeInteger(wire.term) && wire.term >= 0, 'a number is out of range')
  return { index, term: wire.term, kind, data: wire.data }
}

function metaFromWire (wire: WireMeta): SnapshotMeta {
  const { index, term, ...conf } = wire
  check(Number.isSafeInteger(index) && Number.isSafeInteger(term) && index > 0 && term > 0, 'a number is out of range')
  for (const id of [...conf.voters, ...conf.votersOutgoing, ...conf.learners, ...conf.learnersNext]) {
    check(id.length > 0 && id.length <= MAX_ID_BYTES, 'an id is too long')
  }
  return { index, term, conf }
}

const isType = (type: string): type is MessageType => TYPES.has(type)
const isKind = (kind: string): kind is EntryKind => KINDS.has(kind)
