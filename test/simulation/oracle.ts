/**
 * What must hold, checked as it happens. The oracle sees all nodes at once. Source: Raft paper figure 3; thesis §6.4 (reads).
 *
 * Entries travel by reference in the simulation, so "the same entry" is the same object.
 */
import type { Entry, HardState, Message } from '../../src/consensus/types.ts'

export class Violation extends Error {}

function must (holds: boolean, rule: string, detail: () => string): asserts holds {
  if (!holds) throw new Violation(`${rule}: ${detail()}`)
}

export class Oracle {
  #leaders = new Map<number, string>()
  #votes = new Map<string, string>()
  /** by index: each entry that ever was on a disk, and the term before it */
  #written: Array<Array<{ entry: Entry, previousTerm: number }>> = []
  /** by index */
  committed: Entry[] = []
  #committedIn: number[] = []
  #acknowledged = new Map<string, number>()
  /** highest index that a client was told of */
  acknowledgedIndex = 0

  /** Election safety (§5.2): at most one node acts as leader in a term. */
  leads (id: string, term: number): void {
    const known = this.#leaders.get(term)
    if (known === undefined) this.#leaders.set(term, id)
    else must(known === id, 'one leader a term', () => `${known} and ${id} in term ${term}`)
  }

  get elections (): number { return this.#leaders.size }

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

  /** A client was told that its command is done. */
  acknowledges (command: string, index: number): void {
    const entry = this.committed[index]
    must(entry !== undefined && commandOf(entry) === command, 'acknowledged is committed', () => `${command} at ${index}`)
    this.#acknowledged.set(command, index)
    this.acknowledgedIndex = Math.max(this.acknowledgedIndex, index)
  }

  get acknowledgedCount (): number { return this.#acknowledged.size }

  /** Reads are linearizable (thesis §6.4): they see what had been acknowledged when they were asked. */
  reads (id: string, index: number, floor: number): void {
    must(index >= floor, 'linearizable reads', () => `${id} reads at ${index}, acknowledged before was ${floor}`)
  }

  /** At the end: each acknowledged command stands in the one committed order, which has no gap. */
  concludes (): void {
    for (let index = 2; index < this.committed.length; index++) {
      must(this.committed[index] !== undefined, 'no gap', () => `nothing committed at ${index}`)
    }
    for (const [command, index] of this.#acknowledged) {
      must(commandOf(this.committed[index]!) === command, 'acknowledged stays', () => command)
    }
  }
}

const decoder = new TextDecoder()
export const commandOf = (entry: Entry): string => decoder.decode(entry.data)
