/**
 * An overlay in a process of its own, to be stopped and killed. Prints its first address; ends itself when its stdin closes.
 *
 * usage: overlay-child.ts NETWORK SEED-BYTE [PORT]
 */
import { noise } from '@chainsafe/libp2p-noise'
import { identityFromSeed } from '../../keys/identity.ts'
import { createOverlay } from '../../src/overlay/create.ts'
import type { NetworkId } from '../../keys/ids.ts'

const [network, seed, port] = process.argv.slice(2)
const overlay = createOverlay({
  identity: identityFromSeed(new Uint8Array(32).fill(Number(seed))),
  encrypter: noise(), listen: [`/ip4/127.0.0.1/tcp/${port ?? 0}`], networkId: network as NetworkId, isMember: () => true, can: () => true, log: () => undefined
})
await overlay.handle('/conclave/test-echo/1', 'member', async request => request)
await overlay.start()
process.stdout.write(`${overlay.addrs()[0] ?? ''}\n`)
process.stdin.on('end', () => { void overlay.stop() }).resume()
