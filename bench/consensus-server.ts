/**
 * One voter in a process of its own: our driver over the sealed overlay, its log on disk, and a small key-value state. The handshake is the
 * real one; who may come in is a fixed list, since there is no ledger here.
 *
 * usage: fork with argv SETTINGS (JSON of `ServerSettings`)
 */
import { identityFromSeed } from '../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../keys/ids.ts'
import { accept, reject } from '../keys/verdict.ts'
import { DEFAULTS } from '../src/config.ts'
import type { AppliedEntry, StateMachine } from '../src/consensus/consensus.ts'
import { createConsensus } from '../src/consensus/driver.ts'
import { createOverlay } from '../src/overlay/create.ts'
import type { Overlay } from '../src/overlay/overlay.ts'
import { sealed } from '../src/overlay/sealed.ts'
import { createRaftTransport } from '../src/raft-transport.ts'
import { answerQuestions, wallMs } from './child.ts'

export const PUT = '/bench/put/1'
const NETWORK = identityFromSeed(new Uint8Array(32).fill(255)).peerId as string as NetworkId
const FENCE = new Uint8Array(16).fill(1)
const KEY_BYTES = 8
/** Proposals in flight while a log is filled. */
const LOAD_WINDOW = 1000

export interface ServerSettings {
  /** number of the seed; clients have numbers too */
  self: number
  voters: number[]
  port: number
  dir: string
  /** instead of the node's default */
  snapshotEntries?: number
  /** propose one value as soon as this node leads, and tell `acked` */
  isProbing?: boolean
}

export const identityOf = (number: number): ReturnType<typeof identityFromSeed> => identityFromSeed(new Uint8Array(32).fill(number + 1))

/** @param members - numbers of all that may come in */
export function overlayOf (self: number, members: readonly number[], port: number | undefined): Overlay {
  const peers = new Set<PeerIdStr>(members.map((member) => identityOf(member).peerId))
  return createOverlay({
    identity: identityOf(self),
    encrypter: sealed({
      fence: FENCE,
      credentials: () => ({ chain: [identityOf(self).publicKey] }),
      judge: async (remote) => peers.has(remote) ? accept(undefined) : reject('STRANGER', 'not on the list')
    }),
    listen: port === undefined ? [] : [`/ip4/127.0.0.1/tcp/${port}`],
    networkId: NETWORK,
    isMember: (peer) => peers.has(peer),
    can: () => true,
    log: () => {}
  })
}

/** The last value of each key. */
class Values implements StateMachine {
  #values = new Map<string, Uint8Array>()
  applied = 0

  apply (entries: AppliedEntry[]): void {
    for (const { index, data } of entries) {
      this.applied = index
      if (data.length >= KEY_BYTES) this.#values.set(Buffer.from(data.buffer, data.byteOffset, KEY_BYTES).toString('latin1'), data)
    }
  }

  snapshot (): Uint8Array {
    const parts: Uint8Array[] = []
    for (const data of this.#values.values()) parts.push(new Uint8Array(Uint32Array.of(data.length).buffer), data)
    return Buffer.concat(parts)
  }

  restore (bytes: Uint8Array, index: number): void {
    this.#values = new Map()
    for (let at = 0; at < bytes.length;) {
      const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0, true)
      const data = bytes.slice(at + 4, at + 4 + length)
      this.#values.set(Buffer.from(data.subarray(0, KEY_BYTES)).toString('latin1'), data)
      at += 4 + length
    }
    this.applied = index
  }
}

async function main (settings: ServerSettings): Promise<void> {
  const startedMs = wallMs()
  const { self, voters, port, dir } = settings
  // clients have the numbers behind the voters'
  const overlay = overlayOf(self, Array.from({ length: 16 }, (_, i) => i), port)
  const machine = new Values()
  const { tickMs, electionTicks, heartbeatTicks, snapshotEntries, snapshotBytes, maxPendingProposals } = DEFAULTS.raft
  const openingMs = wallMs()
  const consensus = await createConsensus({
    id: overlay.peerId,
    dir,
    bootstrapVoters: voters.map((voter) => identityOf(voter).peerId),
    transport: await createRaftTransport(overlay, 64 << 20),
    machine,
    timing: { tickMs, electionTicks, heartbeatTicks },
    limits: { snapshotEntries: settings.snapshotEntries ?? snapshotEntries, snapshotBytes: settings.snapshotEntries === undefined ? snapshotBytes : 2 ** 30, maxPendingProposals }
  })
  const openedMs = wallMs()
  overlay.onPeer(({ type, peerId }) => { if (type === 'peer:disconnect') consensus.peerLost(peerId) })
  await overlay.handle(PUT, 'member', async (request, { signal }) => {
    await consensus.propose(request, signal)
    return new Uint8Array(0)
  })
  let elections = 0
  const tell = answerQuestions(async (question) => {
    switch (question.type) {
      case 'connect':
        overlay.keepConnected((question.peers as Array<{ number: number, addrs: string[] }>).map(({ number, addrs }) => ({ peerId: identityOf(number).peerId, addrs })))
        return undefined
      case 'status': {
        const { role, leader, term, commitIndex, appliedIndex } = consensus.status()
        return { role, leader, term, commitIndex, appliedIndex, elections }
      }
      case 'load': {
        const value = new Uint8Array(question.bytes as number)
        let left = question.count as number
        await Promise.all(Array.from({ length: LOAD_WINDOW }, async () => { while (left-- > 0) await consensus.propose(value.with(0, left & 255).with(1, (left >> 8) & 3)) }))
        return undefined
      }
    }
  })
  consensus.onEvent((event) => {
    if (event.type === 'leader:change') elections++
    if (event.type === 'leader:change' && event.role === 'leader' && settings.isProbing === true) {
      void consensus.propose(new Uint8Array(256)).then(({ index }) => { tell({ type: 'acked', index, atMs: wallMs(), openMs: openedMs - openingMs, runMs: wallMs() - startedMs }) })
    }
  })
  await overlay.start()
  consensus.start()
  tell({ type: 'ready', addrs: overlay.addrs() })
}

if (import.meta.main) await main(JSON.parse(process.argv[2] as string) as ServerSettings)
