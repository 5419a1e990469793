/** The events of a simulation, and how a failure shows them. */
import type { Message, RaftStatus } from '../../src/consensus/types.ts'
import type { SimNode } from './sim-node.ts'

export type Event =
  | { type: 'tick', node: SimNode }
  | { type: 'deliver', message: Message }
  | { type: 'written', node: SimNode, epoch: number, ok: boolean }
  | { type: 'snapshotSent', from: SimNode, epoch: number, to: string, ok: boolean }
  | { type: 'peerLost', node: SimNode, epoch: number, peer: string, campaigns: boolean }
  | { type: 'chaos' }
  | { type: 'cut', side: string[], isOneWay: boolean }
  | { type: 'client' }
  | { type: 'ask', node: SimNode, epoch: number }
  | { type: 'calm', phase: 'begin' | 'measure' | 'judge' | 'deaf', at: number }

export function describeEvent (event: Event): string {
  if (event.type === 'deliver') {
    const { type, from, to, term, index, logTerm, entries, commit, reject, rejectHint } = event.message
    const range = entries.length > 0 ? ` +${entries.map(entry => `${entry.index}/${entry.term}`).join(',')}` : ''
    return `${from}→${to} ${type} t${term} ${index}/${logTerm}${range} c${commit}${reject ? ` rejected, hint ${rejectHint}` : ''}`
  }
  if (event.type === 'written') return `${event.node.id} ${event.ok ? 'written' : 'cannot sync'}`
  if (event.type === 'snapshotSent') return `${event.from.id} reports snapshot to ${event.to}: ${event.ok}`
  if (event.type === 'peerLost') return `${event.node.id} loses ${event.peer}`
  if (event.type === 'cut') return `cut off ${event.side.join('')}`
  if (event.type === 'ask') return `${event.node.id} is asked`
  return event.type
}

export function describeStatus ({ id, role, term, votedFor, leader, commit, applied, firstIndex, lastIndex, conf, peers }: RaftStatus): string {
  const members = `voters ${conf.voters.join('')}/${conf.votersOutgoing.join('')} learners ${conf.learners.join('')}/${conf.learnersNext.join('')}`
  const progress = peers.map(peer => `${peer.id}:${peer.state}:${peer.match}/${peer.next}`).join(' ')
  return `${id} ${role} t${term} voted ${votedFor} leader ${leader} log ${firstIndex}…${lastIndex} commit ${commit} applied ${applied} ${members} ${progress}`
}
