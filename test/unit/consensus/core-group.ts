/** A few cores side by side for tests: no time passes, messages lie in a list until they are delivered. */
import { createRaft } from '../../../src/consensus/raft.ts'
import type { Raft, RaftConfig } from '../../../src/consensus/raft.ts'
import type {
  ConfChangeSingle, ConfState, Entry, HardState, Message, MessageType, ProposalResult, ReadState, RestoredState, SnapshotMeta
} from '../../../src/consensus/types.ts'

export const ELECTION_TICKS = 10
export const none = new Uint8Array(0)
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (data: Uint8Array): string => new TextDecoder().decode(data)

export function confOf (voters: string, learners = ''): ConfState {
  return { voters: [...voters], votersOutgoing: [], learners: [...learners], learnersNext: [], autoLeave: false }
}

export const entry = (index: number, term: number, data = ''): Entry => ({ index, term, kind: 'normal', data: bytes(data) })

/** A message with every field that is not given empty. */
export function message (type: MessageType, from: string, to: string, fields: Partial<Message>): Message {
  return {
    type, from, to, term: 1, index: 0, logTerm: 0, entries: [], commit: 0, reject: false, rejectHint: 0, force: false, context: none, ...fields
  }
}

export function configOf (id: string, limits: Partial<RaftConfig> = {}): RaftConfig {
  return {
    id,
    electionTicks: ELECTION_TICKS,
    heartbeatTicks: 1,
    maxInflightMessages: 16,
    maxInflightBytes: 1_000_000,
    maxAppendBytes: 100_000,
    maxUncommittedBytes: 1_000_000,
    maxEntryBytes: 10_000,
    random: () => 0,
    ...limits
  }
}

/** As stored by a founder of `voters`, or with a longer log. */
export function restoredOf (conf: ConfState, terms: number[] = [], hard: Partial<HardState> = {}): RestoredState {
  const entries = terms.map((term, i) => entry(i + 2, term))
  return {
    hardState: { term: Math.max(1, ...terms), votedFor: '', commit: 1, ...hard },
    snapshot: { index: 1, term: 1, conf },
    entries,
    applied: 1
  }
}

/** A node that carries out its duties at once; `isHeld` leaves its readies to the test. */
export class Node {
  readonly id: string
  readonly raft: Raft
  readonly applied: Entry[] = []
  readonly reads: ReadState[] = []
  readonly proposals: ProposalResult[] = []
  readonly hardStates: HardState[] = []
  outbox: Message[] = []
  conf: ConfState | undefined
  restoredSnapshot: SnapshotMeta | undefined

  constructor (id: string, restored: RestoredState, limits: Partial<RaftConfig> = {}) {
    this.id = id
    this.raft = createRaft(configOf(id, limits), restored)
  }

  get status () { return this.raft.status() }
  get data (): string[] { return this.applied.filter(({ kind }) => kind === 'normal').map(({ data }) => text(data)) }

  /** Carry out all duties. @returns the messages that were to be sent */
  run (): Message[] {
    for (let round = 0; this.raft.hasReady(); round++) {
      if (round > 1000) throw new Error('it never comes to rest')
      const ready = this.raft.ready()
      if (ready.hardState !== undefined) this.hardStates.push(ready.hardState)
      if (ready.snapshot !== undefined) this.restoredSnapshot = ready.snapshot
      this.outbox.push(...ready.messages)
      for (const committed of ready.committed) {
        this.applied.push(committed)
        if (committed.kind === 'conf') this.conf = this.raft.applyConfChange(committed)
      }
      this.reads.push(...ready.readStates)
      this.proposals.push(...ready.proposals)
      this.raft.advance(ready)
    }
    const messages = this.outbox
    this.outbox = []
    return messages
  }

  tick (count = 1): Message[] {
    for (let i = 0; i < count; i++) this.raft.tick()
    return this.run()
  }

  step (incoming: Message): Message[] {
    const verdict = this.raft.step(incoming)
    if (verdict.verdict !== 'accept') throw new Error(`${incoming.type} was refused: ${verdict.reason}`)
    return this.run()
  }
}

export class Group {
  readonly nodes = new Map<string, Node>()
  /** messages for which this holds are lost */
  isLost: (message: Message) => boolean = () => false
  /** all that was sent, lost or not */
  readonly sent: Message[] = []

  constructor (voters: string, options: { learners?: string, others?: string, limits?: Partial<RaftConfig>, restored?: Record<string, RestoredState> } = {}) {
    const conf = confOf(voters, options.learners)
    for (const id of [...voters, ...options.learners ?? '']) {
      this.nodes.set(id, new Node(id, options.restored?.[id] ?? restoredOf(conf), options.limits))
    }
    for (const id of options.others ?? '') this.nodes.set(id, newcomer(id, options.limits))
  }

  node (id: string): Node { return this.nodes.get(id)! }

  /** Deliver until nobody has anything to say. */
  settle (): void {
    let queue = [...this.nodes.values()].flatMap(node => node.run())
    for (let round = 0; queue.length > 0; round++) {
      if (round > 1000) throw new Error('it never settles')
      this.sent.push(...queue)
      queue = queue.flatMap(item => {
        const to = this.nodes.get(item.to)
        return to === undefined || this.isLost(item) ? [] : to.step(item)
      })
    }
  }

  /** Cut these off from all others. */
  isolate (...ids: string[]): void {
    this.isLost = ({ from, to }) => ids.includes(from) !== ids.includes(to)
  }

  heal (): void { this.isLost = () => false }

  tick (id: string, count = 1): void {
    for (let i = 0; i < count; i++) {
      this.node(id).raft.tick()
      this.settle()
    }
  }

  tickAll (count = 1): void {
    for (let i = 0; i < count; i++) {
      for (const node of this.nodes.values()) node.raft.tick()
      this.settle()
    }
  }

  /** `id` leads, as soon as others forget the leader they have. */
  elect (id: string): void {
    for (const node of this.nodes.values()) {
      const { leader } = node.status
      if (leader !== '' && leader !== id) node.raft.reportUnreachable(leader)
    }
    this.node(id).raft.campaign()
    this.settle()
    if (this.node(id).status.role !== 'leader') throw new Error(`${id} is not elected`)
  }

  propose (id: string, data: string): ProposalResult | undefined {
    this.node(id).raft.propose(bytes(data), none)
    this.settle()
    return this.node(id).proposals.at(-1)
  }

  change (id: string, changes: ConfChangeSingle[], transition: 'auto' | 'joint' | 'explicit' = 'auto'): ProposalResult | undefined {
    this.node(id).raft.proposeConfChange({ transition, changes, context: none }, none)
    this.settle()
    return this.node(id).proposals.at(-1)
  }
}

/** Nothing on disk, member of nothing. */
export function newcomer (id: string, limits?: Partial<RaftConfig>): Node {
  return new Node(id, { hardState: { term: 0, votedFor: '', commit: 0 }, snapshot: { index: 0, term: 0, conf: confOf('') }, entries: [], applied: 0 }, limits)
}
