/**
 * The beginning of a network: its root key, its fence, and the chain of whoever founds it.
 */
import { CAPABILITIES, CERTIFICATE_LIFETIME_MS, issueCertificate } from './certificate.ts'
import { randomBytes } from './ed25519.ts'
import { generateIdentity } from './identity.ts'
import type { Capability } from './certificate.ts'
import type { Identity } from './identity.ts'
import type { NetworkId, PeerIdStr } from './ids.ts'

/** Bytes of a fence. */
export const FENCE_BYTES = 16

/**
 * @returns `root`: the key that everything rests upon, to be kept in a file of its own and taken offline at will; `network`: its peer id
 * text; `fence`: 16 random bytes that members share and that the sealed handshake mixes in, so that others cannot even begin one
 */
export function createNetwork (): { network: NetworkId, fence: Uint8Array, root: Identity } {
  const root = generateIdentity()

  return { network: networkIdOf(root), fence: randomBytes(FENCE_BYTES), root }
}

/** @returns the name of the network whose root this is */
export function networkIdOf (root: Identity): NetworkId {
  return root.peerId as string as NetworkId
}

/**
 * @param root - the network's root key
 * @param options - `subject`: who becomes a member by the root's own word; `nowMs`: wall clock; `capabilities`: all where absent, `invite`
 * makes it an issuer
 * @returns a chain of one certificate, valid for 7 days from `nowMs`
 */
export function rootChain (root: Identity, options: { subject: PeerIdStr, nowMs: number, capabilities?: readonly Capability[] }): Uint8Array[] {
  return [issueCertificate(root, {
    kind: 'member',
    network: networkIdOf(root),
    subject: options.subject,
    capabilities: options.capabilities ?? CAPABILITIES,
    notBeforeMs: options.nowMs,
    notAfterMs: options.nowMs + CERTIFICATE_LIFETIME_MS,
    uses: 0
  })]
}
