import assert from 'node:assert/strict'
import type { CommittedResult, ConclaveNode } from '../../src/api.ts'
import { DEFAULTS } from '../../src/config.ts'
import { WORD_COUNT, all, codeOf, createMesh, until } from '../support/mesh.ts'

interface Count { word: string, count: number }

const counts = async (records: AsyncIterable<unknown>): Promise<Record<string, number>> =>
  Object.fromEntries((await all(records as AsyncIterable<Count>)).map(({ word, count }) => [word, count]))

const SLOW_JOB = `export function map (line, emit) { const end = Date.now; let n = 0; for (let i = 0; i < 3e8; i++) n += i; emit(line, n) }
export function reduce (key, values) { return { key, times: values.length } }`

describe('a mesh of nodes', function () {
  this.timeout(60_000)

  it('is whole with one node: a job is submitted, run, committed and verified', async () => {
    await using mesh = await createMesh()
    const node = await mesh.start('one')
    const job = await node.submit({ code: WORD_COUNT, inputs: [await mesh.file('a.txt', 'to be or not to be\n')] })
    assert.deepEqual(await counts(job.results()), { be: 2, not: 1, or: 1, to: 2 })
    assert.equal((await job.done()).status, 'succeeded')
    const status = node.status()
    assert.equal(status.role, 'leader')
    assert.deepEqual(status.voters, [node.peerId])
    assert.equal(status.jobs.finished, 1)
  })

  it('admits a joiner through any member, and a ticket only as often as it allows', async () => {
    await using mesh = await createMesh()
    const first = await mesh.start('first')
    const second = await mesh.add('second')
    const ticket = await first.invite({ uses: 2 })
    await mesh.start('third', { ticket })
    await mesh.start('fourth', { ticket })
    assert.equal(await codeOf(mesh.start('fifth', { ticket })), 'GRANT_USED_UP')
    await until('every member knows four', 10_000, () => mesh.nodes.every((node) => node.status().members === 4))
    assert.equal(second.status().members, 4)
  })

  it('opens the door through another member that a ticket names, while the one that made it is down', async () => {
    await using mesh = await createMesh()
    const first = await mesh.start('a')
    for (const name of ['b', 'c']) await mesh.add(name)
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
    const ticket = await first.invite()
    await first.stop()
    const late = await mesh.start('d', { ticket })
    assert.equal(late.status().members, 4)
  })

  it('fetches the next task\'s input while one runs', async () => {
    await using mesh = await createMesh()
    const config = { ...DEFAULTS, blocks: { ...DEFAULTS.blocks, copies: 1 } }
    const submitter = await mesh.start('a', { slots: 0, config })
    const worker = await mesh.add('b', { slots: 1, config })
    await submitter.submit({ code: SLOW_JOB, inputs: [await mesh.file('a.txt', 'one\ntwo\nthree\n')], splitBytes: 1 })
    await until('a task runs', 10_000, () => worker.status().slots.busy === 1)
    await until('the code and two inputs are there', 5000, () => worker.status().blocks.count === 3)
    assert.equal(worker.jobs()[0]?.stages[0]?.done, 0, 'and nothing is done yet')
  })

  it('puts a revoked member out for good, and its work goes to others', async () => {
    await using mesh = await createMesh()
    const first = await mesh.start('first')
    const second = await mesh.add('second')
    const third = await mesh.add('third')
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
    assert.equal(await codeOf(second.revoke(third.peerId)), 'NOT_ALLOWED')
    const job = await first.submit({ code: SLOW_JOB, inputs: [await mesh.file('a.txt', Array.from({ length: 9 }, (_, i) => `line ${i}\n`).join(''))], splitBytes: 1 })
    await first.revoke(third.peerId)
    await until('nobody is connected to it', 10_000, () => [first, second].every((node) => node.peers().every(({ peerId }) => peerId !== third.peerId)) && third.peers().every(({ connected }) => !connected))
    assert.equal((await job.done({ signal: AbortSignal.timeout(40_000) })).status, 'succeeded')
    await third.stop()
    assert.equal(mesh.log.some(({ event, code }) => event === 'peer:refuse' && code === 'REVOKED'), true)
  })

  it('makes voters of members as they join, an odd number of them', async () => {
    await using mesh = await createMesh()
    await mesh.start('a')
    await mesh.add('b')
    await until('b is a learner', 10_000, () => mesh.nodes[1]?.status().role === 'learner')
    assert.equal(mesh.nodes[0]?.status().voters.length, 1)
    await mesh.add('c')
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
  })

  it('lets a member without `vote` follow the ledger by gossip, run tasks and read results', async () => {
    await using mesh = await createMesh()
    await mesh.start('voter', { slots: 1 })
    const member = await mesh.add('member', {}, { capabilities: ['work', 'submit', 'observe'] })
    assert.equal(member.status().role, 'member')
    const job = await member.submit({ code: WORD_COUNT, inputs: [await mesh.file('a.txt', 'x y\nx z\n'.repeat(10))], splitBytes: 8 })
    assert.deepEqual(await counts(job.results()), { x: 20, y: 10, z: 10 })
    assert.equal(member.status().leader, mesh.nodes[0]?.peerId)
    assert.equal((await job.done()).participants.length, 2, 'both worked')
  })

  it('shows early and late observers the same results in the same order, verified', async () => {
    await using mesh = await createMesh()
    const first = await mesh.start('first')
    const second = await mesh.add('second')
    const ended = new AbortController()
    const early: CommittedResult[] = []
    const watching = (async () => { for await (const result of second.observe({ signal: ended.signal })) early.push(result) })().catch((error: unknown) => { assert.equal(error, ended.signal.reason) })
    const input = await mesh.file('a.txt', 'to be or not to be that is the question\n'.repeat(50))
    for (const partitions of [1, 3]) await (await first.submit({ code: WORD_COUNT, inputs: [input], partitions })).done()
    await until('the early observer saw four results', 10_000, () => early.length === 4)
    const third = await mesh.add('third', {}, { capabilities: ['observe'] })
    const late: CommittedResult[] = []
    for await (const result of third.observe()) if (late.push(result) === 4) break
    ended.abort()
    await watching
    assert.deepEqual(late, early)
    assert.ok(late.every(({ verified }) => verified))
    const positions = late.map(({ position }) => position.index * 1000 + position.ordinal)
    assert.deepEqual(positions, [...positions].sort((a, b) => a - b))
    assert.equal(new Set(positions).size, positions.length)
  })

  it('goes on when its leader leaves in the middle of a job', async () => {
    await using mesh = await createMesh()
    await mesh.start('a')
    for (const name of ['b', 'c']) await mesh.add(name)
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
    const leader = mesh.nodes.find((node) => node.status().role === 'leader') as ConclaveNode
    const submitter = mesh.nodes.find((node) => node !== leader) as ConclaveNode
    const job = await submitter.submit({ code: SLOW_JOB, inputs: [await mesh.file('a.txt', Array.from({ length: 12 }, (_, i) => `line ${i}\n`).join(''))], splitBytes: 1, partitions: 2 })
    for await (const event of job.events()) if (event.type === 'task:done') break
    await leader.stop()
    const info = await job.done({ signal: AbortSignal.timeout(40_000) })
    assert.equal(info.status, 'succeeded')
    assert.equal((await all(job.results())).length, 12)
    assert.notEqual(submitter.status().leader, leader.peerId)
  })

  it('keeps an acknowledged job when every node stops, and finishes it once they are back', async () => {
    await using mesh = await createMesh()
    const first = await mesh.start('a')
    for (const name of ['b', 'c']) await mesh.add(name)
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
    const job = await first.submit({ code: SLOW_JOB, inputs: [await mesh.file('a.txt', 'one\ntwo\nthree\nfour\nfive\nsix\n')], splitBytes: 1 })
    await Promise.all(mesh.nodes.map(async (node) => { await node.stop() }))
    const back = await Promise.all(['a', 'b', 'c'].map(async (name) => await mesh.start(name, { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [] })))
    await Promise.all(back.slice(1).map(async (node) => { assert.equal(node.network, first.network) }))
    const again = back[1] as ConclaveNode
    await until('the job is known', 20_000, () => again.jobs().some(({ id }) => id === job.id))
    assert.equal((await again.job(job.id).done({ signal: AbortSignal.timeout(40_000) })).status, 'succeeded')
    assert.equal((await all(again.job('last').results())).length, 6)
  })

  it('ends a job of many small tasks without losing sight of one until its lease ends', async () => {
    await using mesh = await createMesh()
    const first = await mesh.start('a')
    for (const name of ['b', 'c']) await mesh.add(name)
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
    const words = Array.from({ length: 2000 }, (_, i) => `w${String.fromCharCode(97 + i % 26)}${String.fromCharCode(97 + (i >> 5) % 26)}`).join(' ')
    const job = await first.submit({ code: WORD_COUNT, inputs: [await mesh.file('a.txt', `${words}\n`)], partitions: 256 })
    const released: unknown[] = []
    for await (const event of job.events({ signal: AbortSignal.timeout(50_000) })) if (event.type === 'task:release') released.push(event)
    assert.deepEqual(released, [])
    assert.equal(job.info().status, 'succeeded')
  })

  it('waits for records in key order without keeping the node busy', async () => {
    await using mesh = await createMesh()
    const node = await mesh.start('a')
    const job = await node.submit({ code: SLOW_JOB.replace('export function reduce', 'function unused'), inputs: [await mesh.file('a.txt', 'c\nb\na\n')], splitBytes: 1 })
    const before = process.cpuUsage()
    const read = await all(job.results({ order: 'key' }))
    const used = process.cpuUsage(before)
    assert.deepEqual(read.map((record) => (record as [string])[0]), ['c', 'b', 'a'], 'in the order of the inputs')
    assert.ok(used.user < 1e6 * 2, `waiting took ${used.user / 1e6} s of CPU`)
  })

  it('stops running code when a job is cancelled', async () => {
    await using mesh = await createMesh()
    const node = await mesh.start('a')
    const job = await node.submit({ code: 'export function map () { for (;;); }', inputs: [await mesh.file('a.txt', 'x\n')] })
    await until('the task runs', 10_000, () => node.status().slots.busy === 1)
    await job.cancel()
    assert.equal((await job.done()).status, 'cancelled')
    assert.equal(await codeOf(all(job.results())), 'JOB_CANCELLED')
    await until('the slot is free', 5000, () => node.status().slots.busy === 0)
  })

  it('says why nothing runs while the quorum is gone, and what to do', async () => {
    await using mesh = await createMesh()
    await mesh.start('a')
    for (const name of ['b', 'c']) await mesh.add(name)
    await until('three voters', 10_000, () => mesh.nodes.every((node) => node.status().voters.length === 3))
    const [a, b, c] = mesh.nodes as [ConclaveNode, ConclaveNode, ConclaveNode]
    await Promise.all([b.stop(), c.stop()])
    await until('a has no leader', 20_000, () => a.status().leader === null)
    const { waiting } = a.status()
    assert.match(waiting[0]?.why ?? '', /1 of 3 voters are connected and 2 are needed/)
    assert.match(waiting[0]?.next ?? '', /conclave up/)
  })
})
