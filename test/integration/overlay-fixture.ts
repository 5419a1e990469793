/**
 * Overlays on loopback for tests: real sockets, plain Noise instead of the sealed handshake, everybody a member unless told otherwise.
 */
import { EventEmitter, once } from 'node:events'
import { noise } from '@chainsafe/libp2p-noise'
import { generateIdentity } from '../../keys/identity.ts'
import { createOverlay } from '../../src/overlay/create.ts'
import type { Identity } from '../../keys/identity.ts'
import type { NetworkId, PeerIdStr } from '../../keys/ids.ts'
import type { LogEvent, Overlay, OverlayInit, PeerEvent } from '../../src/overlay/overlay.ts'

export const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
/** Longest wait for anything that should happen soon. */
export const SOON_MS = 8_000
export const soon = (): AbortSignal => AbortSignal.timeout(SOON_MS)

export interface TestOverlay extends Overlay {
  readonly identity: Identity
  /** @returns the first event of that name from now on that fits */
  logged: (event: string, fits?: (event: LogEvent) => boolean) => Promise<LogEvent>
  readonly log: readonly LogEvent[]
}

export class Mesh {
  readonly network = generateIdentity().peerId as string as NetworkId
  readonly #overlays: Overlay[] = []

  /** Made, not started. */
  make (options: Partial<OverlayInit> = {}): TestOverlay {
    const identity = options.identity ?? generateIdentity()
    const events = new EventEmitter()
    events.setMaxListeners(0)
    const log: LogEvent[] = []
    const overlay = createOverlay({
      identity, encrypter: noise(), listen: [LOOPBACK], networkId: this.network, isMember: () => true, can: () => true,
      ...options,
      log: event => { log.push(event); events.emit(event.event, event); options.log?.(event) }
    })
    this.#overlays.push(overlay)
    return Object.assign(overlay, {
      identity,
      log,
      logged: async (name: string, fits: (event: LogEvent) => boolean = () => true) => {
        const signal = soon()
        while (true) {
          const [event] = await once(events, name, { signal }) as [LogEvent]
          if (fits(event)) return event
        }
      }
    })
  }

  async start (options: Partial<OverlayInit> = {}): Promise<TestOverlay> {
    const overlay = this.make(options)
    await overlay.start()
    return overlay
  }

  /** Several, each connected to the first. */
  async star (count: number, options: Partial<OverlayInit> = {}): Promise<TestOverlay[]> {
    const overlays = await Promise.all(Array.from({ length: count }, async () => await this.start(options)))
    await Promise.all(overlays.slice(1).map(async overlay => { await join(overlay, overlays[0] as TestOverlay) }))
    return overlays
  }

  async pair (options: Partial<OverlayInit> = {}): Promise<[TestOverlay, TestOverlay]> {
    const [a, b] = await this.star(2, options)
    return [a as TestOverlay, b as TestOverlay]
  }

  async stop (): Promise<void> {
    await Promise.all(this.#overlays.splice(0).map(async overlay => { await overlay.stop() }))
  }
}

export const addrOf = (overlay: Overlay): string => overlay.addrs()[0] ?? ''

/** Resolves once both sides count as connected. */
export async function join (overlay: Overlay, to: Overlay): Promise<void> {
  await Promise.all([overlay.connect(addrOf(to), soon()), peerEvent(to, 'peer:connect', overlay.peerId)])
}

/** At once where the peer is in that state already. */
export async function peerEvent (overlay: Overlay, type: PeerEvent['type'], peer: PeerIdStr, withinMs = SOON_MS): Promise<void> {
  if (overlay.isConnected(peer) === (type === 'peer:connect')) return
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => { off(); reject(new Error(`no ${type} within ${withinMs} ms`)) }, withinMs)
    const off = overlay.onPeer(event => {
      if (event.type !== type || event.peerId !== peer) return
      clearTimeout(timer)
      off()
      resolve()
    })
  })
}

interface Heard {
  /** @param skip - a text that may have been published more than once, not to be told of */
  next: (skip?: string) => Promise<{ text: string, author: PeerIdStr, term: number }>
}

/** Gossip that an overlay takes, one message at a time, in the order in which it came. */
export async function listen (overlay: Overlay, topic: 'tasks' | 'results'): Promise<Heard> {
  const events = new EventEmitter()
  const queue: Array<{ text: string, author: PeerIdStr, term: number }> = []
  await overlay.subscribe(topic, (payload, { author, term }) => {
    queue.push({ text: Buffer.from(payload).toString(), author, term })
    events.emit('message')
  }, () => ({ verdict: 'accept', value: undefined }))
  return {
    async next (skip = '') {
      const signal = soon()
      while (true) {
        const message = queue.shift()
        if (message !== undefined && message.text !== skip) return message
        if (message === undefined) await once(events, 'message', { signal })
      }
    }
  }
}

/** Publish, perhaps several times, until so many neighbours were there to take it: right after a connect, subscriptions are still on their way. */
export async function publish (overlay: Overlay, topic: 'tasks' | 'results', text: string, recipients = 1): Promise<void> {
  const signal = soon()
  while ((await overlay.publish(topic, Buffer.from(text), 1)).recipients < recipients) {
    signal.throwIfAborted()
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
