import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Group, type GroupOptions } from '../support/consensus-group.ts'

describe('consensus on real disks', function () {
  this.timeout(30_000)
  let dir: string
  let group: Group

  beforeEach(async () => { dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-consensus-')) })

  afterEach(async () => {
    await group.stopAll()
    await fs.rm(dir, { recursive: true, force: true })
  })

  async function found (ids: string[], options: GroupOptions = {}): Promise<Group> {
    group = new Group(ids, id => ({ dir: path.join(dir, id), ...options }))
    await group.startAll()
    return group
  }

  const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

  for (const voters of [['a'], ['a', 'b', 'c'], ['a', 'b', 'c', 'd', 'e']]) {
    it(`elects and commits with ${voters.length}, and restarts from disk with all that was acknowledged`, async () => {
      await found(voters)
      const commands = names('x', 100)
      const { consensus } = await group.leader()
      const acks = await Promise.all(commands.map(async command => await consensus.propose(Buffer.from(command))))
      assert.deepEqual(acks.map(({ index }) => index), acks.map((_, i) => acks[0]!.index + i))
      await group.agreed(commands)
      await group.stopAll()
      await group.startAll()
      await group.agreed(commands)
      await group.propose('after')
      await group.agreed([...commands, 'after'])
    })
  }

  it('elects another leader as soon as the connection to the old one closes, long before any timeout, and loses nothing', async () => {
    await found(['a', 'b', 'c'], { timing: { tickMs: 20, electionTicks: 10 } })
    const commands = names('x', 20)
    for (const command of commands) await group.propose(command)
    await group.agreed(commands)
    const gaps: number[] = []
    for (let round = 0; round < 5; round++) {
      const { id } = await group.leader()
      const startedMs = performance.now()
      await group.stop(id)
      await group.leader()
      gaps.push(performance.now() - startedMs)
      await group.start(id)
      await group.agreed(commands)
    }
    assert.ok(gaps.sort((a, b) => a - b)[2]! < 200, `an election timeout is 200 to 400 ms; the gaps were ${gaps.map(Math.round).join(', ')}`)
  })

  it('catches up a follower that was away by snapshot, and others from memory', async () => {
    await found(['a', 'b', 'c'], { limits: { snapshotEntries: 50, trailingEntries: 10 } })
    const { id } = await group.leader()
    const away = ['a', 'b', 'c'].find(other => other !== id)!
    await group.stop(away)
    const commands = names('y', 300)
    for (let at = 0; at < commands.length; at += 10) {
      const { consensus } = await group.leader()
      await Promise.all(commands.slice(at, at + 10).map(async command => await consensus.propose(Buffer.from(command))))
    }
    const leader = await group.leader()
    await group.changes.until('the log is compacted', () => leader.consensus.status().firstIndex > 200)
    assert.equal(leader.consensus.entries(1, 1000), undefined)
    assert.ok(leader.consensus.latestSnapshot()!.index >= 200)
    assert.ok((await fs.readdir(path.join(dir, leader.id))).length <= 4)
    const back = await group.start(away)
    await group.agreed(commands)
    assert.equal(group.network.snapshotsSent, 1)
    assert.ok(back.events.some(({ type }) => type === 'restore'))
    await group.stopAll()
    await group.startAll()
    await group.agreed(commands)
  })

  it('takes in newcomers as learners and makes them voters in one joint step', async () => {
    await found(['a'])
    const { consensus } = await group.leader()
    await group.propose('before')
    await group.start('b')
    await group.start('c')
    assert.equal(group.node('b').consensus.status().leader, '')
    await consensus.changeMembers([{ type: 'addLearner', id: 'b' }, { type: 'addLearner', id: 'c' }])
    await group.changes.until('the learners have caught up', () => ['b', 'c'].every(id => group.node(id).machine.commands.length === 1))
    await consensus.changeMembers([{ type: 'addVoter', id: 'b' }, { type: 'addVoter', id: 'c' }])
    await group.changes.until('the joint configuration is left', () => [...group.nodes.values()].every(node => {
      const { conf } = node.consensus.status()
      return conf.voters.length === 3 && conf.votersOutgoing.length === 0
    }))
    await group.stop('a')
    await group.propose('after')
    await group.agreed(['before', 'after'])
  })

  it('hands leadership over', async () => {
    await found(['a', 'b', 'c'])
    const { consensus, id } = await group.leader()
    const next = await consensus.transferLeadership()
    assert.notEqual(next, id)
    assert.equal((await group.leader()).id, next)
    await assert.rejects(consensus.propose(Buffer.from('late')), { code: 'NOT_LEADER', details: { leader: next } })
    await assert.rejects(consensus.transferLeadership(), { code: 'NOT_LEADER' })
  })

  it('answers a read only after everything that was committed before', async () => {
    await found(['a', 'b', 'c'])
    const commands = names('z', 20)
    for (const command of commands) await group.propose(command)
    for (const { consensus, machine } of group.nodes.values()) {
      await consensus.readBarrier()
      assert.deepEqual(machine.commands, commands)
    }
  })
})
