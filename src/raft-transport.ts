/**
 * Consensus over the overlay: small frames on one ordered stream per peer, snapshots on a bulk stream of their own, answered with one byte.
 */
import { PROTOCOL } from './config.ts'
import type { RaftTransport } from './consensus/consensus.ts'
import { ConclaveError } from './errors.ts'
import type { BoundedStream, Overlay } from './overlay/overlay.ts'
import type { PeerIdStr } from '../keys/ids.ts'

const TAKEN = 1

/** @param maxSnapshotBytes - a larger snapshot is refused while it arrives */
export async function createRaftTransport (overlay: Overlay, maxSnapshotBytes: number): Promise<RaftTransport> {
  let onFrame: (from: string, frame: Uint8Array) => void = () => {}
  let onSnapshot: (from: string, payload: Uint8Array) => Promise<void> = async () => { throw new Error('not started') }

  await overlay.handleFrames(PROTOCOL.raft, 'raft', (from, frame) => { onFrame(from, frame) })
  await overlay.handleStream(PROTOCOL.snapshot, 'snapshot', async (stream, { from, signal }) => {
    const payload = await readAll(stream, maxSnapshotBytes)
    signal.throwIfAborted()
    await onSnapshot(from, payload)
    await stream.write(Uint8Array.of(TAKEN), signal)
  })

  return {
    send: (to, frame) => overlay.sendFrame(to as PeerIdStr, PROTOCOL.raft, frame),
    onFrame: (listener) => { onFrame = listener },
    async sendSnapshot (to, payload, signal) {
      const stream = await overlay.openStream(to as PeerIdStr, PROTOCOL.snapshot, signal)
      const abort = (): void => { stream.abort(new Error('the snapshot was given up')) }
      signal.addEventListener('abort', abort, { once: true })
      try {
        await stream.write(payload, signal)
        await stream.close()
        const answer = await readAll(stream, 1)
        if (answer[0] !== TAKEN) throw new ConclaveError('SNAPSHOT_REFUSED', `${to} did not take the snapshot`)
      } catch (error) {
        stream.abort(error as Error)
        throw error
      } finally {
        signal.removeEventListener('abort', abort)
      }
    },
    onSnapshot: (listener) => { onSnapshot = listener }
  }
}

async function readAll (stream: BoundedStream, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stream.source) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new ConclaveError('SNAPSHOT_TOO_LARGE', `more than ${maxBytes} bytes arrived`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
