/**
 * What must hold, checked as it happens. The oracle sees all nodes at once. Source: Raft paper figure 3, §5.4, §6; thesis §4, §6.3
 * (exactly once), §6.4 (reads).
 *
 * Entries travel by reference in the simulation, so "the same entry" is the same object.
 */
import type { ConfState, Entry, HardState, Message } from '../../src/consensus/types.ts'
import { INITIAL, nameOf } from './state-machine.ts'
import type { Command, MachineState } from './state-machine.ts'

/** `rule` is a name from a closed list of this folder; the message adds who and where. */
export class Violation extends Error {
  readonly rule: string
  constructor (rule: string, detail: string) {
    super(`${rule}: ${detail}`)
    this.rule = rule
  }
}

export function must (holds: boolean, rule: string, detail: () => string): asserts holds {
  if (!holds) throw new Violation(rule, detail())
}

/** An arithmetic of its own: that of the core is what is being tested. */
function isQuorum (conf: ConfState, has: (id: string) => boolean): boolean {
  const isMajority = (voters: readonly string[]): boolean => 2 * voters.filter(has).length > voters.length
  return isMajority(conf.voters) && (conf.votersOutgoing.length === 0 || isMajority(conf.votersOutgoing))
}

export class Oracle {
  #leaders = new Map<number, string>()
  #votes = new Map<string, string>()
  /** by index: each entry that ever was on a disk, and the term before it */
  #written: Array<Array<{ entry: Entry, previousTerm: number }>> = []
  /** by index */
  committed: Entry[] = []
  #committedIn: number[] = []
  /** by index: of the state after it */
  #digests: number[] = []
  /** command → index at which it had its effect */
  #effects = new Map<string, number>()
  /** by index */
  readonly #snapshots = new Map<number, MachineState>([[1, INITIAL]])
  #acknowledged = 0
  /** highest index that a client was told of */
  acknowledgedIndex = 0
  /** highest index that any client has seen, by an answer to a command or a read */
  seenIndex = 0

  // elections

  /** Election safety (§5.2): at most one node acts as leader in a term. */
  leads (id: string, term: number): void {
    const known = this.#leaders.get(term)
    if (known === undefined) this.#leaders.set(term, id)
    else must(known === id, 'one leader a term', () => `${known} and ${id} in term ${term}`)
  }

  get elections (): number { return this.#leaders.size }

  /** A leader has the votes of a quorum of its configuration, and they are on disk (§5.2, §6). */
  elects (id: string, term: number, conf: ConfState): void {
    this.leads(id, term)
    must(isQuorum(conf, voter => this.#votes.get(`${voter} ${term}`) === id), 'elected by a quorum', () => `${id} in term ${term} of ${describe(conf)}`)
  }

  sends (message: Message, durable: HardState): void {
    if (message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot' || message.type === 'timeoutNow') {
      this.leads(message.from, message.term)
      must(durable.term >= message.term, 'term on disk before it is used', () => `${message.from} leads ${message.term}, has ${durable.term} on disk`)
    }
    if (message.type === 'voteReply' && !message.reject) {
      // a later term on disk will do as well: no other vote can be given in the earlier one any more
      must(durable.term > message.term || (durable.term === message.term && durable.votedFor === message.to), 'vote on disk before it is given',
        () => `${message.from} for ${message.to} in ${message.term}, on disk ${durable.votedFor} in ${durable.term}`)
      this.#votesFor(message.from, message.term, message.to)
    }
  }

  /** One durable vote a term (§5.2); terms do not fall. */
  persists (id: string, before: HardState, after: HardState): void {
    must(after.term >= before.term, 'terms never fall', () => `${id} from ${before.term} to ${after.term}`)
    if (after.votedFor === '') {
      must(after.term > before.term || before.votedFor === '', 'one vote a term', () => `${id} forgets its vote in ${after.term}`)
      return
    }
    this.#votesFor(id, after.term, after.votedFor)
  }

  #votesFor (id: string, term: number, candidate: string): void {
    const key = `${id} ${term}`
    const known = this.#votes.get(key)
    if (known === undefined) this.#votes.set(key, candidate)
    else must(known === candidate, 'one vote a term', () => `${id} for ${known} and ${candidate} in ${term}`)
  }

  // the log

  /** Log matching (§5.3): index and term name one entry, with one predecessor. */
  writes (id: string, entry: Entry, previousTerm: number | undefined): void {
    const known = this.#written[entry.index] ??= []
    const same = known.find(other => other.entry.term === entry.term)
    if (same === undefined) {
      known.push({ entry, previousTerm: previousTerm ?? -1 })
      return
    }
    must(same.entry === entry, 'log matching', () => `${id} has another entry ${entry.index} of term ${entry.term}`)
    must(previousTerm === undefined || same.previousTerm === -1 || same.previousTerm === previousTerm, 'log matching',
      () => `${id} has term ${previousTerm} before entry ${entry.index}, elsewhere ${same.previousTerm}`)
  }

  /**
   * A leader raises its commit index to `entry`: one of its own term (§5.4.2), on disk at a quorum (§5.3, §6).
   *
   * @param confs - the configuration in force now, and the one before the last batch; the decision was made in either
   */
  decides (id: string, term: number, entry: Entry, confs: readonly ConfState[], holds: (voter: string, entry: Entry) => boolean): void {
    must(entry.term === term, 'commits by counting in its own term only', () => `${id} commits entry ${entry.index} of term ${entry.term} in term ${term}`)
    must(confs.some(conf => isQuorum(conf, voter => holds(voter, entry))), 'committed is on disk at a quorum',
      () => `${id} commits entry ${entry.index} of term ${term} in ${describe(confs[0]!)}`)
  }

  /** State machine safety (§5.4.3): one entry an index is ever applied. @param term - of the node that hands it out */
  commits (id: string, entry: Entry, term: number): void {
    const known = this.committed[entry.index]
    if (known === undefined) {
      this.committed[entry.index] = entry
      this.#committedIn[entry.index] = term
    } else {
      must(known === entry, 'state machine safety', () => `${id} commits ${entry.term} at ${entry.index}, known is ${known.term}`)
    }
  }

  /** Leader completeness (§5.4): what was committed in an earlier term is in a new leader's log. @param has - entries above `from` */
  completes (id: string, term: number, from: number, has: readonly Entry[]): void {
    for (let index = from + 1; index < this.committed.length; index++) {
      const entry = this.committed[index]
      if (entry === undefined || this.#committedIn[index]! >= term) continue
      must(has[index - from - 1] === entry, 'leader completeness', () => `${id} leads ${term} without entry ${index} of term ${entry.term}`)
    }
  }

  // clients

  /** All nodes are in the same state after an index; a command has its effect once, and everywhere in the same place. */
  applies (id: string, index: number, digest: number, effect: Command | undefined): void {
    const known = this.#digests[index]
    if (known !== undefined) {
      must(known === digest, 'the same state everywhere', () => `${id} differs after ${index}`)
      return
    }
    this.#digests[index] = digest
    if (effect === undefined) return
    const name = nameOf(effect)
    const before = this.#effects.get(name)
    must(before === undefined, 'exactly once', () => `command ${name} has effect at ${before} and ${index}`)
    this.#effects.set(name, index)
  }

  /** A node has written a snapshot of its state after `index`. */
  snapshots (id: string, index: number, state: MachineState): void {
    this.#same(id, index, state)
    if (!this.#snapshots.has(index)) this.#snapshots.set(index, state)
  }

  /** @returns the bytes of the snapshot that `id` restores */
  restores (id: string, index: number): MachineState {
    const state = this.#snapshots.get(index)
    must(state !== undefined, 'a snapshot is of what was applied', () => `${id} restores ${index}, of which nobody has a snapshot`)
    this.#same(id, index, state)
    return state
  }

  #same (id: string, index: number, { digest }: MachineState): void {
    must(index <= 1 || this.#digests[index] === digest, 'the same state everywhere', () => `the snapshot of ${id} differs at ${index}`)
  }

  /** A client was told that its command is done: its effect is there, at `index` or, for a retry, before. */
  acknowledges (command: Command, index: number): void {
    const at = this.#effects.get(nameOf(command))
    must(at !== undefined && at <= index && this.committed[index] !== undefined, 'acknowledged is applied', () => `${nameOf(command)} at ${index}, effect at ${at}`)
    this.#acknowledged++
    this.acknowledgedIndex = Math.max(this.acknowledgedIndex, index)
    this.seenIndex = Math.max(this.seenIndex, index)
  }

  get acknowledgedCount (): number { return this.#acknowledged }

  /**
   * Reads are linearizable (thesis §6.4): they see all that any client had seen when they were asked.
   *
   * @param applied - what the answer was made of
   * @param floor - `seenIndex` when the read was asked
   */
  reads (id: string, applied: number, floor: number): void {
    must(applied >= floor, 'linearizable reads', () => `${id} reads at ${applied}, seen before was ${floor}`)
    this.seenIndex = Math.max(this.seenIndex, applied)
  }

  /** At the end: the one committed order has no gap. */
  concludes (): void {
    for (let index = 2; index < this.committed.length; index++) {
      must(this.committed[index] !== undefined, 'no gap', () => `nothing committed at ${index}`)
    }
  }
}

const describe = (conf: ConfState): string => `${conf.voters.join('')}/${conf.votersOutgoing.join('')}`
