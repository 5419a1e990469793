/**
 * W2 without Conclave: a Node process that maps what comes over a libp2p stream (Noise, yamux) with the same functions, and keeps its sums
 * until it is asked for them. No sandbox, no disk, no ledger, no signature, no second copy.
 *
 * usage: fork without arguments
 */
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { lpStream } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { answerQuestions } from './child.ts'
import { MAP, MAX_MESSAGE_BYTES } from './words.ts'

interface WordCount { map (line: string, emit: (key: string, value: number) => void): void, combine (key: string, values: number[]): number }

const { map, combine } = await import(new URL('../examples/word-count.mjs', import.meta.url).href) as WordCount

const libp2p = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()]
})
let sums = new Map<string, number>()

/** Splits, one a message; an empty one asks for the sums. */
await libp2p.handle(MAP, async (stream) => {
  const frames = lpStream(stream, { maxDataLength: MAX_MESSAGE_BYTES })
  for (;;) {
    const split = (await frames.read()).subarray()
    if (split.length === 0) break
    mapSplit(Buffer.from(split.buffer, split.byteOffset, split.length).toString('latin1'))
    await frames.write(Uint8Array.of(1))
  }
  await frames.write(Buffer.from(JSON.stringify([...sums])))
  sums = new Map()
  await stream.close()
})

function mapSplit (text: string): void {
  const pairs = new Map<string, number[]>()
  const emit = (key: string, value: number): void => {
    const values = pairs.get(key)
    if (values === undefined) pairs.set(key, [value])
    else values.push(value)
  }
  for (const line of text.split('\n')) map(line, emit)
  for (const [key, values] of pairs) sums.set(key, (sums.get(key) ?? 0) + combine(key, values))
}

const tell = answerQuestions(async () => undefined)
tell({ type: 'ready', addrs: libp2p.getMultiaddrs().map(String) })
