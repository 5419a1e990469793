import assert from 'node:assert/strict'
import type { ConclaveNode } from '../../src/api.ts'
import { DEFAULTS } from '../../src/config.ts'
import { WORD_COUNT, all, createMesh, until } from '../support/mesh.ts'

const DAY = 86_400_000

describe('a mesh over time', function () {
  this.timeout(60_000)

  it('renews a certificate at half of its life, by itself', async () => {
    await using mesh = await createMesh()
    let aheadMs = 0
    const wallMs = (): number => Date.now() + aheadMs
    await mesh.start('a', { wallMs })
    const b = await mesh.add('b', { wallMs })
    const before = b.peers()[0]?.notAfter as number
    await mesh.nodes[0]?.stop()
    aheadMs = 4 * DAY
    const back = await mesh.start('a', { wallMs })
    await until('a was renewed', 20_000, () => (b.peers()[0]?.notAfter ?? 0) > before)
    assert.ok((b.peers()[0]?.notAfter ?? 0) - wallMs() > 6 * DAY)
    assert.equal(back.status().role, 'leader')
  })

  it('comes back when all of it slept for a month', async () => {
    await using mesh = await createMesh()
    let aheadMs = 0
    const wallMs = (): number => Date.now() + aheadMs
    await mesh.start('a', { wallMs })
    for (const name of ['b', 'c']) await mesh.add(name, { wallMs })
    await mesh.add('d', { wallMs }, { capabilities: ['work', 'submit', 'observe'] })
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
    await Promise.all(mesh.nodes.map(async (node) => { await node.stop() }))
    aheadMs = 30 * DAY
    const back = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => await mesh.start(name, { wallMs })))
    await until('all certificates are new', 30_000, () => back.every((node) => node.peers().length === 3 && node.peers().every(({ notAfter }) => notAfter > wallMs() + 6 * DAY)))
    const d = back[3] as ConclaveNode
    const job = await d.submit({ code: WORD_COUNT, inputs: [await mesh.file('a.txt', 'still here\n')] })
    assert.equal((await all(job.results())).length, 2)
  })

  it('brings a late voter and a late observer up by snapshot, once the log behind it is gone', async () => {
    await using mesh = await createMesh()
    const config = { ...DEFAULTS, raft: { ...DEFAULTS.raft, snapshotEntries: 8 } }
    const first = await mesh.start('a', { config })
    const input = await mesh.file('a.txt', 'one two\n')
    for (let i = 0; i < 6; i++) await (await first.submit({ code: WORD_COUNT, inputs: [input] })).done()
    const voter = await mesh.add('b', { config })
    const observer = await mesh.add('c', { config }, { capabilities: ['observe'] })
    for (const node of [voter, observer]) {
      await until('it caught up', 20_000, () => node.status().appliedIndex >= first.status().appliedIndex)
      assert.deepEqual(node.jobs(), first.jobs())
      let seen = 0
      for await (const result of node.observe()) {
        assert.ok(result.verified)
        if (++seen === 12) break // two words of six jobs, in different partitions
      }
    }
    assert.equal(observer.status().role, 'member')
    assert.equal(voter.status().role, 'learner')
  })

  it('starts again from a snapshot and what came after it', async () => {
    await using mesh = await createMesh()
    const config = { ...DEFAULTS, raft: { ...DEFAULTS.raft, snapshotEntries: 8 } }
    const first = await mesh.start('a', { config })
    const input = await mesh.file('a.txt', 'one two\n')
    for (let i = 0; i < 4; i++) await (await first.submit({ code: WORD_COUNT, inputs: [input] })).done()
    const jobs = first.jobs()
    await first.stop()
    const again = await mesh.start('a', { config })
    await until('the log is applied', 10_000, () => again.jobs().length === 4)
    assert.deepEqual(again.jobs(), jobs)
  })
})
