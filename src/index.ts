/**
 * Conclave as a library. Nothing else of this package may be imported, except `conclave/consensus`.
 *
 * ```ts
 * import { join } from 'conclave'
 * await using node = await join({ dataDir: './node', ticket })
 * const job = await node.submit({ code: new URL('./word-count.mjs', import.meta.url), inputs: ['book.txt'] })
 * for await (const record of job.results()) console.log(record)
 * ```
 */
import './node-version.ts'
import type { ConclaveNode, JoinOptions } from './api.ts'
import { createNode } from './node.ts'

export { ConclaveError } from './errors.ts'
export type * from './api.ts'

/**
 * Join the network of a ticket, go on as a member of the one that `dataDir` belongs to, or found a new one.
 *
 * @returns a running node; `await using` stops it
 * @throws ConclaveError with a code of the README's table; the signal's reason
 */
export async function join (options: JoinOptions): Promise<ConclaveNode> {
  return await createNode(options)
}
