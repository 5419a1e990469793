import assert from 'node:assert/strict'
import { accept, createAcceptance, finished, reconcile, type AcceptAction, type Acceptance } from '../../../src/participant/accept.ts'
import { assignCommand, failCommand, receiptsCommand, releaseCommand } from '../../../src/ledger/command.ts'
import { outputsFor, run, signedReceipts, spec, submit, success, TERM, workers, world, type World } from '../ledger/fixture.ts'
import type { Identity } from '../../../keys/identity.ts'
import type { AttemptRef } from '../../../src/ledger/event.ts'
import type { JobId } from '../../../src/ledger/state.ts'

const [ada, bob] = workers as [Identity, Identity]
const told = (actions: AcceptAction[]): string[] => actions.map(({ type, attempt }) => `${type} ${attempt.stage}/${attempt.task}/${attempt.attempt}`)

/** A participant that follows the ledger. */
function follow (w: World, state: Acceptance): (data: Uint8Array) => string[] {
  return (data) => told(accept(state, w.commit(data)))
}
const assigning = (ref: AttemptRef, participant: Identity = ada): Uint8Array => assignCommand(TERM, [{ ...ref, participant: participant.peerId, leaseMs: 1000 }])

describe('participant accept', () => {
  const setup = (): { w: World, job: JobId, state: Acceptance, commit: (data: Uint8Array) => string[], ref: (task: number, attempt?: number) => AttemptRef } => {
    const w = world()
    const job = submit(w)
    const state = createAcceptance(ada.peerId, [])
    return { w, job, state, commit: follow(w, state), ref: (task, attempt = 1) => ({ job, stage: 0, task, attempt }) }
  }

  it('starts its own attempts and nobody else’s', () => {
    const { commit, ref } = setup()
    assert.deepEqual(commit(assigning(ref(0))), ['start 0/0/1'])
    assert.deepEqual(commit(assigning(ref(1), bob)), [])
  })

  it('keeps a receipt until it is committed', () => {
    const { w, state, commit, ref } = setup()
    commit(assigning(ref(0)))
    assert.equal(finished(state, ref(0)), true)
    assert.equal(finished(state, ref(0)), false)
    const signed = signedReceipts([success(ref(0), outputsFor(w, ref(0)))])
    assert.deepEqual(commit(receiptsCommand(signed)), ['forget 0/0/1'])
    assert.deepEqual(commit(receiptsCommand(signed)), [])
    assert.deepEqual([state.running.size, state.outbox.size], [0, 0])
  })

  it('stops what was released, and drops the receipt if it is done', () => {
    const { state, commit, ref } = setup()
    commit(assigning(ref(0)))
    commit(assigning(ref(1)))
    finished(state, ref(1))
    assert.deepEqual(commit(releaseCommand(TERM, [{ ...ref(0), reason: 'lease' }, { ...ref(1), reason: 'gone' }])), ['stop 0/0/1', 'forget 0/1/1'])
    assert.equal(finished(state, ref(0)), false)
    assert.deepEqual(commit(assigning(ref(0, 2))), ['start 0/0/2'])
  })

  it('stops all of a job that ends', () => {
    const { state, job, commit, ref } = setup()
    commit(assigning(ref(0)))
    commit(assigning(ref(1)))
    finished(state, ref(1))
    assert.deepEqual(commit(failCommand(job, 'DEADLINE', 'late')), ['stop 0/0/1', 'forget 0/1/1'])
  })

  it('takes up after a restart what is still assigned to it and not in the outbox', () => {
    const { w, job, commit, ref } = setup()
    commit(assigning(ref(0)))
    commit(assigning(ref(1)))
    const other = submit(w, spec({ inputs: 1, partitions: 0 }))
    const gone = { job: other, stage: 0, task: 0, attempt: 1 }
    run(w, other, 0, 0, bob)
    const restarted = createAcceptance(ada.peerId, [ref(1), gone])
    assert.deepEqual(told(reconcile(restarted, w.ledger)), ['forget 0/0/1', 'start 0/0/1'])
    assert.deepEqual(reconcile(restarted, w.ledger), [])
    // a jump over the release and the next assignment
    w.commit(releaseCommand(TERM, [{ ...ref(0), reason: 'gone' }, { ...ref(1), reason: 'gone' }]))
    w.commit(assigning(ref(0, 2)))
    w.commit(assigning(ref(1, 2), bob))
    assert.deepEqual(told(reconcile(restarted, w.ledger)), ['stop 0/0/1', 'forget 0/1/1', 'start 0/0/2'])
    w.commit(failCommand(job, 'DEADLINE', 'late'))
    assert.deepEqual(told(reconcile(restarted, w.ledger)), ['stop 0/0/2'])
  })

})
