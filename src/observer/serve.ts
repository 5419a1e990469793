/**
 * The catch-up side of `/conclave/ledger/1`: committed entries from an index on, or the snapshot that replaced them.
 * Spec: protocols/sync/README.md.
 */
import { SyncReply, SyncRequest } from '../../protocols/sync/messages.js'
import type { Head } from '../../protocols/sync/messages.js'
import { PROTOCOL } from '../config.ts'
import type { Consensus, SnapshotWithData } from '../consensus/consensus.ts'
import { ConclaveError } from '../errors.ts'
import type { Overlay } from '../overlay/overlay.ts'

/** Bytes of entries, or of a snapshot, in one reply. */
export const MAX_REPLY_BYTES = 1 << 20

/**
 * Serve this node's part of the ledger to other members.
 *
 * Replies to a request: NOT_A_VOTER where this node keeps no log, SNAPSHOT_GONE where the named snapshot was replaced meanwhile,
 * BAD_REQUEST on bytes that do not decode.
 */
export async function serveLedger (init: { overlay: Overlay, consensus: Consensus, head: () => Head }): Promise<void> {
  const { overlay, consensus, head } = init
  // a snapshot being read in parts stays the same one until the next request for a range finds a newer one
  let serving: SnapshotWithData | undefined

  await overlay.handle(PROTOCOL.sync, 'ledger', async (bytes) => {
    const request = decode(bytes)
    const { conf } = consensus.status()
    if (![...conf.voters, ...conf.learners].includes(overlay.peerId)) throw new ConclaveError('NOT_A_VOTER', 'this member keeps no log')
    if (request.range !== undefined) {
      const entries = consensus.entries(Math.max(1, request.range.from), Math.min(request.range.maxBytes, MAX_REPLY_BYTES))
      if (entries !== undefined) return SyncReply.encode({ head: head(), entries: entries.map(({ index, term, data }) => ({ index, term, data: new Uint8Array(data) })) })
      serving = consensus.latestSnapshot()
      if (serving === undefined) throw new ConclaveError('SNAPSHOT_GONE', 'the log was compacted just now')
      return SyncReply.encode({ head: head(), snapshot: { index: serving.index, term: serving.term, bytes: serving.data.length } })
    }
    if (request.snapshot !== undefined) {
      if (serving?.index !== request.snapshot.index) throw new ConclaveError('SNAPSHOT_GONE', 'that snapshot was replaced by a newer one')
      const { offset } = request.snapshot
      return SyncReply.encode({ head: head(), part: serving.data.slice(offset, offset + MAX_REPLY_BYTES) })
    }
    return SyncReply.encode({ head: head() })
  })
}

function decode (bytes: Uint8Array): SyncRequest {
  try {
    return SyncRequest.decode(bytes)
  } catch (cause) {
    throw new ConclaveError('BAD_REQUEST', 'the request does not decode', { cause })
  }
}
