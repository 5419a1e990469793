/** What goes wrong: one act at a time, drawn by its own dice. */
import { encodeConfChange } from '../../src/consensus/conf-codec.ts'
import type { ConfChange, ConfChangeSingle } from '../../src/consensus/types.ts'
import type { Random } from './random.ts'
import type { SimNode } from './sim-node.ts'
import type { Simulation } from './simulation.ts'

export class Chaos {
  readonly #world: Simulation
  /** what this run does more than others (Groce et al., "Swarm testing"): a roll of `act` */
  readonly #favourite: number | undefined

  constructor (world: Simulation, random: Random) {
    this.#world = world
    this.#favourite = random.pick([undefined, undefined, 0, 80, 85, 92, 92])
  }

  act (random: Random): void {
    const world = this.#world
    const node = world.nodes.get(random.pick(world.ids))!
    const roll = this.#favourite !== undefined && random.chance(0.2) ? this.#favourite : random.int(100)
    if (roll < 14) this.#crash(random, random.chance(0.4) ? world.anyLeader(random) ?? node : node)
    else if (roll < 40) this.#start(node)
    else if (roll < 50) this.#partition(random)
    else if (roll < 56) this.#block(random.pick(world.ids), random.pick(world.ids))
    else if (roll < 64) this.#heal()
    else if (roll < 70) this.#weather(random)
    else if (roll < 73) this.#disks(random)
    else if (roll < 76) this.#pause(node, random.between(10, 400))
    else if (roll < 78) this.#clock(node, random.pick([5, 8, 10, 15, 30]))
    else if (roll < 83) this.#transfer(random)
    else if (roll < 91) this.#changeMembers(random)
    else if (roll < 95) this.#forsake(random)
    else if (node.isUp) this.#losePeer(random, node, random.pick(world.ids))
  }

  #crash (random: Random, node: SimNode): void {
    if (!node.isUp) return
    this.#world.tell(`${node.id} crashes`)
    node.crash()
    // the others see their connections to it close
    for (const other of this.#world.nodes.values()) {
      if (other.isUp && random.chance(0.5)) this.#losePeer(random, other, node.id)
    }
  }

  #start (node: SimNode): void {
    if (node.isUp) return
    this.#world.tell(`${node.id} starts`)
    node.start()
  }

  #losePeer (random: Random, node: SimNode, peer: string): void {
    this.#world.timeline.plan(random.between(1, 30), { type: 'peerLost', node, epoch: node.epoch, peer, campaigns: random.chance(0.8) })
  }

  #partition (random: Random): void {
    const { ids, network } = this.#world
    const side = ids.filter(() => random.chance(0.5))
    const isOneWay = random.chance(0.3)
    this.#world.tell(`${side.join('')} ${isOneWay ? 'is not heard' : 'is cut off'}`)
    network.cut(ids, new Set(side), isOneWay)
  }

  /** A leader cut off from most, whose clock is so slow that it leads on while others elect: what it says is stale. */
  #forsake (random: Random): void {
    const { ids, network, timeline } = this.#world
    const leader = this.#world.anyLeader(random)
    if (leader === undefined) return
    const { conf } = leader.raft!.status()
    const side = new Set([leader.id, ...conf.learners, ...ids.filter(() => random.chance(0.1))])
    this.#clock(leader, random.pick([10, 40, 80]))
    this.#world.tell(`${[...side].join('')} is cut off with its leader ${leader.id}`)
    network.cut(ids, side, random.chance(0.2))
    // late answers of one of them still come in: they say nothing about now
    if (random.chance(0.5)) network.unblock(random.pick(conf.voters), leader.id)
    // its clients do not know
    for (let i = 0; i < 10; i++) timeline.plan(random.between(100, 600), { type: 'ask', node: leader, epoch: leader.epoch })
  }

  #block (from: string, to: string): void {
    this.#world.tell(`${to} does not hear ${from}`)
    this.#world.network.block(from, to)
  }

  #heal (): void {
    this.#world.tell('links heal')
    this.#world.network.heal()
  }

  #weather (random: Random): void {
    const weather = {
      lossRate: random.pick([0, 0, 0.02, 0.2]),
      duplicateRate: random.pick([0, 0.05, 0.2]),
      chopRate: random.pick([0, 0.02, 0.2]),
      maxDelay: random.pick([3, 5, 20, 60])
    }
    this.#world.network.weather = weather
    this.#world.tell(`weather ${JSON.stringify(weather)}`)
  }

  #disks (random: Random): void {
    this.#world.hasSlowDisks = random.chance(0.5)
    this.#world.tell(`disks are ${this.#world.hasSlowDisks ? 'slow' : 'fast'}`)
  }

  #pause (node: SimNode, units: number): void {
    this.#world.tell(`${node.id} sleeps for ${units}`)
    node.pausedUntil = this.#world.timeline.now + units
  }

  #clock (node: SimNode, tickUnits: number): void {
    this.#world.tell(`${node.id} ticks every ${tickUnits}`)
    node.tickUnits = tickUnits
  }

  #transfer (random: Random): void {
    const leader = this.#world.anyLeader(random)
    if (leader === undefined) return
    const to = random.pick(this.#world.ids)
    this.#world.tell(`${leader.id} hands over to ${to}`)
    leader.raft!.transferLeadership(to)
    leader.pump()
    // it may learn of it long after the leader has given up
    if (random.chance(0.3)) this.#pause(this.#world.nodes.get(to)!, random.between(50, 400))
  }

  #changeMembers (random: Random): void {
    const { ids, timeline, network } = this.#world
    const leader = this.#world.anyLeader(random)
    if (leader === undefined) return
    const { conf } = leader.raft!.status()
    const change: ConfChange = {
      transition: random.pick(['auto', 'auto', 'joint', 'explicit']), changes: this.#changes(random, conf.voters, conf.votersOutgoing.length > 0), context: new Uint8Array(0)
    }
    if (encodeConfChange(change) === undefined) throw new Error('a change that cannot be encoded')
    this.#world.tell(`${leader.id} proposes ${change.transition} ${change.changes.map(({ type, id }) => `${type} ${id}`).join(', ')}`)
    leader.raft!.proposeConfChange(change, new Uint8Array(0))
    leader.pump()
    // the dangerous moment: old and new voters part while the change is half known
    if (!random.chance(0.5)) return
    const side = random.chance(0.5) ? conf.voters.filter(id => id !== leader.id || random.chance(0.3)) : ids.filter(id => id === leader.id || random.chance(0.4))
    timeline.plan(random.between(1, 10 * network.weather.maxDelay), { type: 'cut', side, isOneWay: random.chance(0.2) })
  }

  #changes (random: Random, voters: readonly string[], isJoint: boolean): ConfChangeSingle[] {
    const { ids } = this.#world
    const changes: ConfChangeSingle[] = []
    if (!isJoint && random.chance(0.3)) {
      // quite another set of voters at once
      const target = ids.filter(() => random.chance(0.4))
      for (const id of target) if (!voters.includes(id)) changes.push({ type: 'addVoter', id })
      for (const id of voters) if (!target.includes(id)) changes.push({ type: random.pick(['remove', 'addLearner']), id })
    } else if (!isJoint || random.chance(0.2)) {
      for (let i = random.between(1, 3); i > 0; i--) {
        const type = voters.length > 4 ? 'remove' : random.pick(['addVoter', 'addVoter', 'addLearner', 'addLearner', 'remove'] as const)
        changes.push({ type, id: random.pick(ids) })
      }
    }
    return changes
  }
}
