/**
 * Refuses an old Node before anything else is evaluated: on Node 20 libp2p fails with a misleading ECONNRESET. Import it first.
 */
import { ConclaveError } from '../keys/conclave-error.ts'

const NEEDED = 24
const major = Number(process.versions.node.split('.')[0])
if (major < NEEDED) {
  throw new ConclaveError('NODE_TOO_OLD', `Node ${process.versions.node} is too old: Conclave needs Node ${NEEDED} or newer`, { next: `install Node ${NEEDED}` })
}
