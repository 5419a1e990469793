import assert from 'node:assert/strict'
import { encodeLedger } from '../../src/ledger/snapshot.ts'
import { committedResults, finalOutputs, results } from '../../src/ledger/view.ts'
import { ControlPlane, expectedResult } from './control-plane.ts'
import { POISON } from './control-plane-peer.ts'

/** `SEEDS=1000-1200 mocha test/simulation/control-plane.test.ts` looks further. */
const [first = 1, last = 20] = (process.env.SEEDS ?? '').split('-').filter((text) => text !== '').map(Number)

/** Run one seed to its end and hold what the design promises against it. */
function check (seed: number): ReturnType<ControlPlane['run']> {
  const plane = new ControlPlane(seed)
  const report = plane.run()
  const { ledger } = plane
  assert.ok(plane.jobs.size > 0)
  for (const [id, made] of plane.jobs) {
    const job = ledger.ended.get(id)
    assert.ok(job, `job ${id} ended`)
    const tasks = new Set(results(ledger, id).map(({ task }) => task))
    assert.equal(tasks.size, results(ledger, id).length, 'each task is counted once')
    if (job.status === 'succeeded') {
      // a job without input has none of the results that its empty reduces would make
      assert.deepEqual(finalOutputs(ledger, id).map(({ cid }) => cid), made.inputs.length === 0 ? [] : expectedResult(made))
    } else {
      assert.ok(made.name === POISON && job.code === 'TASK_THROW', `${job.code}: ${job.reason}`)
    }
  }
  const whole = encodeLedger(ledger)
  for (const peer of plane.replicas) {
    assert.deepEqual(encodeLedger(peer.ledger), whole, 'replicas agree')
    assert.deepEqual([peer.state.running.size, peer.outbox.size, peer.queue.length], [0, 0, 0], 'nothing is left over')
  }
  const announced = plane.events.flatMap((event) => event.type === 'task:done' && event.isResult ? [`${event.job}/${event.task}`] : [])
  const committed = committedResults(plane.observer.ledger, { index: 0, ordinal: 0 }).map(({ job, task }) => `${job}/${task}`)
  assert.deepEqual(committed, announced, 'a late observer has every committed result, in ledger order')
  return report
}

describe('control plane simulation', () => {
  for (let seed = first; seed <= last; seed++) {
    it(`every job ends, each task counts once, results are equal (seed ${seed})`, () => { check(seed) })
  }

  it('is the same run for the same seed', () => {
    assert.deepEqual(check(3), check(3))
  })
})
