/**
 * A process that stores blocks as fast as it can until it is killed: block i is the number i, repeated. Prints `+<i>` before it puts block
 * i and `=<i>` once it is durable.
 */
import { openBlockStore } from '../../src/blocks/store.ts'

const store = await openBlockStore(process.argv[2] ?? '', { maxBytes: 1e9 })
const put = async (i: number): Promise<void> => {
  process.stdout.write(`+${i}\n`)
  await store.put(Buffer.alloc(50_000, `${i},`), { durable: true })
  process.stdout.write(`=${i}\n`)
}
for (let i = 0; ; i += 4) await Promise.all([put(i), put(i + 1), put(i + 2), put(i + 3)])
