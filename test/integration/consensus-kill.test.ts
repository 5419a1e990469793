import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Changes } from '../support/changes.ts'
import type { FromChild, ToChild } from '../support/consensus-child.ts'

const IDS = ['a', 'b', 'c']
const ROUNDS = 20
const SCRIPT = path.join(import.meta.dirname, '../support/consensus-child.ts')

/** Three real processes; this one is their network and their client. */
class Mesh {
  readonly changes = new Changes()
  readonly children = new Map<string, ChildProcess>()
  readonly acknowledged: string[] = []
  readonly dumps = new Map<string, string[]>()
  readonly refusals = new Map<string, number>()
  leader: { id: string, term: number } | undefined
  readonly #dir: string
  #serial = 0
  #load = 0
  readonly #asked = new Set<string>()

  constructor (dir: string) { this.#dir = dir }

  async start (id: string): Promise<void> {
    const child = fork(SCRIPT, [id, path.join(this.#dir, id), IDS.join()], { serialization: 'advanced' })
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', code => { reject(new Error(`${id} ended with ${code}`)) })
      child.on('message', (message: FromChild) => { if (message.type === 'ready') resolve() })
    })
    child.on('message', (message: FromChild) => {
      this.#onMessage(id, message)
      this.changes.notify()
    })
    this.children.set(id, child)
  }

  /** No chance to say goodbye. The others see the connection close. */
  async kill (ids: string[]): Promise<void> {
    const exits = ids.map(async id => {
      const child = this.children.get(id)!
      this.children.delete(id)
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
      if (this.leader?.id === id) this.leader = undefined
    })
    await Promise.all(exits)
    for (const id of ids) for (const other of this.children.keys()) this.tell(other, { type: 'lost', id })
  }

  tell (id: string, message: ToChild): void { if (this.children.get(id)?.connected === true) this.children.get(id)!.send(message, () => {}) }

  /** @returns the last answer, and asks for the next */
  takeDump (id: string): string[] | undefined {
    if (!this.#asked.has(id)) this.tell(id, { type: 'dump' })
    this.#asked.add(id)
    return this.dumps.get(id)
  }

  /** Keeps `width` proposals in flight; each command is proposed once, whatever becomes of it. */
  load (width: number): void {
    this.#load = width
    for (let i = 0; i < width; i++) this.#proposeNext()
  }

  #proposeNext (): void {
    if (this.#load === 0) return
    // without a leader the load starts afresh with the next one
    if (this.leader !== undefined) this.tell(this.leader.id, { type: 'propose', command: `command ${++this.#serial}` })
  }

  #onMessage (id: string, message: FromChild): void {
    switch (message.type) {
      case 'frame': this.tell(message.to, { type: 'frame', from: id, frame: message.frame }); break
      case 'snapshot': this.tell(message.to, { type: 'snapshot', from: id, payload: message.payload, serial: message.serial }); break
      case 'snapshotDone': this.tell(message.to, { type: 'snapshotDone', serial: message.serial, error: message.error }); break
      case 'leader': if (message.isSelf && message.term > (this.leader?.term ?? 0)) this.#lead(id, message.term); break
      case 'ack': this.acknowledged.push(message.command); this.#proposeNext(); break
      case 'refused':
        this.refusals.set(message.code, (this.refusals.get(message.code) ?? 0) + 1)
        setImmediate(() => { this.#proposeNext() })
        break
      case 'dump':
        this.#asked.delete(id)
        this.dumps.set(id, message.commands)
        break
      case 'stopped': assert.fail(`${id} stopped: ${message.reason}`); break
      case 'ready': break
    }
  }

  /** Proposals that were with the last leader are lost with it: the load starts afresh. */
  #lead (id: string, term: number): void {
    this.leader = { id, term }
    this.load(this.#load)
  }
}

describe('consensus under SIGKILL', function () {
  this.timeout(90_000)

  it(`keeps every acknowledged entry, once and in one order, over ${ROUNDS} rounds of killing processes under load`, async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-kill-'))
    const mesh = new Mesh(dir)
    try {
      await Promise.all(IDS.map(async id => { await mesh.start(id) }))
      mesh.load(8)
      for (let round = 0; round < ROUNDS; round++) {
        await mesh.changes.until(`a leader in round ${round}`, () => mesh.leader !== undefined)
        const goal = mesh.acknowledged.length + 20 + 7 * (round % 5)
        await mesh.changes.until(`progress in round ${round}`, () => mesh.acknowledged.length >= goal)
        const leader = mesh.leader?.id ?? 'a'
        const victims = round % 7 === 6 ? IDS : [round % 2 === 0 ? leader : IDS.find(id => id !== leader)!]
        await mesh.kill(victims)
        await Promise.all(victims.map(async id => { await mesh.start(id) }))
      }
      await mesh.changes.until('a leader at the end', () => mesh.leader !== undefined)
      const goal = mesh.acknowledged.length + 50
      await mesh.changes.until('progress at the end', () => mesh.acknowledged.length >= goal)
      mesh.load(0)
      // a dump is answered by the next look, until all answers are complete and alike
      await mesh.changes.until('everybody has everything', () => {
        const dumps = IDS.map(id => mesh.takeDump(id))
        return dumps.every(dump => dump !== undefined && dump.length === dumps[0]?.length && dump.length >= mesh.acknowledged.length)
      })
      const order = mesh.dumps.get('a')!
      assert.equal(new Set(order).size, order.length, 'nothing is applied twice')
      for (const id of IDS) assert.deepEqual(mesh.dumps.get(id), order)
      const position = new Map(order.map((command, at) => [command, at]))
      for (const command of mesh.acknowledged) assert.ok(position.has(command), `${command} was acknowledged and is lost`)
    } finally {
      await mesh.kill([...mesh.children.keys()])
      await fs.rm(dir, { recursive: true, force: true })
    }
  })
})
