/** Real libp2p nodes on loopback that speak the sealed handshake and nothing else, and clients that misuse it. */
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { lpStream } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { judgePeer } from '../../keys/roster.ts'
import { FRAMING } from '../../protocols/sealed/codec.ts'
import { SEALED_PROTOCOL } from '../../protocols/sealed/constants.ts'
import { sealed } from '../../src/overlay/sealed.ts'
import { founder, founderChain, member, memberChain, network, NOW, TICKET } from '../unit/keys/fixture.ts'
import type { Identity } from '../../keys/identity.ts'
import type { PeerIdStr } from '../../keys/ids.ts'
import type { Credentials, Roster } from '../../keys/roster.ts'
import type { Refusal } from '../../src/overlay/sealed-errors.ts'
import type { SealedInit } from '../../src/overlay/sealed.ts'
import type { NoiseComponents } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter, Libp2p, MessageStream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'

export const fence = new Uint8Array(16).fill(7)
export const ECHO = '/test/echo/1'

const standing = { capabilities: TICKET, notAfterMs: NOW + 7 * 24 * 3_600_000 }
export const roster = (listed: readonly PeerIdStr[], revoked: readonly PeerIdStr[] = []): Roster => ({
  network, index: 5, members: new Map(listed.map(peer => [peer, standing])), revoked: new Set(revoked)
})
/** The ledger that every honest node of these tests holds. */
export const ledger = roster([founder.peerId, member.peerId])

export interface TestNode {
  libp2p: Libp2p
  addr: string
  /** Every connection that ever opened. */
  opened: string[]
  refusals: Refusal[]
}

type Encrypter = (components: NoiseComponents) => ConnectionEncrypter

const running: Libp2p[] = []

/** Stops whatever a test started, also after it failed. */
export async function stopAll (): Promise<void> {
  await Promise.all(running.splice(0).map(async libp2p => { await libp2p.stop() }))
}

export async function startNode (identity: Identity, encrypter: Encrypter, refusals: Refusal[] = []): Promise<TestNode> {
  const opened: string[] = []
  const libp2p = await createLibp2p({
    privateKey: identity.privateKey,
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [encrypter],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: 1000, maxIncomingPendingConnections: 1000, inboundUpgradeTimeout: 10_000, reconnectRetries: 0 },
    connectionMonitor: { enabled: false }
  })
  running.push(libp2p)
  libp2p.addEventListener('connection:open', event => { opened.push(event.detail.remotePeer.toString()) })
  await libp2p.handle(ECHO, async stream => {
    stream.addEventListener('message', event => { stream.send(event.data) })
    stream.addEventListener('remoteCloseWrite', () => { stream.close().catch((error: Error) => { stream.abort(error) }) })
  }, { maxInboundStreams: 100 })

  return { libp2p, addr: libp2p.getMultiaddrs().map(String)[0] ?? '', opened, refusals }
}

/** A node that keeps the rules: it shows `credentials` and judges by `ledger` unless told otherwise. */
export async function honest (identity: Identity, credentials: Credentials, changes: Partial<SealedInit> = {}): Promise<TestNode> {
  const refusals: Refusal[] = []
  const encrypter = sealed({
    fence,
    credentials: () => credentials,
    judge: async (remote, theirs) => judgePeer(ledger, remote, theirs, NOW),
    onRefused: refusal => { refusals.push(refusal) },
    ...changes
  })

  return await startNode(identity, encrypter, refusals)
}

export const victim = async (changes: Partial<SealedInit> = {}): Promise<TestNode> => await honest(founder, { chain: founderChain }, changes)
export const friend = async (changes: Partial<SealedInit> = {}): Promise<TestNode> => await honest(member, { chain: memberChain }, changes)

export type Script = (frames: LengthPrefixedStream, connection: MessageStream) => Promise<void>

/** A client that gets through Noise and then follows a script instead of the protocol; the script's end passes for a finished handshake. */
export async function scripted (identity: Identity, script: Script, prologue = fence): Promise<TestNode> {
  const encrypter: Encrypter = components => {
    const inner = noise({ prologueBytes: prologue })(components)
    return {
      protocol: SEALED_PROTOCOL,
      secureInbound: async (connection, options) => await inner.secureInbound(connection, options),
      secureOutbound: async (connection, options) => {
        const secured = await inner.secureOutbound(connection, options)
        const frames = lpStream(secured.connection, { ...FRAMING, maxDataLength: 65535 })
        await script(frames, secured.connection)
        frames.unwrap()
        return secured
      }
    }
  }

  return await startNode(identity, encrypter)
}

/** Resolves once the other side has ended the connection. */
export async function closed (connection: MessageStream): Promise<void> {
  if (connection.status === 'open') await new Promise(resolve => { connection.addEventListener('close', resolve) })
}

/** Resolves once `condition` holds. @throws after `deadlineMs` */
export async function eventually (condition: () => boolean, what: string, deadlineMs = 8000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Waited ${deadlineMs} ms in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
