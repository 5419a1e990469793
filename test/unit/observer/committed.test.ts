import assert from 'node:assert/strict'
import { LEDGER_LIMITS } from '../../../protocols/ledger/constants.ts'
import { committedResults } from '../../../src/observer/results.ts'
import { createReplica } from '../../../src/observer/replica.ts'
import { run, spec, submit, world } from '../ledger/fixture.ts'

describe('an observer of all results', () => {
  const job = (w: ReturnType<typeof world>): void => { run(w, submit(w, spec({ inputs: 1, partitions: 0 })), 0, 0) }

  it('is told of a gap where results were forgotten before it saw them', async () => {
    const w = world()
    job(w)
    const results = committedResults(createReplica(w.ledger), 0, AbortSignal.timeout(5000))
    assert.ok(!(await results.next()).done)
    for (let i = 0; i < LEDGER_LIMITS.maxEndedJobs + 2; i++) job(w)
    await assert.rejects((async () => { for (;;) await results.next() })(), { code: 'OBSERVER_BEHIND' })
  })

  it('that comes late begins with the first result that is remembered, without an error', async () => {
    const w = world()
    for (let i = 0; i < LEDGER_LIMITS.maxEndedJobs + 2; i++) job(w)
    assert.ok(w.ledger.forgottenUpTo > 0)
    const first = await committedResults(createReplica(w.ledger), 0, AbortSignal.timeout(5000)).next()
    assert.ok(!first.done && first.value.position.index > w.ledger.forgottenUpTo)
  })

  it('that asks for an index of which results were forgotten is told so', async () => {
    const w = world()
    for (let i = 0; i < LEDGER_LIMITS.maxEndedJobs + 2; i++) job(w)
    await assert.rejects(committedResults(createReplica(w.ledger), 1, AbortSignal.timeout(5000)).next(), { code: 'OBSERVER_BEHIND' })
  })
})
