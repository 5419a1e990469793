/**
 * The promise in the first line of the README, twenty times: SIGKILL the leader's process while tasks run. Nothing is lost, nothing is
 * counted twice.
 */
import assert from 'node:assert/strict'
import { agreedLeader, createDaemons, eventually } from '../support/daemons.ts'
import type { Daemon } from '../support/daemons.ts'
import { SLOW_COUNT, countJob, readOnce } from './count-job.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 20)
/** The leader dies when so many tasks are committed. */
const KILL_AT = 5

interface Round { electionMs: number, assignMs: number, doneMs: number }

describe('SIGKILL of the leader while tasks run', function () {
  this.timeout(ROUNDS * 30_000)

  it(`loses no record and counts none twice, in ${ROUNDS} rounds`, async () => {
    await using mesh = await createDaemons()
    let daemons: Daemon[] = await mesh.start(5)
    const { input, expected } = await countJob(mesh.dir, { lines: 240, keys: 40 })

    const rounds: Round[] = []
    for (let round = 1; round <= ROUNDS; round++) {
      const { leader: victim, term } = await agreedLeader(daemons)
      const submitter = daemons.find((daemon) => daemon !== victim) as Daemon
      const { id } = await submitter.client.submit({ name: `round-${round}`, code: SLOW_COUNT, inputs: [input], splitBytes: 120 })
      // the killed one comes back with what it had on disk, as soon as the job goes on without it
      const coming = Promise.withResolvers<Daemon>()
      coming.promise.catch(() => {}) // awaited below, whatever fails before
      rounds.push(await killInTheMiddle(submitter, victim, id, () => { coming.resolve(mesh.up(victim.name)) }))
      assert.deepEqual(await readOnce(submitter, id), expected, `round ${round}: every line once`)
      const info = await submitter.client.job(id)
      assert.equal(info.status, 'succeeded')
      const after = await submitter.client.status()
      assert.ok(after.term > term, 'another term')
      assert.notEqual(after.leader, victim.ready.peerId)
      const back = await coming.promise
      daemons = daemons.map((daemon) => daemon === victim ? back : daemon)
    }
    // every job of every round is known to everybody, those that were killed in between as well
    for (const daemon of daemons) {
      await eventually(`${daemon.name} knows every job`, 30_000, async () => (await daemon.client.jobs()).filter(({ status }) => status === 'succeeded').length === ROUNDS)
    }
    const show = (name: keyof Round): string => {
      const all = rounds.map((round) => Math.round(round[name])).sort((a, b) => a - b)
      return `median ${all[all.length >> 1]} ms, max ${all.at(-1)} ms`
    }
    process.stdout.write(`      from the kill to another leader: ${show('electionMs')}; to its first assignment: ${show('assignMs')}; to the next task committed: ${show('doneMs')}\n`)
  })
})

/** Kill after the fifth committed task, and follow the job to its end. Times are from the kill on, as the submitter sees them. */
async function killInTheMiddle (submitter: Daemon, victim: Daemon, job: string, onGoesOn: () => void): Promise<Round> {
  const over = new AbortController()
  let tasks = 0
  let killedAt: number | undefined
  const round: Round = { electionMs: NaN, assignMs: NaN, doneMs: NaN }
  const leading = (async () => {
    for await (const event of submitter.client.events(over.signal)) {
      if (event.type === 'leader:change' && event.leader !== null && killedAt !== undefined && Number.isNaN(round.electionMs)) round.electionMs = performance.now() - killedAt
    }
  })().catch((error: unknown) => { if (!over.signal.aborted) throw error })
  for await (const line of submitter.client.follow(job)) {
    if (line.event !== 'fact') continue
    const { type } = line.fact
    // the first new attempt after another leads is that leader's
    if (type === 'task:assign' && killedAt !== undefined && !Number.isNaN(round.electionMs) && Number.isNaN(round.assignMs)) round.assignMs = performance.now() - killedAt
    if (type !== 'task:done') continue
    // what the dead leader had committed may still be on its way to the submitter: that is no work of the new one
    if (killedAt !== undefined && !Number.isNaN(round.electionMs) && Number.isNaN(round.doneMs)) {
      round.doneMs = performance.now() - killedAt
      onGoesOn()
    }
    if (++tasks !== KILL_AT) continue
    killedAt = performance.now()
    await victim.kill()
  }
  over.abort()
  await leading
  assert.ok(killedAt !== undefined, 'the leader was killed while tasks ran')
  assert.ok(!Number.isNaN(round.doneMs), 'tasks were left when it died')
  return round
}
