/**
 * Making a job out of files and a module: check the code, cut the inputs into blocks, put a second copy of everything on other
 * members, sign the spec, and hand it to whoever leads. Returns once the job is committed.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { signStatement } from '../../keys/statement.ts'
import { COMMAND_LIMITS, STATEMENT_DOMAINS, TASK_LIMITS } from '../../protocols/ledger/constants.ts'
import { SignedStatement } from '../../protocols/ledger/messages.js'
import { JobReply, JobRequest as JobRequestMessage } from '../../protocols/job/messages.js'
import { importInputs } from '../blocks/import.ts'
import { putObject } from '../blocks/object.ts'
import type { Exchange } from '../blocks/exchange.ts'
import type { BlockStore } from '../blocks/store.ts'
import { ConclaveError } from '../errors.ts'
import { cidText } from '../ledger/cid.ts'
import { jobIdOf } from '../ledger/job-id.ts'
import { decodeJobSpec, encodeJobSpec } from '../ledger/job-spec.ts'
import type { CidStr, JobId, JobInput, JobSpec, StageSpec } from '../ledger/state.ts'
import type { Identity } from '../../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { JobRequest } from '../api.ts'
import type { Executors, JobShape } from '../participant/sandbox/executors.ts'

/** Splits that are being copied to other members at the same time; past it, reading waits. */
const MAX_COPIES_IN_FLIGHT = 8
const DEFAULT_SPLIT_BYTES = 1 << 20
const DEFAULT_PARTITIONS = 8

export interface SubmitInit {
  identity: Identity
  network: NetworkId
  store: BlockStore
  exchange: Exchange
  executors: Executors
  /** copies wanted of everything, this node's included */
  copies: number
  /** connected members that may hold a copy, those that will work on it first; asked anew for each block */
  holders: () => readonly PeerIdStr[]
  /** brings an encoded JobRequest to the leader; returns the encoded JobReply */
  send: (request: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>
  wallMs: () => number
}

/**
 * @returns the id of the committed job
 * @throws JOB_* (the module), INPUT_* (the files), COPY_FAILED, SPEC_INVALID, DISK_FULL, BLOCK_STORE_FULL, the leader's refusal, NO_QUORUM;
 *   the signal's reason
 */
export async function submitJob (init: SubmitInit, request: JobRequest, signal: AbortSignal): Promise<JobId> {
  const code = await readCode(request.code)
  const shape = await init.executors.inspect(code, signal)
  const owner = `submit/${randomBytes(8).toString('hex')}`
  const copier = createCopier(init, owner, signal)
  try {
    const { cid } = await putObject(init.store, code, { durable: true, owner })
    const codeHolders = await copier.copy(cid)
    const spec: JobSpec = {
      network: init.network,
      submitter: init.identity.peerId,
      nonce: new Uint8Array(randomBytes(COMMAND_LIMITS.nonceBytes)),
      createdAtMs: init.wallMs(),
      name: request.name ?? nameOf(request.code),
      code: { cid, bytes: code.length, holders: codeHolders },
      inputs: await storeInputs(init, request, owner, copier, signal),
      stages: stagesOf(shape, request.partitions ?? DEFAULT_PARTITIONS),
      limits: { ...defaultLimits(), ...request.limits },
      maxAttempts: request.maxAttempts ?? COMMAND_LIMITS.defaultMaxAttempts,
      deadlineMs: request.deadlineMs ?? 0,
      encoding: request.encoding ?? 'utf8'
    }
    return await send(init, spec, signal)
  } finally {
    init.store.unpin(owner)
  }
}

async function send (init: SubmitInit, spec: JobSpec, signal: AbortSignal): Promise<JobId> {
  const payload = encodeJobSpec(spec)
  const verdict = decodeJobSpec(payload)
  if (verdict.verdict !== 'accept') throw new ConclaveError(verdict.code, verdict.reason, { next: 'conclave run --help' })
  // pinned under the job's own id before anybody can plan it; released when the ledger ends or forgets the job
  const id = jobIdOf(payload)
  for (const cid of [spec.code.cid, ...spec.inputs.map((input) => input.cid)]) init.store.pin(cid, id)
  try {
    const signed = signStatement(init.identity, STATEMENT_DOMAINS.jobSpec, payload)
    const request = JobRequestMessage.encode({ submit: SignedStatement.encode({ ...signed, payload, signature: new Uint8Array(signed.signature) }) })
    const reply = JobReply.decode(await init.send(request, signal))
    if (reply.job !== id) throw new Error(`assertion: the leader acknowledged ${reply.job} instead of ${id}`)
    return id
  } catch (error) {
    init.store.unpin(id)
    throw error
  }
}

async function readCode (code: JobRequest['code']): Promise<Uint8Array> {
  if (typeof code === 'string') return new TextEncoder().encode(code)
  if (code instanceof Uint8Array) return code
  try {
    const bytes = await fs.readFile(code)
    if (bytes.length > COMMAND_LIMITS.maxCodeBytes) throw new ConclaveError('JOB_TOO_LARGE', `the job module has ${bytes.length} bytes; at most ${COMMAND_LIMITS.maxCodeBytes} are taken`, { next: 'put data into inputs, not into the module' })
    return bytes
  } catch (cause) {
    if (cause instanceof ConclaveError) throw cause
    throw new ConclaveError('JOB_NOT_FOUND', `cannot read the job module ${code.pathname}: ${(cause as Error).message}`, { cause, next: 'check the path; `conclave run --help` shows an example' })
  }
}

function nameOf (code: JobRequest['code']): string {
  return code instanceof URL ? path.basename(code.pathname).slice(0, COMMAND_LIMITS.maxNameChars) : 'job'
}

function stagesOf (shape: JobShape, partitions: number): StageSpec[] {
  const { clean, combine } = shape
  if (!shape.reduce) return [{ kind: 'map', clean, combine: false, partitions: 0 }]
  return [{ kind: 'map', clean, combine, partitions }, { kind: 'reduce', clean: false, combine: false, partitions: 0 }]
}

function defaultLimits (): JobSpec['limits'] {
  return {
    timeoutMs: TASK_LIMITS.timeoutMs.default,
    memoryBytes: TASK_LIMITS.memoryBytes.default,
    inputBytes: TASK_LIMITS.inputBytes.default,
    outputBytes: TASK_LIMITS.outputBytes.default,
    logBytes: TASK_LIMITS.logBytes.default
  }
}

/** Inputs in file order, each with the members that hold it besides us and first of all us. */
async function storeInputs (init: SubmitInit, request: JobRequest, owner: string, copier: Copier, signal: AbortSignal): Promise<JobInput[]> {
  const pending: Array<Promise<JobInput>> = []
  const source = importInputs(request.inputs, { encoding: request.encoding ?? 'utf8', splitBytes: request.splitBytes ?? DEFAULT_SPLIT_BYTES, store: init.store, owner, signal })
  try {
    for await (const input of source) {
      const cid = cidText(input.cid)
      if (cid === undefined) throw new Error('assertion: the store made a CID of an unknown kind')
      await copier.room()
      const copied = copier.copy(cid).then((holders): JobInput => ({ ...input, cid, holders }))
      copied.catch(() => {}) // awaited below; a failure before that must not end the process
      pending.push(copied)
    }
    return await Promise.all(pending)
  } catch (error) {
    await Promise.allSettled(pending)
    throw error
  }
}

interface Copier {
  /** @returns the holders, this node first. @throws COPY_FAILED where other members are connected and none took a copy */
  copy (cid: CidStr): Promise<PeerIdStr[]>
  /** Resolves when another copy may start. */
  room (): Promise<void>
}

function createCopier (init: SubmitInit, owner: string, signal: AbortSignal): Copier {
  const inFlight = new Set<Promise<unknown>>()
  let turn = 0

  async function copyTo (cid: CidStr): Promise<PeerIdStr[]> {
    const holders = [init.identity.peerId]
    const candidates = init.holders()
    const first = turn++
    let failure: unknown
    for (let i = 0; i < candidates.length && holders.length < init.copies; i++) {
      const peer = candidates[(first + i) % candidates.length] as PeerIdStr
      try {
        await init.exchange.push(cid, peer, signal)
        holders.push(peer)
      } catch (error) {
        signal.throwIfAborted()
        failure = error
      }
    }
    if (holders.length < 2 && candidates.length > 0 && init.copies > 1) {
      throw new ConclaveError('COPY_FAILED', 'no other member took a copy of the job\'s data, so it would be lost with this machine', { cause: failure, next: 'conclave peers', details: { cid, owner } })
    }
    return holders
  }

  return {
    async copy (cid) {
      const work = copyTo(cid)
      inFlight.add(work)
      try {
        return await work
      } finally {
        inFlight.delete(work)
      }
    },
    async room () {
      while (inFlight.size >= MAX_COPIES_IN_FLIGHT) await Promise.race([...inFlight].map(async (work) => { await work.catch(() => {}) }))
    }
  }
}
