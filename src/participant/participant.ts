/**
 * A participant: runs the attempts that its replica assigns to it, keeps their receipts until they are committed, and tells the leader that
 * it is alive. What to start and stop is decided in `accept.ts`.
 */
import { signStatement } from '../../keys/statement.ts'
import type { Identity } from '../../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import { COMMAND_LIMITS, STATEMENT_DOMAINS } from '../../protocols/ledger/constants.ts'
import { SignedStatement } from '../../protocols/ledger/messages.js'
import { Notice } from '../../protocols/sync/messages.js'
import type { Head } from '../../protocols/sync/messages.js'
import { WorkRequest } from '../../protocols/work/messages.js'
import type { LogEvent } from '../api.ts'
import { PROTOCOL } from '../config.ts'
import type { NodeConfig } from '../config.ts'
import { ConclaveError } from '../errors.ts'
import { encodeReceiptBatch } from '../ledger/command.ts'
import type { AttemptReceipt } from '../ledger/command.ts'
import type { AttemptRef, LedgerEvent } from '../ledger/event.ts'
import { pause } from '../leader/route.ts'
import type { Replica } from '../observer/replica.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { accept, createAcceptance, finished, reconcile } from './accept.ts'
import type { Acceptance, AcceptAction } from './accept.ts'
import { fetchAttempt, missingReceipt, planAttempt, runAttempt } from './attempt.ts'
import type { AttemptInit, AttemptPlan } from './attempt.ts'
import { createBatcher } from './batcher.ts'
import type { Outbox } from './outbox.ts'

/** After the disk was full, this participant takes no new work for so long. */
const DISK_PAUSE_MS = 10_000

export interface ParticipantInit extends AttemptInit {
  identity: Identity
  network: NetworkId
  overlay: Overlay
  replica: Replica
  outbox: Outbox
  slots: number
  config: NodeConfig['participant']
  head: () => Head
  /** brings an encoded WorkRequest to whoever leads, for as long as it takes up to the configured deadline */
  toLeader: (request: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>
  /** handles an encoded WorkRequest here, where this node leads */
  local: (request: Uint8Array, signal: AbortSignal) => Promise<Uint8Array> | undefined
  nowMs: () => number
  log: (event: LogEvent) => void
}

export interface Participant {
  readonly slots: number
  busy (): number
  /** Tell the leader now: it changed, or we connected to it. */
  advertise (): void
  /** Start what the replica says is ours. Call once the replica may be believed. */
  start (): void
  /** Takes no new work from now on; what runs goes on. */
  drain (): void
  /** Stops running code; receipts stay in the outbox. */
  stop (): Promise<void>
}

export const attemptKey = ({ job, stage, task, attempt }: AttemptRef): string => `${job}/${stage}/${task}/${attempt}`

export function refOfKey (key: string): AttemptRef {
  const [job, stage, task, attempt] = key.split('/')
  return { job: job as AttemptRef['job'], stage: Number(stage), task: Number(task), attempt: Number(attempt) }
}

export function createParticipant (init: ParticipantInit): Participant {
  const { replica, overlay, outbox, config, log } = init
  const stopping = new AbortController()
  const acceptance: Acceptance = createAcceptance(overlay.peerId, outbox.entries().flatMap(({ keys }) => keys.map(refOfKey)))
  const running = new Map<string, { controller: AbortController, done: Promise<void> }>()
  const slots = createSlots(init.slots)
  let isDraining = false
  let isStarted = false
  let diskFullUntilMs = 0

  function act (actions: readonly AcceptAction[]): void {
    for (const action of actions) {
      const key = attemptKey(action.attempt)
      if (action.type === 'stop') running.get(key)?.controller.abort(new ConclaveError('ATTEMPT_STOPPED', action.reason))
      if (action.type === 'forget') outbox.remove(key).catch((error: unknown) => { log({ level: 'error', event: 'outbox:fail', reason: String(error) }) })
      if (action.type === 'start') begin(key, action.attempt)
    }
  }

  function begin (key: string, ref: AttemptRef): void {
    const controller = new AbortController()
    const signal = AbortSignal.any([controller.signal, stopping.signal])
    const done = attempt(ref, signal).catch((error: unknown) => {
      if (!signal.aborted) log({ level: 'error', event: 'attempt:fail', attempt: key, reason: String(error) })
    }).finally(() => { running.delete(key) })
    running.set(key, { controller, done })
  }

  /** From an assignment to a queued receipt. */
  async function attempt (ref: AttemptRef, signal: AbortSignal): Promise<void> {
    try {
      const plan = await planned(ref, signal)
      const missing = await fetchAttempt(init, plan, signal)
      if (missing.length > 0) {
        report(missingReceipt(ref, missing))
        return
      }
      await slots.take(signal)
      try {
        report(await runAttempt(init, plan, signal))
      } finally {
        slots.give()
      }
    } catch (error) {
      if (signal.aborted) return
      const code = error instanceof ConclaveError ? error.code : 'INTERNAL'
      if (code === 'DISK_FULL' || code === 'BLOCK_STORE_FULL') {
        diskFullUntilMs = init.nowMs() + DISK_PAUSE_MS
        advertise()
      }
      log({ level: 'warn', event: 'attempt:error', attempt: attemptKey(ref), code, reason: String(error) })
      report({ ...ref, ok: false, fault: { code: 'crash', message: `${code}: ${error instanceof Error ? error.message : String(error)}`, record: 0, missing: [] } })
    }
  }

  /** What the attempt reads; waits while a lost block of the stage before is being made again. */
  async function planned (ref: AttemptRef, signal: AbortSignal): Promise<AttemptPlan> {
    for (;;) {
      signal.throwIfAborted()
      const plan = planAttempt(replica.ledger, ref)
      if (plan !== undefined) return plan
      await replica.changed(signal)
    }
  }

  /** Sign what has gathered as one batch, keep it, then send it. */
  const reports = createBatcher<AttemptReceipt>(COMMAND_LIMITS.maxReceipts, async (batch) => {
    while (!stopping.signal.aborted) {
      try {
        await keep(batch)
        return
      } catch (error) {
        // a full disk or outbox: what was computed is not thrown away, and no new work is taken meanwhile
        log({ level: 'error', event: 'receipt:fail', reason: String(error) })
        diskFullUntilMs = init.nowMs() + DISK_PAUSE_MS
        advertise()
        await pause(config.resendMs, stopping.signal)
      }
    }
  })
  const report = (receipt: AttemptReceipt): void => { reports.push(receipt) }

  async function keep (batch: readonly AttemptReceipt[]): Promise<void> {
    const payload = encodeReceiptBatch(init.network, overlay.peerId, batch)
    const statement = signStatement(init.identity, STATEMENT_DOMAINS.receipts, payload)
    const bytes = SignedStatement.encode({ ...statement, payload, signature: new Uint8Array(statement.signature) })
    await outbox.append(bytes, batch.map(attemptKey))
    for (const receipt of batch) if (!finished(acceptance, receipt)) await outbox.remove(attemptKey(receipt))
    void deliver(bytes, batch.map(attemptKey))
  }

  /** Send a batch until our replica shows its effect, or made it moot. */
  async function deliver (bytes: Uint8Array, keys: readonly string[]): Promise<void> {
    const isWanted = (): boolean => !stopping.signal.aborted && keys.some((key) => outbox.has(key))
    hint(bytes)
    while (isWanted()) {
      try {
        await init.toLeader(WorkRequest.encode({ hops: 0, receipts: new Uint8Array(bytes) }), stopping.signal)
      } catch (error) {
        if (stopping.signal.aborted) return
        log({ level: 'warn', event: 'receipt:resend', reason: String(error) })
      }
      // an answer is no proof: only our own replica says that it is committed, and the outbox forgets it then
      await pause(config.resendMs, stopping.signal)
    }
  }

  /** Observers hear of a result before it is committed; a lost hint costs nothing. */
  function hint (bytes: Uint8Array): void {
    const head = init.head()
    overlay.publish('results', Notice.encode({ head, entries: [], receipts: new Uint8Array(bytes) }), head.term).catch((error: unknown) => {
      if (!stopping.signal.aborted) log({ level: 'debug', event: 'hint:fail', reason: String(error) })
    })
  }

  function advertise (): void {
    if (!isStarted || stopping.signal.aborted) return
    const isPaused = init.nowMs() < diskFullUntilMs || outbox.size() >= config.maxOutbox
    const request = WorkRequest.encode({ hops: 0, advertise: { slots: init.slots, busy: slots.busy(), draining: isDraining || isPaused, held: [] } })
    const leader = init.head().leader
    const sent = init.local(request, stopping.signal) ??
      (leader !== '' && leader !== overlay.peerId && overlay.isConnected(leader as PeerIdStr)
        ? overlay.request(leader as PeerIdStr, PROTOCOL.work, request, { signal: stopping.signal, timeoutMs: config.advertiseMs * 3 })
        : undefined)
    sent?.catch((error: unknown) => { if (!stopping.signal.aborted) log({ level: 'debug', event: 'advertise:fail', reason: String(error) }) })
  }

  const timer = setInterval(advertise, config.advertiseMs)
  const offReplica = replica.onChange((events: readonly LedgerEvent[]) => {
    if (isStarted) act(events.length > 0 ? accept(acceptance, events) : reconcile(acceptance, replica.ledger))
  })

  return {
    slots: init.slots,
    busy: () => slots.busy(),
    advertise,
    start () {
      if (isStarted) return
      isStarted = true
      act(reconcile(acceptance, replica.ledger))
      for (const { bytes, keys } of outbox.entries()) void deliver(bytes, keys)
      advertise()
    },
    drain () {
      isDraining = true
      advertise()
    },
    async stop () {
      stopping.abort(new ConclaveError('NODE_STOPPED', 'the node is stopping'))
      clearInterval(timer)
      offReplica()
      await Promise.all([...running.values()].map(async ({ done }) => { await done }))
      await reports.idle()
    }
  }
}

interface Slots { take (signal: AbortSignal): Promise<void>, give (): void, busy (): number }

/** Who waits longest goes first. */
function createSlots (count: number): Slots {
  let busy = 0
  const waiting: Array<() => void> = []
  return {
    busy: () => busy,
    async take (signal) {
      signal.throwIfAborted()
      if (busy < count) {
        busy++
        return
      }
      await new Promise<void>((resolve, reject) => {
        const go = (): void => { signal.removeEventListener('abort', abort); resolve() }
        const abort = (): void => { waiting.splice(waiting.indexOf(go), 1); reject(signal.reason) }
        waiting.push(go)
        signal.addEventListener('abort', abort, { once: true })
      })
    },
    give () {
      const next = waiting.shift()
      if (next === undefined) busy--
      else next()
    }
  }
}
