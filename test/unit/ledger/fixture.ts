/**
 * A small network in memory: a founder, participants, and the commands they cause. Signatures are real where a test asks for them;
 * `apply` does not look at them.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { base32 } from 'multiformats/bases/base32'
import { identityFromSeed, type Identity } from '../../../keys/identity.ts'
import { networkIdOf, rootChain } from '../../../keys/network.ts'
import { signStatement } from '../../../keys/statement.ts'
import { STATEMENT_DOMAINS } from '../../../protocols/ledger/constants.ts'
import { apply } from '../../../src/ledger/apply.ts'
import { admitCommand, assignCommand, encodeReceiptBatch, receiptsCommand, submitCommand, type AttemptReceipt } from '../../../src/ledger/command.ts'
import { jobIdOf } from '../../../src/ledger/job-id.ts'
import { encodeJobSpec } from '../../../src/ledger/job-spec.ts'
import { createLedger, type CidStr, type JobId, type JobSpec, type Ledger, type Signed, type TaskOutput } from '../../../src/ledger/state.ts'
import type { Capability } from '../../../keys/certificate.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'
import type { AttemptRef, LedgerEvent } from '../../../src/ledger/event.ts'

export const NOW = Date.UTC(2030, 0, 1)
export const TERM = 1

export const person = (n: number): Identity => identityFromSeed(new Uint8Array(32).fill(n))
export const root = person(1)
export const network = networkIdOf(root)
export const founder = person(2)
/** sorted by peer id */
export const workers = [person(11), person(12), person(13)].sort((a, b) => a.peerId < b.peerId ? -1 : 1)
export const workerIds = workers.map((worker) => worker.peerId)

/** The CID that this text would have as a raw block. */
export function cidOf (text: string): CidStr {
  return base32.encode(new Uint8Array([1, 0x55, 0x12, 32, ...sha256(new TextEncoder().encode(text))]))
}

export interface World {
  readonly ledger: Ledger
  /** every entry so far */
  readonly log: Array<{ index: number, term: number, data: Uint8Array }>
  commit: (data: Uint8Array, term?: number) => LedgerEvent[]
}

/** A ledger at index 0. */
export function emptyWorld (): World {
  const ledger = createLedger(network)
  const log: World['log'] = []
  return {
    ledger,
    log,
    commit (data, term = TERM) {
      const entry = { index: ledger.index + 1, term, data }
      log.push(entry)
      return apply(ledger, entry)
    }
  }
}

/** The founder may do everything, the three workers work, submit and observe. */
export function world (): World {
  const made = emptyWorld()
  made.commit(admitCommand(rootChain(root, { subject: founder.peerId, nowMs: NOW }), NOW))
  const capabilities: Capability[] = ['work', 'submit', 'observe']
  for (const worker of workers) made.commit(admitCommand(rootChain(root, { subject: worker.peerId, nowMs: NOW, capabilities }), NOW))
  return made
}

let nonces = 0

/** `inputs` maps, held by one worker each in turn; `partitions` 0: no reduce stage. */
export function spec (options: { inputs?: number, partitions?: number } & Omit<Partial<JobSpec>, 'inputs'> = {}): JobSpec {
  const { inputs = 2, partitions = 2, ...rest } = options
  const map = { kind: 'map', clean: false, combine: false, partitions } as const
  const reduce = { kind: 'reduce', clean: false, combine: false, partitions: 0 } as const
  return {
    network,
    submitter: founder.peerId,
    nonce: new Uint8Array(16).fill(0).map((_, n) => (++nonces >>> (8 * (n % 4))) & 255),
    createdAtMs: NOW,
    name: 'word count',
    code: { cid: cidOf('code'), bytes: 100, holders: [founder.peerId] },
    inputs: Array.from({ length: inputs }, (_, n) => ({ cid: cidOf(`input ${n}`), bytes: 1000, records: 10, holders: [workerIds[n % 3] as PeerIdStr], source: 'mail.txt', firstRecord: 1 + 10 * n })),
    stages: partitions === 0 ? [map] : [map, reduce],
    limits: { timeoutMs: 30_000, memoryBytes: 128 << 20, inputBytes: 16 << 20, outputBytes: 16 << 20, logBytes: 65_536 },
    maxAttempts: 3,
    deadlineMs: 0,
    encoding: 'utf8',
    ...rest
  }
}

export function signedSpec (made: JobSpec, signer: Identity = founder): Signed {
  return signStatement(signer, STATEMENT_DOMAINS.jobSpec, encodeJobSpec(made))
}

/** Submit a job; its id. */
export function submit ({ commit }: World, made: JobSpec = spec()): JobId {
  const signed = signedSpec(made)
  commit(submitCommand(signed))
  return jobIdOf(signed.payload)
}

/** Give a task's next attempt to a worker. */
export function assign ({ ledger, commit }: World, job: JobId, stage: number, task: number, participant: PeerIdStr = workerIds[0] as PeerIdStr): AttemptRef {
  const attempt = (ledger.running.get(job)?.stages[stage]?.tasks[task]?.attempt ?? 0) + 1
  const ref = { job, stage, task, attempt }
  commit(assignCommand(TERM, [{ ...ref, participant, leaseMs: 60_000 }]))
  return ref
}

export const output = (partition: number, name: string): TaskOutput => ({ partition, cid: cidOf(name), bytes: 10, records: 1, holders: [] })

export function success (ref: AttemptRef, outputs: TaskOutput[]): AttemptReceipt {
  return { ...ref, ok: true, outputs, counters: { recordsIn: 10, recordsOut: outputs.length, bytesIn: 1000, bytesOut: 10, wallMs: 5, cpuMs: 4 } }
}

type Fault = Extract<AttemptReceipt, { ok: false }>['fault']
export function fault (ref: AttemptRef, code: Fault['code'], rest: Partial<Fault> = {}): AttemptReceipt {
  return { ...ref, ok: false, fault: { code, message: 'went wrong', record: 0, missing: [], ...rest } }
}

/** What a task of the fixture's jobs makes: each map one output a partition, each last stage's task one. */
export function outputsFor ({ ledger }: World, ref: AttemptRef): TaskOutput[] {
  const partitions = Math.max(1, ledger.running.get(ref.job)?.stages[ref.stage]?.spec.partitions ?? 0)
  return Array.from({ length: partitions }, (_, n) => output(n, `${ref.stage}/${ref.task}/${n}`))
}

export function signedReceipts (receipts: readonly AttemptReceipt[], participant: Identity = workers[0] as Identity): Signed {
  return signStatement(participant, STATEMENT_DOMAINS.receipts, encodeReceiptBatch(network, participant.peerId, receipts))
}

export function receive ({ commit }: World, receipts: readonly AttemptReceipt[], participant: Identity = workers[0] as Identity): LedgerEvent[] {
  return commit(receiptsCommand(signedReceipts(receipts, participant)))
}

/** Assign and finish one task by one worker. */
export function run (world: World, job: JobId, stage: number, task: number, participant: Identity = workers[0] as Identity): LedgerEvent[] {
  const ref = assign(world, job, stage, task, participant.peerId)
  return receive(world, [success(ref, outputsFor(world, ref))], participant)
}

export const typesOf = (events: readonly LedgerEvent[]): string[] => events.map((event) => event.type)

/** Submit a job of somebody other than the founder; its id. */
export function submitAs ({ commit }: World, made: JobSpec, signer: Identity): JobId {
  const signed = signedSpec(made, signer)
  commit(submitCommand(signed))
  return jobIdOf(signed.payload)
}
