/**
 * One replica in a process of its own, to be killed. The parent is the network: it passes frames on.
 *
 * usage: fork with argv ID DIR FOUNDERS(comma-separated), serialization 'advanced'
 */
import type { RaftId } from '../../src/consensus/consensus.ts'
import { createConsensus } from '../../src/consensus/driver.ts'
import { ListMachine } from './consensus-group.ts'

export type ToChild =
  | { type: 'frame', from: RaftId, frame: Uint8Array }
  | { type: 'snapshot', from: RaftId, payload: Uint8Array, serial: number }
  | { type: 'snapshotDone', serial: number, error: string }
  | { type: 'propose', command: string }
  | { type: 'lost', id: RaftId }
  | { type: 'dump' }

export type FromChild =
  | { type: 'ready' }
  | { type: 'frame', to: RaftId, frame: Uint8Array }
  | { type: 'snapshot', to: RaftId, payload: Uint8Array, serial: number }
  | { type: 'snapshotDone', to: RaftId, serial: number, error: string }
  | { type: 'leader', leader: RaftId, term: number, isSelf: boolean }
  | { type: 'ack', command: string }
  | { type: 'refused', command: string, code: string }
  | { type: 'dump', commands: string[] }
  | { type: 'stopped', reason: string }

const [id, dir, founders] = process.argv.slice(2) as [string, string, string]
const tell = (message: FromChild): void => { process.send!(message) }
const machine = new ListMachine()
const sending = new Map<number, (error: string) => void>()
let serials = 0
let onFrame: (from: RaftId, frame: Uint8Array) => void = () => {}
let onSnapshot: (from: RaftId, payload: Uint8Array) => Promise<void> = async () => {}

const consensus = await createConsensus({
  id,
  dir,
  bootstrapVoters: founders.split(','),
  machine,
  transport: {
    send: (to, frame) => { tell({ type: 'frame', to, frame }); return true },
    onFrame: listener => { onFrame = listener },
    sendSnapshot: async (to, payload) => {
      const serial = ++serials
      await new Promise<void>((resolve, reject) => {
        sending.set(serial, error => { if (error === '') resolve(); else reject(new Error(error)) })
        tell({ type: 'snapshot', to, payload, serial })
      })
    },
    onSnapshot: listener => { onSnapshot = listener }
  },
  timing: { tickMs: 20 },
  limits: { snapshotEntries: 200, trailingEntries: 50, segmentBytes: 16 * 1024 }
})

consensus.onEvent(event => {
  if (event.type === 'leader:change') tell({ type: 'leader', leader: event.leader, term: event.term, isSelf: event.leader === id })
  if (event.type === 'stopped') tell({ type: 'stopped', reason: String(event.error) })
})

process.on('message', (message: ToChild) => {
  switch (message.type) {
    case 'frame': onFrame(message.from, message.frame); break
    case 'snapshot':
      onSnapshot(message.from, message.payload).then(
        () => { tell({ type: 'snapshotDone', to: message.from, serial: message.serial, error: '' }) },
        error => { tell({ type: 'snapshotDone', to: message.from, serial: message.serial, error: String(error) }) })
      break
    case 'snapshotDone': sending.get(message.serial)?.(message.error); sending.delete(message.serial); break
    case 'propose':
      consensus.propose(Buffer.from(message.command)).then(
        () => { tell({ type: 'ack', command: message.command }) },
        error => { tell({ type: 'refused', command: message.command, code: (error as { code?: string }).code ?? String(error) }) })
      break
    case 'lost': consensus.peerLost(message.id); break
    case 'dump': tell({ type: 'dump', commands: machine.commands }); break
  }
})
process.on('disconnect', () => { process.exit(0) })
consensus.start()
tell({ type: 'ready' })
