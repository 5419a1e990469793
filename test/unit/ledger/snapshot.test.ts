import assert from 'node:assert/strict'
import { createRandom, type Random } from '../../simulation/random.ts'
import { signStatement } from '../../../keys/statement.ts'
import { assignCommand, cancelCommand, encodeCancelRequest, encodeRevocation, failCommand, releaseCommand, revokeCommand, submitCommand } from '../../../src/ledger/command.ts'
import { apply, type LedgerEntry } from '../../../src/ledger/apply.ts'
import { decodeLedger, encodeLedger } from '../../../src/ledger/snapshot.ts'
import { createLedger, type JobId, type Ledger } from '../../../src/ledger/state.ts'
import { cidOf, fault, founder, network, outputsFor, receive, signedSpec, spec, submit, success, TERM, workerIds, workers, world, type World } from './fixture.ts'
import type { Identity } from '../../../keys/identity.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'
import type { AttemptRef } from '../../../src/ledger/event.ts'

/** Some attempt of some job: mostly one that is out, sometimes one that never was. */
function attempt (w: World, random: Random): { ref: AttemptRef, participant: Identity } {
  const jobs = [...w.ledger.running.values()]
  const job = jobs.length === 0 ? undefined : random.pick(jobs)
  const stage = job === undefined ? 0 : random.int(job.stages.length)
  const out = [...job?.stages[stage]?.assigned ?? []]
  const number = out.length === 0 || random.chance(0.1) ? random.int(4) : random.pick(out)
  const task = job?.stages[stage]?.tasks[number]
  const participant = task?.state === 'assigned' && random.chance(0.95) ? workers.find((worker) => worker.peerId === task.participant) : undefined
  return { ref: { job: job?.id ?? 'jnone' as JobId, stage, task: number, attempt: Math.max(1, (task?.attempt ?? 1) - (random.chance(0.1) ? 1 : 0)) }, participant: participant ?? random.pick(workers) }
}

function step (w: World, random: Random): void {
  const jobs = [...w.ledger.running.keys()]
  const dice = random.next()
  if (jobs.length === 0 || dice < 0.06) {
    submit(w, spec({ inputs: random.int(5), partitions: random.int(3) }))
  } else if (dice < 0.45) {
    const job = w.ledger.running.get(random.pick(jobs))
    const stage = random.int(job?.stages.length ?? 1)
    const number = [...job?.stages[stage]?.pending ?? []][0] ?? 0
    const ref = { job: job?.id as JobId, stage, task: number, attempt: (job?.stages[stage]?.tasks[number]?.attempt ?? 0) + 1 }
    w.commit(assignCommand(TERM, [{ ...ref, participant: random.pick(workerIds), leaseMs: 1000 }]), random.chance(0.05) ? TERM + 1 : TERM)
  } else if (dice < 0.8) {
    const { ref, participant } = attempt(w, random)
    receive(w, [success(ref, outputsFor(w, ref))], participant)
  } else if (dice < 0.88) {
    const { ref, participant } = attempt(w, random)
    const missing = [cidOf(`0/${random.int(4)}/${ref.task}`), cidOf(`input ${ref.task}`)]
    receive(w, [random.chance(0.5) ? fault(ref, 'throw', { message: 'lone \ud800 surrogate' }) : fault(ref, 'missing', { missing })], participant)
  } else if (dice < 0.94) {
    w.commit(releaseCommand(TERM, [{ ...attempt(w, random).ref, reason: random.pick(['gone', 'lease', 'drain'] as const) }]))
  } else if (dice < 0.96) {
    w.commit(failCommand(random.pick(jobs), 'DEADLINE', 'late'))
  } else if (dice < 0.98) {
    const job = random.pick(jobs)
    w.commit(cancelCommand(job, signStatement(founder, 'cancel', encodeCancelRequest(network, job, 0))))
  } else if (dice < 0.983) {
    w.commit(revokeCommand(signStatement(founder, 'revocation', encodeRevocation(network, random.pick(workerIds), 0)), []))
  } else {
    w.commit(new Uint8Array(random.int(20)).map(() => random.int(256)))
  }
}

/** What must hold of every ledger. */
function checkInvariants (ledger: Ledger): void {
  for (const job of ledger.running.values()) {
    for (const stage of job.stages) {
      const states = { pending: 0, assigned: 0, done: 0 }
      for (const [number, task] of stage.tasks.entries()) {
        states[task.state]++
        assert.equal(stage.pending.has(number), task.state === 'pending')
        assert.equal(stage.assigned.has(number), task.state === 'assigned')
      }
      assert.deepEqual(states, { pending: stage.pending.size, assigned: stage.assigned.size, done: stage.done })
    }
    assert.equal(new Set(job.results.map((result) => result.task)).size, job.results.length, 'a task has one result')
  }
  for (const job of [...ledger.running.values(), ...ledger.ended.values()]) {
    for (const result of job.results) assert.ok(ledger.batches.has(result.position.index))
    const total = job.stages.at(-1)
    if (job.status === 'succeeded' && job.reason === '') assert.equal(job.results.length, total?.size)
  }
  assert.equal(ledger.usage.batchBytes, [...ledger.batches.values()].reduce((sum, batch) => sum + batch.signed.payload.length, 0))
}

describe('ledger snapshot', () => {
  for (let seed = 1; seed <= 12; seed++) {
    it(`at any point, with the tail, equals the full replay (seed ${seed})`, () => {
      const random = createRandom(seed)
      const w = world()
      const cuts: Array<{ index: number, bytes: Uint8Array }> = []
      for (let n = 0; n < 300; n++) {
        step(w, random)
        if (random.chance(0.05)) cuts.push({ index: w.ledger.index, bytes: encodeLedger(w.ledger) })
        checkInvariants(w.ledger)
      }
      const whole = encodeLedger(w.ledger)
      const replayed = createLedger(network)
      for (const entry of w.log) apply(replayed, entry)
      assert.deepEqual(encodeLedger(replayed), whole)
      for (const { index, bytes } of cuts) {
        const restored = decodeLedger(bytes)
        assert.deepEqual(encodeLedger(restored), bytes)
        for (const entry of w.log.slice(index)) apply(restored, entry)
        assert.deepEqual(encodeLedger(restored), whole)
        assert.deepEqual(restored.usage, w.ledger.usage)
        checkInvariants(restored)
      }
    })
  }

  it('keeps the order of what waits, and depends on no other order', () => {
    const w = world()
    const job = submit(w, spec({ inputs: 5 }))
    const [ada] = workerIds as [PeerIdStr]
    const refs = [3, 1, 4].map((task) => ({ job, stage: 0, task, attempt: 1 }))
    w.commit(assignCommand(TERM, refs.map((ref) => ({ ...ref, participant: ada, leaseMs: 1 }))))
    w.commit(assignCommand(TERM, [{ job, stage: 0, task: 0, attempt: 1, participant: workerIds[1] as PeerIdStr, leaseMs: 1 }]))
    w.commit(releaseCommand(TERM, [{ ...refs[2] as AttemptRef, reason: 'gone' }, { job, stage: 0, task: 0, attempt: 1, reason: 'gone' }]))
    const restored = decodeLedger(encodeLedger(w.ledger))
    assert.deepEqual([...restored.running.get(job)?.stages[0]?.pending ?? []], [2, 4, 0])
    // a revocation takes back tasks that were assigned in another order than they were restored in
    w.commit(revokeCommand(signStatement(founder, 'revocation', encodeRevocation(network, ada, 0)), []))
    apply(restored, w.log.at(-1) as LedgerEntry)
    for (const ledger of [w.ledger, restored]) assert.deepEqual([...ledger.running.get(job)?.stages[0]?.pending ?? []], [2, 4, 0, 1, 3])
  })

  it('applies an entry once and refuses a gap', () => {
    const w = world()
    const last = w.log.at(-1)
    assert.ok(last)
    assert.deepEqual(apply(w.ledger, last), [])
    assert.throws(() => apply(w.ledger, { ...last, index: w.ledger.index + 2 }), { name: 'AssertionError' })
  })

  it('says SNAPSHOT_CORRUPT of every other bytes, wherever they are cut', () => {
    const w = world()
    w.commit(submitCommand(signedSpec(spec())))
    const bytes = encodeLedger(w.ledger)
    for (let length = 0; length < bytes.length; length += 7) assert.throws(() => decodeLedger(bytes.subarray(0, length)), { name: 'SNAPSHOT_CORRUPT' })
    assert.throws(() => decodeLedger(new TextEncoder().encode('{}')), { name: 'SNAPSHOT_CORRUPT' })
  })

  it('applies 256 receipts of a large job without looking at its other tasks', () => {
    const w = world()
    const job = submit(w, spec({ inputs: 4096, partitions: 0 }))
    const started = performance.now()
    for (let batch = 0; batch < 16; batch++) {
      const refs = Array.from({ length: 256 }, (_, n) => ({ job, stage: 0, task: batch * 256 + n, attempt: 1 }))
      w.commit(assignCommand(TERM, refs.map((ref) => ({ ...ref, participant: workerIds[0] as typeof founder.peerId, leaseMs: 1 }))))
      receive(w, refs.map((ref) => success(ref, outputsFor(w, ref))))
    }
    assert.equal(w.ledger.stats.tasksDone, 4096)
    // generous: an apply that scans would take minutes
    assert.ok(performance.now() - started < 5_000)
  })
})
