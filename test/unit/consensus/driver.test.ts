import assert from 'node:assert/strict'
import { decodeFrame, encodeFrame } from '../../../src/consensus/codec.ts'
import { startTicking } from '../../../src/consensus/clock.ts'
import { createConsensus } from '../../../src/consensus/driver.ts'
import type { Message } from '../../../src/consensus/types.ts'
import { Group, ListMachine, type GroupOptions, type Node } from '../../support/consensus-group.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'

const TICK_MS = 50

/** A linear congruential generator: the same run each time. */
function seeded (seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** A group on memory disks and manual time. */
class Bench {
  readonly clock = new ManualClock()
  readonly disks = new Map<string, MemoryDisk>()
  readonly logged: Array<Record<string, unknown>> = []
  readonly group: Group

  constructor (founders: string[], options: GroupOptions = {}) {
    this.group = new Group(founders, id => ({
      disk: this.disk(id), random: seeded(id.codePointAt(0)! + 1), clock: this.clock, timing: { tickMs: TICK_MS }, log: event => { this.logged.push({ ...event, at: id }) }, ...options
    }))
  }

  disk (id: string): MemoryDisk {
    if (!this.disks.has(id)) this.disks.set(id, new MemoryDisk())
    return this.disks.get(id)!
  }

  node (id: string): Node { return this.group.node(id) }

  async pass (ticks: number): Promise<void> { await this.clock.pass(ticks * TICK_MS, TICK_MS) }

  /** @returns the leader, after as many ticks as it takes */
  async elect (): Promise<Node> {
    for (let tick = 0; tick < 400; tick++) {
      await this.pass(1)
      const leaders = [...this.group.nodes.values()].filter(({ consensus }) => consensus.status().role === 'leader')
      const last = leaders.sort((a, b) => b.consensus.status().term - a.consensus.status().term)[0]
      if (last !== undefined && [...this.group.nodes.values()].every(({ consensus }) => consensus.status().leader === last.id)) return last
    }
    assert.fail('nobody was elected')
  }

  /** Until `holds`, tick by tick. */
  async until (what: string, holds: () => boolean): Promise<void> {
    for (let tick = 0; tick < 400 && !holds(); tick++) await this.pass(1)
    assert.ok(holds(), what)
  }
}

describe('driver', () => {
  let bench: Bench

  afterEach(async () => { await bench.group.stopAll() })

  async function start (founders: string[], options: GroupOptions = {}): Promise<Bench> {
    bench = new Bench(founders, options)
    await bench.group.startAll()
    return bench
  }

  it('has votes and acknowledgements on disk before they leave (Raft §5.1, figure 2)', async () => {
    await start(['a', 'b', 'c'])
    const promises: string[] = []
    let checking = Promise.resolve()
    bench.group.network.onSend = (from, to, bytes) => {
      const frame = decodeFrame(bytes, from, to)
      assert.equal(frame.verdict, 'accept')
      const disk = bench.disk(from).copy()
      for (const message of frame.verdict === 'accept' ? frame.value.messages : []) {
        checking = checking.then(async () => { await check(message, disk) })
      }
    }
    async function check (message: Message, disk: MemoryDisk): Promise<void> {
      const isVote = message.type === 'vote' || (message.type === 'voteReply' && !message.reject)
      const isAck = message.type === 'appendReply' && !message.reject
      if (!isVote && !isAck) return
      const { openLogStore } = await import('../../../src/consensus/log-store.ts')
      const { restored } = await openLogStore({ disk, id: message.from, freshIncarnation: '00'.repeat(16), segmentBytes: 1 << 20 })
      assert.ok(restored.hardState.term >= message.term, `${message.type} of term ${message.term} before its term`)
      const voted = message.type === 'vote' ? message.from : message.to
      if (isVote && restored.hardState.term === message.term) assert.equal(restored.hardState.votedFor, voted)
      if (isAck) assert.ok(restored.snapshot.index + restored.entries.length >= message.index, `acknowledged ${message.index} before it was written`)
      promises.push(message.type)
    }
    const { consensus } = await bench.elect()
    await Promise.all([consensus.propose(Buffer.from('x')), consensus.propose(Buffer.from('y')), bench.pass(10)])
    await checking
    assert.ok(promises.includes('vote') && promises.includes('voteReply') && promises.includes('appendReply'), promises.join())
  })

  it('sends nothing that promises while its disk hangs, and is deposed (hashicorp/raft 503)', async () => {
    await start(['a', 'b', 'c'])
    const leader = await bench.elect()
    const { promise, resolve } = Promise.withResolvers<void>()
    bench.disk(leader.id).beforeSync = async () => { await promise }
    const proposal = leader.consensus.propose(Buffer.from('stuck'))
    const outcome = proposal.then(() => 'committed', (error: { code: string }) => error.code)
    await bench.until('another leads', () => [...bench.group.nodes.values()].some(node => node !== leader && node.consensus.status().role === 'leader'))
    resolve()
    await bench.until('the old one follows', () => leader.consensus.status().role === 'follower')
    assert.ok(['committed', 'LEADERSHIP_LOST'].includes(await outcome))
  })

  it('commits in groups: what arrives during a sync shares the next one', async () => {
    await start(['a'])
    const { consensus, machine } = await bench.elect()
    const before = bench.disk('a').trace.length
    await Promise.all(Array.from({ length: 500 }, async (_, i) => await consensus.propose(Buffer.from(String(i)))))
    assert.equal(machine.commands.length, 500)
    assert.ok(bench.disk('a').trace.length - before <= 3, `${bench.disk('a').trace.length - before} syncs`)
  })

  it('answers a proposal after it was applied, with its place', async () => {
    await start(['a'])
    const { consensus, machine, events } = await bench.elect()
    const ack = await consensus.propose(Buffer.from('x'))
    assert.deepEqual(machine.commands, ['x'])
    assert.equal(machine.applied, ack.index)
    const entries = events.flatMap(event => event.type === 'commit' ? event.entries : [])
    assert.deepEqual(entries.map(({ index }) => index), [2, 3])
    assert.equal(entries[0]!.data.length, 0)
    assert.deepEqual(consensus.entries(2, 1 << 20)!.map(({ index }) => index), [2, 3])
    assert.deepEqual(consensus.entries(4, 1 << 20), [])
    assert.equal(consensus.entries(1, 1 << 20), undefined)
    assert.equal(consensus.latestSnapshot()!.index, 1)
  })

  it('refuses proposals with a reason: not the leader, too many, too large, stopped, aborted', async () => {
    await start(['a', 'b', 'c'], { limits: { maxPendingProposals: 3, maxEntryBytes: 1000 } })
    const leader = await bench.elect()
    const follower = [...bench.group.nodes.values()].find(node => node !== leader)!
    await assert.rejects(follower.consensus.propose(Buffer.from('x')), { code: 'NOT_LEADER', details: { leader: leader.id } })
    await assert.rejects(leader.consensus.propose(new Uint8Array(1001)), { code: 'PROPOSAL_DROPPED', details: { reason: 'tooLarge' } })
    bench.group.network.isOpen = () => false
    const abort = new AbortController()
    const waiting = [1, 2, 3].map(async () => await leader.consensus.propose(Buffer.from('x'), abort.signal))
    const outcomes = Promise.allSettled(waiting)
    await assert.rejects(leader.consensus.propose(Buffer.from('x')), { code: 'BUSY' })
    abort.abort(new Error('no more patience'))
    for (const outcome of await outcomes) assert.equal(outcome.status === 'rejected' && outcome.reason.message, 'no more patience')
    const last = assert.rejects(leader.consensus.propose(Buffer.from('x')), { code: 'STOPPED' })
    await leader.consensus.stop()
    await last
    await assert.rejects(leader.consensus.propose(Buffer.from('x')), { code: 'STOPPED' })
  })

  it('tells the proposer that leadership was lost, and applies nothing twice', async () => {
    await start(['a', 'b', 'c'])
    const leader = await bench.elect()
    bench.group.network.isOpen = (from, to) => from !== leader.id && to !== leader.id
    const outcome = assert.rejects(leader.consensus.propose(Buffer.from('lonely')), { code: 'LEADERSHIP_LOST' })
    await bench.until('it steps down without a quorum', () => leader.consensus.status().role === 'follower')
    await outcome
    await bench.until('another leads', () => [...bench.group.nodes.values()].some(node => node !== leader && node.consensus.status().role === 'leader'))
    bench.group.network.isOpen = () => true
    const next = await bench.elect()
    await Promise.all([next.consensus.propose(Buffer.from('x')), bench.pass(10)])
    for (const { machine } of bench.group.nodes.values()) assert.deepEqual(machine.commands, ['x'])
  })

  it('drops frames of somebody who claims to be another, and garbage, and lives on', async () => {
    await start(['a', 'b', 'c'])
    const leader = await bench.elect()
    const victim = [...bench.group.nodes.values()].find(node => node !== leader)!
    const outsider = bench.group.network.transport('mallory')
    const forged: Message = {
      type: 'append', from: leader.id, to: victim.id, term: 99, index: 0, logTerm: 0, entries: [], commit: 0, reject: false, rejectHint: 0, force: false,
      context: new Uint8Array(0)
    }
    const envelope = { incarnation: '11'.repeat(16), peerIncarnation: '' }
    outsider.send(victim.id, encodeFrame({ ...envelope, messages: [forged] }))
    outsider.send(victim.id, new Uint8Array(100).fill(255))
    outsider.send(victim.id, new Uint8Array((1 << 20) + 1))
    await assert.rejects(outsider.sendSnapshot(victim.id, new Uint8Array(50).fill(7), AbortSignal.timeout(1000)), { code: 'SNAPSHOT_REFUSED' })
    await bench.pass(5)
    assert.equal(bench.logged.filter(({ event, peer }) => event === 'raft:frame-rejected' && peer === 'mallory').length, 2)
    assert.equal(bench.logged.filter(({ event, peer }) => event === 'raft:frame-dropped' && peer === 'mallory').length, 1)
    assert.ok(victim.consensus.status().term < 99)
    assert.equal((await bench.elect()).id, leader.id)
  })

  it('does not start an election after a long sleep', async () => {
    await start(['a', 'b', 'c'])
    const leader = await bench.elect()
    const { term } = leader.consensus.status()
    bench.clock.jump(8 * 3600_000)
    await bench.pass(30)
    assert.deepEqual([...bench.group.nodes.values()].map(({ consensus }) => consensus.status().term), [term, term, term])
    assert.equal(leader.consensus.status().role, 'leader')
  })

  it('elects at once where the leader\'s connection closes, and is not disturbed where a follower\'s does', async () => {
    await start(['a', 'b', 'c'])
    const leader = await bench.elect()
    const { term } = leader.consensus.status()
    const [one, two] = [...bench.group.nodes.values()].filter(node => node !== leader) as [Node, Node]
    one.consensus.peerLost(two.id)
    leader.consensus.peerLost(two.id)
    one.consensus.peerLost(leader.id)
    await bench.pass(20)
    assert.equal((await bench.elect()).id, leader.id, 'pre-vote: the other still hears the leader')
    assert.equal(leader.consensus.status().term, term)
    await bench.group.stop(leader.id)
    await bench.clock.pass(4 * TICK_MS, 1)
    assert.ok([one, two].some(({ consensus }) => consensus.status().role === 'leader'), 'within 4 ticks; the timeout is 10 to 20')
  })

  it('campaigns again soon where all did so at once and split the vote', async () => {
    const dice = seeded(7)
    let isTied = false
    await start(['a', 'b', 'c', 'd', 'e'], { random: () => isTied ? 0.5 : dice() })
    const leader = await bench.elect()
    const { term } = leader.consensus.status()
    isTied = true
    await bench.group.stop(leader.id)
    isTied = false
    const others = [...bench.group.nodes.values()]
    await bench.clock.pass(60, 1)
    assert.deepEqual(others.map(({ consensus }) => [consensus.status().term, consensus.status().leader]), others.map(() => [term + 1, '']), 'four candidates of one term')
    for (let ms = 0; ms < 340 && !others.some(({ consensus }) => consensus.status().role === 'leader'); ms += 5) await bench.clock.pass(5, 1)
    assert.ok(others.some(({ consensus }) => consensus.status().role === 'leader'), 'within 8 ticks; the timeout is 10 to 20')
  })

  it('lets another go first that asks for its vote, and campaigns after all where that one fails', async () => {
    const dice = seeded(9)
    await start(['a', 'b', 'c'], { random: dice })
    const leader = await bench.elect()
    const { term } = leader.consensus.status()
    const [one, two] = [...bench.group.nodes.values()].filter(node => node !== leader) as [Node, Node]
    // the first to ask dies with its question on the way
    let asked: string | undefined
    bench.group.network.onSend = (from, to, bytes) => {
      const frame = decodeFrame(bytes, from, to)
      if (frame.verdict === 'accept' && frame.value.messages.some(({ type }) => type === 'preVote')) asked ??= from
    }
    bench.group.network.isOpen = (_from, to) => to !== asked
    await bench.group.stop(leader.id)
    await bench.clock.pass(8 * TICK_MS, 1)
    const other = asked === one.id ? two : one
    assert.equal(other.consensus.status().role, 'preCandidate')
    assert.equal(other.consensus.status().term, term)
    bench.group.network.isOpen = () => true
    await bench.until('one leads', () => [one, two].some(({ consensus }) => consensus.status().role === 'leader'))
  })

  it('stops for good where the disk fails, and says so', async () => {
    for (const failure of ['LOG_IO_FAILED', 'LOG_DISK_FULL']) {
      await start(['a'])
      const { consensus, events } = await bench.elect()
      await consensus.propose(Buffer.from('kept'))
      let syncs = 0
      bench.disk('a').fault = operation => {
        if (operation !== 'sync') return undefined
        syncs++
        return { code: failure, written: 0 }
      }
      await assert.rejects(consensus.propose(Buffer.from('lost?')), (error: { code: string, cause: { code: string } }) => error.code === 'STOPPED' && error.cause.code === failure)
      await consensus.stop()
      assert.equal(syncs, 1, 'a failed sync is never retried')
      assert.ok(events.some(event => event.type === 'stopped' && (event.error as { code?: string } | undefined)?.code === failure))
      assert.equal(consensus.status().role, 'follower')
      bench.disk('a').fault = () => undefined
      await bench.group.stop('a')
      const again = await bench.group.start('a')
      await bench.elect()
      assert.equal(again.machine.commands[0], 'kept')
      await bench.group.stopAll()
    }
  })

  it('stops for good where the state machine throws', async () => {
    await start(['a'])
    const { consensus, machine, events } = await bench.elect()
    machine.apply = () => { throw new Error('cannot apply') }
    await assert.rejects(consensus.propose(Buffer.from('x')), { code: 'STOPPED' })
    assert.equal((events.at(-1) as { error?: { code?: string } }).error?.code, 'CONSENSUS_BROKEN')
  })

  it('takes snapshots after so many entries or bytes, and keeps the disk bounded', async () => {
    await start(['a'], { limits: { snapshotEntries: 100, snapshotBytes: 10_000, trailingEntries: 20, segmentBytes: 4096 } })
    const { consensus } = await bench.elect()
    for (let i = 0; i < 50; i++) await Promise.all([1, 2, 3, 4].map(async () => await consensus.propose(Buffer.from('.'))))
    await bench.pass(2)
    const status = consensus.status()
    assert.ok(status.snapshotIndex >= 100 && status.lastIndex - status.firstIndex <= 130, JSON.stringify(status))
    await consensus.propose(Buffer.alloc(12_000, 'x'))
    await bench.pass(2)
    assert.equal(consensus.status().snapshotIndex, consensus.status().lastIndex)
    assert.ok((await bench.disk('a').list()).length <= 3)
    assert.ok(bench.disk('a').bytes < 50_000)
  })

  it('reports a snapshot that failed, and sends it again', async () => {
    await start(['a', 'b', 'c'], { limits: { snapshotEntries: 10, trailingEntries: 2, snapshotTimeoutMs: 1000 } })
    const leader = await bench.elect()
    const away = [...bench.group.nodes.values()].find(node => node !== leader)!.id
    await bench.group.stop(away)
    for (let i = 0; i < 40; i++) await Promise.all([leader.consensus.propose(Buffer.from(String(i))), bench.pass(1)])
    let failures = 2
    bench.group.network.onSnapshot = async () => { if (failures-- > 0) throw new Error('the stream broke') }
    const back = await bench.group.start(away)
    await bench.until('it has caught up', () => back.machine.commands.length === 40)
    assert.equal(bench.logged.filter(({ event }) => event === 'raft:snapshot-failed').length, 2)
  })

  it('does not hear a voter whose disk was wiped under its old id, until it was removed and added again', async () => {
    await start(['a', 'b', 'c'])
    const leader = await bench.elect()
    await Promise.all([leader.consensus.propose(Buffer.from('x')), bench.pass(5)])
    const wiped = [...bench.group.nodes.values()].find(node => node !== leader)!.id
    await bench.group.stop(wiped)
    bench.disks.delete(wiped)
    const back = await bench.group.start(wiped, { bootstrapVoters: [] })
    await bench.pass(40)
    assert.equal(back.consensus.status().lastIndex, 0)
    assert.equal(leader.consensus.status().progress.get(wiped)!.isWiped, true)
    assert.ok(bench.logged.some(({ event, at, refusal }) => event === 'raft:incarnation' && at === wiped && refusal === 'selfWiped'))
    await Promise.all([leader.consensus.changeMembers([{ type: 'remove', id: wiped }]), bench.pass(5)])
    await Promise.all([leader.consensus.changeMembers([{ type: 'addLearner', id: wiped }]), bench.pass(5)])
    await bench.until('it is filled again', () => back.machine.commands.length === 1)
  })

  it('waits silently as a newcomer until a leader speaks to it', async () => {
    bench = new Bench([])
    const node = await bench.group.start('n')
    await bench.pass(100)
    const { role, term, leader, lastIndex } = node.consensus.status()
    assert.deepEqual({ role, term, leader, lastIndex }, { role: 'follower', term: 0, leader: '', lastIndex: 0 })
    await assert.rejects(node.consensus.propose(Buffer.from('x')), { code: 'NOT_LEADER', details: { leader: '' } })
  })

  it('refuses settings that make no sense', async () => {
    bench = new Bench([])
    const init = { id: 'a', dir: '', disk: new MemoryDisk(), machine: new ListMachine(), transport: bench.group.network.transport('a') }
    await assert.rejects(createConsensus({ ...init, timing: { electionTicks: 4, heartbeatTicks: 2 } }), { code: 'CONSENSUS_CONFIG' })
    await assert.rejects(createConsensus({ ...init, limits: { maxEntryBytes: 1 << 20 } }), { code: 'CONSENSUS_CONFIG' })
    await assert.rejects(createConsensus({ ...init, limits: { segmentBytes: 0 } }), { code: 'CONSENSUS_CONFIG' })
  })
})

describe('ticking', () => {
  it('delivers one tick per interval, at most two after a pause, and none after it was stopped', () => {
    const clock = new ManualClock()
    const ticks: number[] = []
    const stop = startTicking(clock, 50, count => ticks.push(count))
    clock.jump(50)
    clock.jump(50)
    clock.jump(125)
    clock.jump(25)
    clock.jump(3600_000)
    clock.jump(49)
    clock.jump(1)
    assert.deepEqual(ticks, [1, 1, 2, 1, 2, 1])
    stop()
    clock.jump(1000)
    assert.equal(ticks.length, 6)
  })
})
