import assert from 'node:assert/strict'
import { COMMAND_LIMITS, LEDGER_LIMITS } from '../../../protocols/ledger/constants.ts'
import { Command } from '../../../protocols/ledger/messages.js'
import { assignCommand, cancelCommand, encodeCancelRequest, failCommand, releaseCommand, submitCommand } from '../../../src/ledger/command.ts'
import { decodeJobSpec, encodeJobSpec } from '../../../src/ledger/job-spec.ts'
import { finalOutputs, jobInfo, results, committedResults, taskInputs } from '../../../src/ledger/view.ts'
import { assign, cidOf, fault, founder, output, outputsFor, receive, run, signedSpec, spec, submit, success, TERM, typesOf, workerIds, workers, world } from './fixture.ts'
import { signStatement } from '../../../keys/statement.ts'
import type { Identity } from '../../../keys/identity.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'
import type { JobSpec } from '../../../src/ledger/state.ts'

const [ada, bob] = workers as [Identity, Identity]

describe('ledger jobs', () => {
  it('runs the maps, then the reduces, then the job is done, and every result has its position', () => {
    const w = world()
    const job = submit(w)
    assert.deepEqual(typesOf(run(w, job, 0, 0)), ['task:done'])
    assert.deepEqual(typesOf(run(w, job, 0, 1, bob)), ['task:done', 'job:stage'])
    run(w, job, 1, 0)
    const last = run(w, job, 1, 1, bob)
    assert.deepEqual(typesOf(last), ['task:done', 'job:done'])
    const info = jobInfo(w.ledger, job)
    assert.equal(info?.status, 'succeeded')
    assert.deepEqual([...info.doneBy], [[ada.peerId, 2], [bob.peerId, 2]])
    assert.equal(info.counters.recordsIn, 40)
    assert.deepEqual(results(w.ledger, job).map((result) => [result.task, result.position.index]), [[0, w.ledger.index - 2], [1, w.ledger.index]])
    assert.deepEqual(finalOutputs(w.ledger, job).map(({ task, cid }) => [task, cid]), [[0, cidOf('1/0/0')], [1, cidOf('1/1/0')]])
    assert.deepEqual(committedResults(w.ledger, { index: w.ledger.index, ordinal: 0 }).map(({ task, signed }) => [task, signed.signer]), [[1, bob.peerId]])
  })

  it('gives a reduce task its partition of every map output, with whoever holds it', () => {
    const w = world()
    const job = submit(w)
    run(w, job, 0, 0)
    assert.equal(taskInputs(w.ledger, job, 1, 0), undefined)
    const ref = assign(w, job, 0, 1, bob.peerId)
    // partition 0 empty, and an output that another member holds too
    receive(w, [success(ref, [{ ...output(1, 'x'), holders: [founder.peerId] }])], bob)
    assert.deepEqual(taskInputs(w.ledger, job, 1, 0), [{ cid: cidOf('0/0/0'), bytes: 10, holders: [ada.peerId] }])
    assert.deepEqual(taskInputs(w.ledger, job, 1, 1)?.map(({ holders }) => holders), [[ada.peerId], [bob.peerId, founder.peerId]])
  })

  it('hands out equal blocks of two maps twice, with the holders of both', () => {
    const w = world()
    const job = submit(w)
    for (const [task, worker] of [[0, ada], [1, bob]] as const) receive(w, [success(assign(w, job, 0, task, worker.peerId), [output(0, 'same')])], worker)
    const both = { cid: cidOf('same'), bytes: 10, holders: [ada.peerId, bob.peerId] }
    assert.deepEqual(taskInputs(w.ledger, job, 1, 0), [both, both])
  })

  it('is the same job when the same signed spec is submitted again, also after its end', () => {
    const w = world()
    const signed = signedSpec(spec({ inputs: 1, partitions: 0 }))
    assert.deepEqual(typesOf(w.commit(submitCommand(signed))), ['job:submit', 'job:stage'])
    assert.deepEqual(w.commit(submitCommand(signed)), [])
    const id = [...w.ledger.running.keys()][0]
    assert.ok(id)
    run(w, id, 0, 0)
    assert.deepEqual(w.commit(submitCommand(signed)), [])
    assert.equal(w.ledger.ended.size, 1)
  })

  it('succeeds at once where there is nothing to do', () => {
    const w = world()
    const job = submit(w, spec({ inputs: 0 }))
    assert.equal(jobInfo(w.ledger, job)?.status, 'succeeded')
    const empty = spec()
    const blank = submit(w, { ...empty, inputs: empty.inputs.map((input) => ({ ...input, bytes: 0, records: 0 })) })
    assert.equal(jobInfo(w.ledger, blank)?.status, 'succeeded')
    assert.deepEqual(results(w.ledger, blank), [])
  })

  it('takes the submitter’s word to cancel, and that of a member that may invite, and nobody else’s', () => {
    const w = world()
    const cancelBy = (job: typeof first, who: Identity): Uint8Array => cancelCommand(job, signStatement(who, 'cancel', encodeCancelRequest(w.ledger.network, job, 1)))
    const first = submit(w)
    assert.deepEqual(typesOf(w.commit(cancelBy(first, ada))), ['command:invalid'])
    assert.deepEqual(typesOf(w.commit(cancelBy(first, founder))), ['job:cancel'])
    assert.deepEqual(w.commit(cancelBy(first, founder)), [])
    const second = submit(w)
    // a request for one job does not cancel another
    const wrong = cancelCommand(second, signStatement(founder, 'cancel', encodeCancelRequest(w.ledger.network, first, 1)))
    w.commit(wrong)
    assert.equal(jobInfo(w.ledger, second)?.status, 'running')
  })

  it('refuses the 65th running job', () => {
    const w = world()
    for (let n = 0; n < LEDGER_LIMITS.maxRunningJobs; n++) submit(w)
    const [event] = w.commit(submitCommand(signedSpec(spec())))
    assert.ok(event?.type === 'command:invalid' && event.code === 'JOBS_LIMIT')
  })

  it('forgets the job that ended first, with its signed receipts, when 256 later ones have ended', () => {
    const w = world()
    const first = submit(w, spec({ inputs: 1, partitions: 0 }))
    run(w, first, 0, 0)
    assert.equal(w.ledger.batches.size, 1)
    for (let n = 0; n < LEDGER_LIMITS.maxEndedJobs; n++) w.commit(failCommand(submit(w), 'DEADLINE', 'late'))
    assert.equal(jobInfo(w.ledger, first), undefined)
    assert.equal(w.ledger.ended.size, LEDGER_LIMITS.maxEndedJobs)
    assert.equal(w.ledger.batches.size, 0)
    assert.equal(w.ledger.usage.batchBytes, 0)
    assert.equal(w.ledger.usage.runningOutputs, 0)
  })
})

describe('job spec limits', () => {
  const verdictOf = (made: JobSpec): string => {
    const verdict = decodeJobSpec(encodeJobSpec(made))
    return verdict.verdict === 'accept' ? 'ok' : verdict.code
  }
  const base = spec()
  const cases: Array<[string, Partial<JobSpec>, string]> = [
    ['a plain job', {}, 'ok'],
    ['a map alone', { stages: base.stages.slice(0, 1).map((stage) => ({ ...stage, partitions: 0 })) }, 'ok'],
    ['a reduce first', { stages: base.stages.slice(1) }, 'SPEC_INVALID'],
    ['no stage', { stages: [] }, 'SPEC_INVALID'],
    ['a map that partitions for nobody', { stages: base.stages.slice(0, 1) }, 'SPEC_INVALID'],
    ['too many partitions', { stages: base.stages.map((stage) => ({ ...stage, partitions: stage.kind === 'map' ? COMMAND_LIMITS.maxPartitions + 1 : 0 })) }, 'SPEC_INVALID'],
    ['too wide a shuffle', { ...spec({ inputs: 2000, partitions: 256 }) }, 'SPEC_INVALID'],
    ['a long name', { name: 'x'.repeat(COMMAND_LIMITS.maxNameChars + 1) }, 'SPEC_INVALID'],
    ['a short nonce', { nonce: new Uint8Array(8) }, 'SPEC_INVALID'],
    ['too much memory for a machine to have', { limits: { ...base.limits, timeoutMs: 3_600_001 } }, 'SPEC_INVALID'],
    ['too many attempts', { maxAttempts: COMMAND_LIMITS.maxAttempts + 1 }, 'SPEC_INVALID'],
    ['an input beyond its own limit', { limits: { ...base.limits, inputBytes: 10 } }, 'SPEC_INVALID'],
    ['another encoding', { encoding: 'utf16' as 'utf8' }, 'SPEC_INVALID'],
    ['4097 inputs', { ...spec({ inputs: COMMAND_LIMITS.maxInputs + 1, partitions: 1 }) }, 'SPEC_UNDECODABLE'],
    ['a megabyte of names', { ...spec({ inputs: 4096, partitions: 1 }), inputs: spec({ inputs: 4096 }).inputs.map((input) => ({ ...input, source: 'x'.repeat(300) })) }, 'SPEC_TOO_LARGE']
  ]
  for (const [name, change, code] of cases) {
    it(`${code === 'ok' ? 'takes' : 'refuses'} ${name}`, () => { assert.equal(verdictOf({ ...base, ...change }), code) })
  }

  it('fills in defaults for zeros', () => {
    const verdict = decodeJobSpec(encodeJobSpec({ ...base, maxAttempts: 0, limits: { timeoutMs: 0, memoryBytes: 0, inputBytes: 0, outputBytes: 0, logBytes: 0 } }))
    assert.ok(verdict.verdict === 'accept')
    assert.equal(verdict.value.maxAttempts, 3)
    assert.equal(verdict.value.limits.timeoutMs, 30_000)
  })
})

describe('ledger assignments and receipts', () => {
  it('counts the first valid receipt of a task and ignores the rest', () => {
    const w = world()
    const job = submit(w)
    const ref = assign(w, job, 0, 0)
    const receipt = success(ref, outputsFor(w, ref))
    assert.deepEqual(typesOf(receive(w, [receipt, receipt])), ['task:done', 'receipt:ignore'])
    assert.deepEqual(typesOf(receive(w, [receipt])), ['receipt:ignore'])
    assert.equal(w.ledger.stats.tasksDone, 1)
    assert.equal(w.ledger.stats.duplicateReceipts, 2)
  })

  it('fences an attempt that was released, and one of another participant', () => {
    const w = world()
    const job = submit(w)
    const first = assign(w, job, 0, 0)
    w.commit(releaseCommand(TERM, [{ ...first, reason: 'lease' }]))
    assert.deepEqual(receive(w, [success(first, [])]).map((event) => event.type === 'receipt:ignore' && event.code), ['LATE'])
    const second = assign(w, job, 0, 0, bob.peerId)
    assert.equal(second.attempt, 2)
    assert.deepEqual(receive(w, [success(first, [])]).map((event) => event.type === 'receipt:ignore' && event.code), ['LATE'])
    assert.deepEqual(receive(w, [success(second, [])], ada).map((event) => event.type === 'receipt:ignore' && event.code), ['INVALID'])
    assert.deepEqual(typesOf(receive(w, [success(second, [])], bob)), ['task:done'])
  })

  it('gives a task to nobody twice, whatever races', () => {
    const w = world()
    const job = submit(w)
    const ref = { job, stage: 0, task: 0, attempt: 1 }
    const [first, second] = [ada, bob].map((who) => assignCommand(TERM, [{ ...ref, participant: who.peerId, leaseMs: 1 }]))
    assert.deepEqual(typesOf(w.commit(first as Uint8Array)), ['task:assign'])
    assert.deepEqual(w.commit(second as Uint8Array), [])
    assert.equal(w.ledger.stats.staleAssignments, 1)
    w.commit(releaseCommand(TERM, [{ ...ref, reason: 'gone' }]))
    assert.deepEqual(w.commit(second as Uint8Array), [], 'planned before the attempt that was released')
    assert.deepEqual(w.commit(assignCommand(TERM, [{ ...ref, attempt: 3, participant: ada.peerId, leaseMs: 1 }])), [])
  })

  it('refuses the orders of a term that is over', () => {
    const w = world()
    const job = submit(w)
    const stale = assignCommand(TERM, [{ job, stage: 0, task: 0, attempt: 1, participant: ada.peerId, leaseMs: 1 }])
    assert.deepEqual(typesOf(w.commit(stale, TERM + 1)), ['command:invalid'])
    assert.equal(w.ledger.running.get(job)?.stages[0]?.assigned.size, 0)
  })

  it('does not assign to strangers, to those who may not work, or before the stage is ready', () => {
    const w = world()
    const job = submit(w)
    const give = (stage: number, participant: PeerIdStr): string[] => typesOf(w.commit(assignCommand(TERM, [{ job, stage, task: 0, attempt: 1, participant, leaseMs: 1 }])))
    assert.deepEqual(give(0, 'stranger' as PeerIdStr), [])
    assert.deepEqual(give(1, ada.peerId), [])
    run(w, job, 0, 0)
    assert.deepEqual(give(1, ada.peerId), [])
  })

  it('refuses outputs that cannot be of the stage', () => {
    const w = world()
    const job = submit(w)
    const ref = assign(w, job, 0, 0)
    for (const outputs of [[output(2, 'x')], [output(1, 'x'), output(0, 'y')], [output(0, 'x'), output(0, 'y')], [{ ...output(0, 'x'), bytes: 17 << 20 }]]) {
      assert.deepEqual(receive(w, [success(ref, outputs)]).filter((event) => event.type !== 'receipt:ignore'), [])
    }
    assert.equal(w.ledger.stats.invalidReceipts, 4)
    assert.equal(w.ledger.stats.tasksDone, 0)
  })

  it('never throws on bytes that are no command', () => {
    const w = world()
    const bytes = [new Uint8Array([255, 255]), new Uint8Array([1]), new TextEncoder().encode('{"json":true}'), Command.encode({ submit: {} }), Command.encode({ receipts: {} }), Command.encode({ revoke: { issuerChain: [] } }), Command.encode({ admit: { chain: [], atMs: 0 } })]
    for (const data of bytes) assert.deepEqual(typesOf(w.commit(data)), ['command:invalid'])
    assert.deepEqual(w.commit(new Uint8Array()), [])
    assert.equal(w.ledger.stats.invalidCommands, bytes.length)
  })
})

describe('ledger faults', () => {
  it('tries a task again, remembers who failed, and fails the job after maxAttempts with the record', () => {
    const w = world()
    const job = submit(w)
    for (const who of [ada, bob]) {
      const events = receive(w, [fault(assign(w, job, 0, 1, who.peerId), 'throw', { record: 4 })], who)
      assert.deepEqual(typesOf(events), ['task:fault'])
    }
    assert.deepEqual(w.ledger.running.get(job)?.stages[0]?.tasks[1]?.history, { faults: 2, losses: 0, avoid: [ada.peerId, bob.peerId] })
    assert.deepEqual(typesOf(receive(w, [fault(assign(w, job, 0, 1), 'throw', { record: 4, message: 'Error: no number' })])), ['task:fault', 'job:fail'])
    const info = jobInfo(w.ledger, job)
    assert.equal(info?.code, 'TASK_THROW')
    assert.equal(info.reason, 'map task 1, record 4 (record 14 of mail.txt): Error: no number')
    assert.deepEqual(info.fault, { code: 'throw', message: 'Error: no number', record: 4, participant: ada.peerId, stage: 0, task: 1 })
  })

  it('makes a missing block again, without counting it as the reduce’s fault', () => {
    const w = world()
    const job = submit(w)
    run(w, job, 0, 0)
    run(w, job, 0, 1, bob)
    const ref = assign(w, job, 1, 0)
    const events = receive(w, [fault(ref, 'missing', { missing: [cidOf('0/1/0')] })])
    assert.deepEqual(typesOf(events), ['task:fault', 'task:lost'])
    const running = w.ledger.running.get(job)
    assert.deepEqual([...running?.stages[0]?.pending ?? []], [1])
    assert.deepEqual(running?.stages[0]?.tasks[1]?.history.avoid, [bob.peerId])
    assert.equal(running?.stages[1]?.tasks[0]?.history.faults, 0)
    assert.equal(taskInputs(w.ledger, job, 1, 0), undefined)
    // the reduce stage opens once only
    assert.deepEqual(typesOf(run(w, job, 0, 1)), ['task:done'])
    run(w, job, 1, 0)
    assert.deepEqual(typesOf(run(w, job, 1, 1)), ['task:done', 'job:done'])
  })

  it('makes a block again once, however many tasks miss it, and however late they say so', () => {
    const w = world()
    const job = submit(w)
    run(w, job, 0, 0)
    run(w, job, 0, 1, bob)
    const first = assign(w, job, 1, 0)
    const second = assign(w, job, 1, 1)
    assert.deepEqual(typesOf(receive(w, [fault(first, 'missing', { missing: [cidOf('0/1/0')] })])), ['task:fault', 'task:lost'])
    run(w, job, 0, 1)
    // the second was given out before the block was made again: it missed the old one
    assert.deepEqual(typesOf(receive(w, [fault(second, 'missing', { missing: [cidOf('0/1/1')] })])), ['task:fault'])
    assert.equal(w.ledger.running.get(job)?.losses, 1)
    run(w, job, 1, 0)
    assert.deepEqual(typesOf(run(w, job, 1, 1)), ['task:done', 'job:done'])
  })

  it('waits for a missing job input, and gives up after a bounded number of losses', () => {
    const w = world()
    const job = submit(w)
    const missing = [cidOf('input 0')]
    receive(w, [fault(assign(w, job, 0, 0), 'missing', { missing })])
    const task = w.ledger.running.get(job)?.stages[0]?.tasks[0]
    assert.ok(task?.state === 'pending' && task.waiting === missing[0])
    for (let n = 0; n < LEDGER_LIMITS.maxTaskLosses; n++) receive(w, [fault(assign(w, job, 0, 0), 'missing', { missing })])
    assert.equal(jobInfo(w.ledger, job)?.code, 'BLOCK_LOST')
  })

  it('ends a job whose task was given out a hundred times', () => {
    const w = world()
    const job = submit(w)
    for (let n = 0; n < LEDGER_LIMITS.maxTaskAttempts; n++) w.commit(releaseCommand(TERM, [{ ...assign(w, job, 0, 0, workerIds[n % 3]), reason: 'gone' }]))
    assert.equal(jobInfo(w.ledger, job)?.code, 'TASK_ABANDONED')
  })
})
