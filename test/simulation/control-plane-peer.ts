/**
 * A participant without sockets or sandbox: its own replica behind a lossy gossip, its acceptance, durable outbox and block store, slots
 * that take virtual time. It computes nothing: a task's output is named by what went into it, so that equal work has equal CIDs.
 */
import { signStatement } from '../../keys/statement.ts'
import { COMMAND_LIMITS, STATEMENT_DOMAINS } from '../../protocols/ledger/constants.ts'
import { encodeReceiptBatch, type AttemptReceipt } from '../../src/ledger/command.ts'
import { apply, type LedgerEntry } from '../../src/ledger/apply.ts'
import { decodeLedger } from '../../src/ledger/snapshot.ts'
import { createLedger, type CidStr, type Ledger, type RunningJob, type Signed, type TaskOutput } from '../../src/ledger/state.ts'
import { taskInputs, type TaskInput } from '../../src/ledger/view.ts'
import { createOrder, gapOf, ingest, jump, learnHead, type Gap, type Order } from '../../src/observer/order.ts'
import { accept, createAcceptance, finished, reconcile, type AcceptAction, type Acceptance } from '../../src/participant/accept.ts'
import { cidOf, network } from '../unit/ledger/fixture.ts'
import type { Identity } from '../../keys/identity.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { AttemptRef } from '../../src/ledger/event.ts'
import type { Random } from './random.ts'

export interface PeerWorld {
  readonly random: Random
  /** run after so many virtual ms */
  readonly after: (ms: number, what: () => void) => void
  /** whether this peer is up and gives this block */
  readonly gives: (peer: PeerIdStr, cid: CidStr) => boolean
}

const SLOTS = 2
/** names whose task always throws; set by the job's name */
export const POISON = 'poison'

export const nameOf = (ref: AttemptRef): string => `${ref.job}/${ref.stage}/${ref.task}/${ref.attempt}`

/** What a task makes of its inputs: one output a partition, none for some partitions. */
export function computed (inputs: readonly CidStr[], partitions: number): TaskOutput[] {
  const outputs: TaskOutput[] = []
  for (let partition = 0; partition < Math.max(1, partitions); partition++) {
    const cid = cidOf(`${inputs.join()} ${partition}`)
    if (partitions === 0 || !cid.endsWith('a')) outputs.push({ partition, cid, bytes: 100, records: 1, holders: [] })
  }
  return outputs
}

export class SimPeer {
  readonly identity: Identity
  readonly #world: PeerWorld
  isUp = true
  ledger: Ledger = createLedger(network)
  order: Order = createOrder(1)
  state: Acceptance
  /** durable: survives a crash, unless the disk is lost */
  readonly outbox = new Map<string, AttemptReceipt>()
  readonly blocks = new Set<CidStr>()
  /** attempts wait here for a slot */
  queue: AttemptRef[] = []
  readonly busy = new Map<string, AttemptRef>()
  /** counts up with each crash, so that what was planned before it does nothing */
  life = 0

  constructor (identity: Identity, world: PeerWorld) {
    this.identity = identity
    this.#world = world
    this.state = createAcceptance(identity.peerId, [])
  }

  /** Entries by gossip or repair, in any order. */
  hear (entries: readonly LedgerEntry[], head: number): void {
    if (!this.isUp) return
    learnHead(this.order, head)
    this.#applyAll(ingest(this.order, entries))
  }

  get gap (): Gap | undefined { return this.isUp ? gapOf(this.order) : undefined }

  /** A snapshot instead of entries that are no longer in the log. */
  restore (bytes: Uint8Array): void {
    const ledger = decodeLedger(bytes)
    if (!this.isUp || ledger.index <= this.ledger.index) return
    this.ledger = ledger
    const ready = jump(this.order, ledger.index)
    this.#act(reconcile(this.state, this.ledger))
    this.#applyAll(ready)
  }

  #applyAll (entries: readonly LedgerEntry[]): void {
    for (const entry of entries) this.#act(accept(this.state, apply(this.ledger, entry)))
  }

  #act (actions: readonly AcceptAction[]): void {
    for (const { type, attempt } of actions) {
      const name = nameOf(attempt)
      if (type === 'forget') this.outbox.delete(name)
      if (type === 'stop') {
        this.busy.delete(name)
        this.queue = this.queue.filter((waiting) => nameOf(waiting) !== name)
      }
      if (type === 'start') this.queue.push(attempt)
    }
    this.#fill()
  }

  #fill (): void {
    const { random, after } = this.#world
    for (const ref of [...this.queue]) {
      const job = this.ledger.running.get(ref.job)
      const inputs = taskInputs(this.ledger, ref.job, ref.stage, ref.task)
      // without inputs it waits for a lost block to be made again
      if (this.busy.size >= SLOTS || job === undefined || inputs === undefined) continue
      this.queue.splice(this.queue.indexOf(ref), 1)
      this.busy.set(nameOf(ref), ref)
      const { life } = this
      const receipt = this.#run(ref, job, inputs)
      // one in two hundred hangs: its lease takes it back
      if (random.chance(0.005)) continue
      after(random.between(5, 150), () => {
        if (this.life !== life || !this.busy.delete(nameOf(ref))) return
        if (finished(this.state, ref)) this.outbox.set(nameOf(ref), receipt)
        this.#fill()
      })
    }
  }

  #run (ref: AttemptRef, job: RunningJob, inputs: readonly TaskInput[]): AttemptReceipt {
    const fault = (code: 'throw' | 'missing', missing: CidStr[]): AttemptReceipt => ({ ...ref, ok: false, fault: { code, message: '', record: 0, missing } })
    const missing = inputs.filter(({ cid, holders }) => !this.blocks.has(cid) && !holders.some((holder) => this.#world.gives(holder, cid))).map(({ cid }) => cid)
    if (missing.length > 0) return fault('missing', [...new Set(missing)].slice(0, COMMAND_LIMITS.maxMissing))
    if (job.spec.name === POISON && ref.task === 1) return fault('throw', [])
    if (this.#world.random.chance(0.01)) return fault('throw', [])
    const outputs = computed(inputs.map(({ cid }) => cid), job.spec.stages[ref.stage]?.partitions ?? 0)
    for (const { cid } of outputs) this.blocks.add(cid)
    return { ...ref, ok: true, outputs, counters: { recordsIn: 1, recordsOut: outputs.length, bytesIn: 1, bytesOut: 1, wallMs: 1, cpuMs: 1 } }
  }

  /** What waits to be committed, signed anew each time it is sent. */
  receipts (): Signed | undefined {
    const waiting = [...this.outbox.values()].slice(0, COMMAND_LIMITS.maxReceipts)
    if (!this.isUp || waiting.length === 0) return undefined
    return signStatement(this.identity, STATEMENT_DOMAINS.receipts, encodeReceiptBatch(network, this.identity.peerId, waiting))
  }

  crash (losesDisk: boolean): void {
    this.isUp = false
    this.life++
    this.busy.clear()
    this.queue = []
    if (losesDisk) {
      this.outbox.clear()
      this.blocks.clear()
    }
  }

  /** Up again with what its disk kept: the outbox, and a replica that begins anew. */
  restart (): void {
    this.isUp = true
    this.ledger = createLedger(network)
    this.order = createOrder(1)
    this.state = createAcceptance(this.identity.peerId, this.outbox.values())
  }
}
