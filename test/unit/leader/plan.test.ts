import assert from 'node:assert/strict'
import { explain } from '../../../src/leader/explain.ts'
import { createPlanMemory, plan, type ParticipantView, type Plan, type PlanMemory } from '../../../src/leader/plan.ts'
import { PLAN_OPTIONS } from '../../../src/leader/plan-options.ts'
import { assignCommand, releaseCommand } from '../../../src/ledger/command.ts'
import { assign, cidOf, fault, founder, NOW, outputsFor, receive, run, spec, submit, success, TERM, workerIds, workers, world, type World } from '../ledger/fixture.ts'
import type { Identity } from '../../../keys/identity.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'
import type { JobId } from '../../../src/ledger/state.ts'

const [ada, bob, cyd] = workers as [Identity, Identity, Identity]
const here = (slots = 1, ids: readonly PeerIdStr[] = workerIds): ParticipantView[] => ids.map((peerId) => ({ peerId, slots, isDraining: false, isConnected: true }))
const away = (peerId: PeerIdStr): ParticipantView => ({ peerId, slots: 1, isDraining: false, isConnected: false })
const at = (nowMs: number): { nowMs: number, wallMs: number } => ({ nowMs, wallMs: NOW + nowMs })
const who = ({ assignments }: Plan): Array<[number, PeerIdStr]> => assignments.map(({ task, participant }) => [task, participant])

function holderOf (w: World, job: JobId, stage: number, task: number): PeerIdStr | undefined {
  const out = w.ledger.running.get(job)?.stages[stage]?.tasks[task]
  return out?.state === 'assigned' ? out.participant : undefined
}

function commit (w: World, { assignments, releases }: Plan): void {
  if (releases.length > 0) w.commit(releaseCommand(TERM, releases))
  if (assignments.length > 0) w.commit(assignCommand(TERM, assignments))
}

describe('plan', () => {
  it('gives each worker its slots and one more to fetch meanwhile, near to the data', () => {
    const w = world()
    submit(w, spec({ inputs: 9 }))
    const made = plan(w.ledger, here(1), at(0), createPlanMemory())
    assert.deepEqual(who(made), [0, 1, 2, 3, 4, 5].map((task) => [task, workerIds[task % 3]]))
    commit(w, made)
    assert.deepEqual(plan(w.ledger, here(1), at(0), createPlanMemory()).assignments, [])
  })

  it('lets nobody stand idle because the data is elsewhere', () => {
    const w = world()
    const made = spec({ inputs: 6 })
    submit(w, { ...made, inputs: made.inputs.map((input) => ({ ...input, holders: [ada.peerId] })) })
    const given = who(plan(w.ledger, here(1), at(0), createPlanMemory()))
    assert.deepEqual(given.slice(0, 2), [[0, ada.peerId], [1, ada.peerId]])
    assert.equal(given.length, 6)
  })

  it('serves jobs in turn', () => {
    const w = world()
    const jobs = [submit(w, spec({ inputs: 50 })), submit(w, spec({ inputs: 50 })), submit(w, spec({ inputs: 50 }))]
    const memory = createPlanMemory()
    const counts = new Map(jobs.map((job) => [job, 0]))
    for (let n = 0; n < 6; n++) {
      const made = plan(w.ledger, here(1), at(n), memory)
      for (const { job } of made.assignments) counts.set(job, (counts.get(job) ?? 0) + 1)
      commit(w, made)
      for (const { job, stage, task, attempt, participant } of made.assignments) {
        const ref = { job, stage, task, attempt }
        receive(w, [success(ref, outputsFor(w, ref))], workers.find((worker) => worker.peerId === participant))
      }
    }
    assert.deepEqual([...counts.values()], [12, 12, 12])
  })

  it('serves jobs in turn also where one task fits at a time', () => {
    const w = world()
    const jobs = [submit(w, spec({ inputs: 5 })), submit(w, spec({ inputs: 5 }))]
    const memory = createPlanMemory()
    const served: string[] = []
    for (let n = 0; n < 4; n++) {
      const made = plan(w.ledger, here(1, [ada.peerId]), at(n), memory, { ...PLAN_OPTIONS, prefetch: 0 })
      const [one] = made.assignments
      assert.ok(one !== undefined && made.assignments.length === 1)
      served.push(one.job)
      commit(w, made)
      receive(w, [success(one, outputsFor(w, one))], ada)
    }
    assert.deepEqual(served, [jobs[0], jobs[1], jobs[0], jobs[1]])
  })

  it('plans reduces when all maps are done, and not while a lost one is made again', () => {
    const w = world()
    const job = submit(w)
    run(w, job, 0, 0)
    assert.deepEqual(plan(w.ledger, here(), at(0), createPlanMemory()).assignments.map(({ stage }) => stage), [0])
    run(w, job, 0, 1, bob)
    const made = plan(w.ledger, here(), at(0), createPlanMemory())
    assert.deepEqual(made.assignments.map(({ stage }) => stage), [1, 1])
    receive(w, [fault(assign(w, job, 1, 0, cyd.peerId), 'missing', { missing: [cidOf('0/1/0')] })], cyd)
    const again = plan(w.ledger, here(), at(10_000), createPlanMemory())
    // the loss began a backoff, and it was bob's block: somebody else makes it again
    assert.deepEqual(again.assignments, [])
    const memory = createPlanMemory()
    plan(w.ledger, here(), at(0), memory)
    const later = plan(w.ledger, here(), at(PLAN_OPTIONS.backoffMs), memory)
    assert.deepEqual(later.assignments.map(({ stage, task, participant }) => [stage, task, participant !== bob.peerId]), [[0, 1, true]])
  })

  it('makes a lost block again although everybody’s room is taken by tasks that wait for it', () => {
    const w = world()
    const job = submit(w, spec({ inputs: 2, partitions: 6 }))
    run(w, job, 0, 0)
    run(w, job, 0, 1, bob)
    const memory = createPlanMemory()
    commit(w, plan(w.ledger, here(1), at(0), memory))
    assert.equal(w.ledger.running.get(job)?.stages[1]?.assigned.size, 6)
    receive(w, [fault({ job, stage: 1, task: 0, attempt: 1 }, 'missing', { missing: [cidOf('0/1/0')] })], workers.find((worker) => worker.peerId === holderOf(w, job, 1, 0)))
    plan(w.ledger, here(1), at(0), memory)
    assert.deepEqual(plan(w.ledger, here(1), at(1_000), memory).assignments.map(({ stage, task }) => [stage, task]), [[0, 1]])
  })

  it('prefers for a reduce who holds most of its partition', () => {
    const w = world()
    const job = submit(w)
    for (const [task, worker, bytes] of [[0, ada, 10], [1, bob, 5000]] as const) {
      const ref = assign(w, job, 0, task, worker.peerId)
      receive(w, [success(ref, outputsFor(w, ref).map((output) => ({ ...output, bytes })))], worker)
    }
    assert.deepEqual(new Set(plan(w.ledger, here(4), at(0), createPlanMemory()).assignments.map(({ participant }) => participant)), new Set([bob.peerId, ada.peerId]))
    assert.deepEqual(plan(w.ledger, here(1, [bob.peerId, cyd.peerId]), at(0), createPlanMemory()).assignments.map(({ participant }) => participant), [bob.peerId, bob.peerId])
  })

  it('waits longer after each fault, and tries another participant while there is one', () => {
    const w = world()
    const job = submit(w, spec({ inputs: 1, maxAttempts: 10 }))
    const memory = createPlanMemory()
    receive(w, [fault(assign(w, job, 0, 0, ada.peerId), 'throw')], ada)
    const first = plan(w.ledger, here(), at(0), memory)
    assert.deepEqual([first.assignments.length, first.wakeAtMs], [0, 100])
    assert.notEqual(plan(w.ledger, here(), at(100), memory).assignments[0]?.participant, ada.peerId)
    // only ada is here: better her than nobody
    assert.equal(plan(w.ledger, here(1, [ada.peerId]), at(100), memory).assignments[0]?.participant, ada.peerId)
    receive(w, [fault(assign(w, job, 0, 0, bob.peerId), 'throw')], bob)
    assert.equal(plan(w.ledger, here(), at(200), memory).wakeAtMs, 400)
    assert.equal(plan(w.ledger, here(), at(400), memory).assignments[0]?.participant, cyd.peerId)
  })

  it('takes attempts back from who is gone after the grace, not before, and not from who came back', () => {
    const w = world()
    const job = submit(w)
    const memory = createPlanMemory()
    assign(w, job, 0, 0, ada.peerId)
    const without = [away(ada.peerId), ...here(1, [bob.peerId])]
    assert.deepEqual(plan(w.ledger, without, at(0), memory).releases, [])
    assert.deepEqual(plan(w.ledger, without, at(499), memory).releases, [])
    assert.deepEqual(plan(w.ledger, here(), at(499), memory).releases, [])
    assert.deepEqual(plan(w.ledger, without, at(600), memory).releases, [])
    const made = plan(w.ledger, without, at(1100), memory)
    assert.deepEqual(made.releases, [{ job, stage: 0, task: 0, attempt: 1, reason: 'gone' }])
  })

  it('lets a participant find the new leader before it takes its attempts', () => {
    const w = world()
    const job = submit(w)
    const memory = createPlanMemory()
    assign(w, job, 0, 0, ada.peerId)
    assert.deepEqual(plan(w.ledger, [], at(0), memory).releases, [])
    assert.deepEqual(plan(w.ledger, [], at(2_999), memory).releases, [])
    assert.equal(plan(w.ledger, [], at(3_000), memory).releases.length, 1)
  })

  it('takes an attempt back when its lease ran out, from the time that this leader saw it first', () => {
    const w = world()
    const job = submit(w)
    const memory: PlanMemory = createPlanMemory()
    assign(w, job, 0, 0, ada.peerId)
    assert.equal(plan(w.ledger, here(0), at(1_000), memory).wakeAtMs, 61_000)
    assert.deepEqual(plan(w.ledger, here(0), at(60_999), memory).releases, [])
    assert.deepEqual(plan(w.ledger, here(0), at(60_999), createPlanMemory()).releases, [], 'a new leader starts the lease again')
    assert.deepEqual(plan(w.ledger, here(0), at(61_000), memory).releases, [{ job, stage: 0, task: 0, attempt: 1, reason: 'lease' }])
  })

  it('gives nothing to who drains, is away, has no slots or may not work', () => {
    const w = world()
    submit(w)
    const views: ParticipantView[] = [away(ada.peerId), { ...here(1, [bob.peerId])[0] as ParticipantView, isDraining: true }, ...here(0, [cyd.peerId]), ...here(1, ['stranger' as PeerIdStr])]
    assert.deepEqual(plan(w.ledger, views, at(0), createPlanMemory()).assignments, [])
  })

  it('ends a job at its deadline and gives out none of its tasks', () => {
    const w = world()
    const job = submit(w, spec({ deadlineMs: 5_000 }))
    assert.equal(plan(w.ledger, [], at(1_000), createPlanMemory()).wakeAtMs, 5_000)
    const late = plan(w.ledger, here(), at(5_000), createPlanMemory())
    assert.deepEqual([late.ends.map((end) => end.job), late.assignments.length], [[job], 0])
  })

  it('makes at most 256 assignments at once, and looks at a bounded number of tasks', () => {
    const w = world()
    submit(w, spec({ inputs: 4096 }))
    assert.equal(plan(w.ledger, here(1000), at(0), createPlanMemory()).assignments.length, 256)
  })

  it('remembers nothing of what has ended', () => {
    const w = world()
    const memory = createPlanMemory()
    const job = submit(w)
    receive(w, [fault(assign(w, job, 0, 0), 'throw')])
    assign(w, job, 0, 1, bob.peerId)
    plan(w.ledger, [...here(1, [ada.peerId]), away(bob.peerId)], at(0), memory)
    assert.deepEqual([memory.jobs.get(job)?.leases.size, memory.jobs.get(job)?.backoffs.size, memory.awaySince.size], [1, 1, 1])
    const again = assign(w, job, 0, 0)
    plan(w.ledger, here(1, [ada.peerId]), at(1), memory)
    assert.equal(memory.jobs.get(job)?.backoffs.size, 0)
    for (const task of [0, 1]) {
      const ref = task === 0 ? again : { job, stage: 0, task, attempt: 1 }
      receive(w, [success(ref, outputsFor(w, ref))], task === 0 ? ada : bob)
    }
    plan(w.ledger, [], at(1), memory)
    assert.deepEqual([memory.jobs.get(job)?.leases.size, memory.awaySince.size], [0, 0])
    for (const task of [0, 1]) run(w, job, 1, task)
    plan(w.ledger, [], at(2), memory)
    assert.equal(memory.jobs.size, 0)
  })
})

describe('explain', () => {
  const codes = (w: World, views: readonly ParticipantView[]): string[] => explain(w.ledger, views, createPlanMemory(), 0).flatMap(({ reasons }) => reasons.map(({ code, tasks }) => `${code} ${tasks}`))

  it('names the reason for everything that does not run', () => {
    const w = world()
    const job = submit(w, spec({ inputs: 3 }))
    assert.deepEqual(codes(w, []), ['STAGE_WAITS 2', 'NO_PARTICIPANTS 3'])
    assign(w, job, 0, 0, ada.peerId)
    assert.deepEqual(codes(w, here()), ['RUNNING 1', 'STAGE_WAITS 2', 'READY 2'])
    assign(w, job, 0, 1, ada.peerId)
    assert.deepEqual(codes(w, here(1, [ada.peerId])), ['RUNNING 2', 'STAGE_WAITS 2', 'SLOTS_BUSY 1'])
    receive(w, [fault({ job, stage: 0, task: 0, attempt: 1 }, 'throw')])
    assert.deepEqual(codes(w, here()), ['RUNNING 1', 'STAGE_WAITS 2', 'BACKOFF 1', 'READY 1'])
  })

  it('names the block that a task waits for, and who had it', () => {
    const w = world()
    const made = spec({ inputs: 1 })
    const job = submit(w, { ...made, inputs: made.inputs.map((input) => ({ ...input, holders: [founder.peerId] })) })
    receive(w, [fault(assign(w, job, 0, 0, ada.peerId), 'missing', { missing: [cidOf('input 0')] })])
    const memory = createPlanMemory()
    plan(w.ledger, here(), at(0), memory)
    assert.deepEqual(plan(w.ledger, here(), at(1_000), memory).assignments, [])
    const [reason] = explain(w.ledger, here(), memory, 1_000)[0]?.reasons.slice(-1) ?? []
    assert.equal(reason?.code, 'BLOCK_AWAY')
    assert.ok(reason.reason.includes(cidOf('input 0')) && reason.reason.includes(founder.peerId))
    // it goes on when the holder is back, worker or not
    assert.equal(plan(w.ledger, [...here(), ...here(0, [founder.peerId])], at(1_000), memory).assignments.length, 1)
  })
})
