/**
 * W2: count the words of real mail in 64 splits on two participants; the data begins at the submitter, its result ends there. Against two
 * bare Node processes that get their splits over a libp2p stream and run the same functions.
 */
import fs from 'node:fs/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { lpStream } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { createMesh } from './mesh.ts'
import type { Mesh } from './mesh.ts'
import { Series, cpuSeconds, interleave } from './measure.ts'
import type { Table, Workload } from './measure.ts'
import { CODE, MAP, MAX_MESSAGE_BYTES, SPLITS, assertEqual, countPlainly, writeCorpus } from './words.ts'
import type { Counts } from './words.ts'
import type { Asked } from './processes.ts'

const PARTITIONS = 8

export const w2: Workload = {
  name: 'w2',
  title: 'W2: words of real mail',
  isDefault: true,
  async run ({ rounds, log }): Promise<Table> {
    const series = new Series()
    await using mesh = await createMesh()
    const { file, bytes } = await writeCorpus(mesh.room.dir)
    const splitBytes = Math.ceil(bytes / (SPLITS - 0.5))
    const code = await fs.readFile(CODE, 'utf8')
    const expected = await countPlainly(file)
    await using bare = await startBare(mesh)
    // warm: the isolates and the compiler of both
    assertEqual(await countOurs(mesh, code, file, splitBytes), expected)
    assertEqual(await bare.count(file, splitBytes), expected)
    await interleave(rounds, ['ours', 'peer'], async (side, round) => {
      const pids = side === 'ours' ? mesh.all().map(({ child }) => child.pid) : bare.pids
      const before = cpuSeconds(pids)
      const clientBefore = process.cpuUsage()
      const startMs = performance.now()
      const counts = side === 'ours' ? await countOurs(mesh, code, file, splitBytes) : await bare.count(file, splitBytes)
      const ms = performance.now() - startMs
      const client = process.cpuUsage(clientBefore)
      const own = side === 'ours' ? 0 : (client.user + client.system) / 1e6
      assertEqual(counts, expected)
      series.add(side, 'submit → all counts, s', ms / 1000)
      series.add(side, 'CPU of all processes, s', cpuSeconds(pids) - before + own)
      log(`w2 ${side} ${round + 1}: ${ms.toFixed(0)} ms`)
    })
    return {
      peer: 'bare Node and libp2p',
      rows: [
        series.row('submit → all counts, s', 2, { text: '≤ 1.3× bare', isMet: (ours, peer) => ours <= 1.3 * peer }),
        series.row('CPU of all processes, s', 2)
      ],
      notes: [
        `The corpus is the SpamAssassin mail of the development dependency, ${(bytes / 1e6).toFixed(1)} MB in one file, and not the 200 MB of the issue: everybody has it after \`npm ci\`. ${SPLITS} splits, ${PARTITIONS} partitions, engine \`v8\`.`,
        'Bare: two processes, plain Noise and yamux, two splits on their way to each, sums kept in memory and added up by the client. No sandbox, disk, ledger, signature or second copy: what ours adds is in the ratio.'
      ]
    }
  }
}

async function countOurs (mesh: Mesh, code: string, file: string, splitBytes: number): Promise<Counts> {
  const { records } = await mesh.submitter.run([{ code, name: 'words', inputs: [file], encoding: 'latin1', splitBytes, partitions: PARTITIONS }])
  return new Map((records as Array<{ word: string, count: number }>).map(({ word, count }) => [word, count]))
}

interface Bare extends AsyncDisposable { pids: number[], count (file: string, splitBytes: number): Promise<Counts> }

async function startBare ({ room }: Mesh): Promise<Bare> {
  const workers = await Promise.all([0, 1].map(async () => await room.fork('bare-child.ts', [])))
  const libp2p = await createLibp2p({ transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })
  const addrs = workers.map(({ ready }) => (ready.addrs as string[])[0] as string)

  return {
    pids: workers.map(({ child }: { child: Asked }) => child.pid),
    async count (file, splitBytes) {
      const splits = splitsOf(await fs.readFile(file), splitBytes)
      const counts: Counts = new Map()
      await Promise.all(addrs.map(async (addr) => {
        const stream = await libp2p.dialProtocol(multiaddr(addr), MAP)
        const frames = lpStream(stream, { maxDataLength: MAX_MESSAGE_BYTES })
        let sent = 0
        let answered = 0
        for (let split = splits.shift(); split !== undefined; split = splits.shift()) {
          await frames.write(split)
          if (++sent > answered + 1) {
            await frames.read()
            answered++
          }
        }
        for (; answered < sent; answered++) await frames.read()
        await frames.write(new Uint8Array(0))
        const sums = JSON.parse(Buffer.from((await frames.read()).subarray()).toString()) as Array<[string, number]>
        for (const [word, count] of sums) counts.set(word, (counts.get(word) ?? 0) + count)
        await stream.close()
      }))
      return counts
    },
    async [Symbol.asyncDispose] () { await libp2p.stop() }
  }
}

/** At line ends. */
function splitsOf (bytes: Buffer, splitBytes: number): Buffer[] {
  const splits: Buffer[] = []
  for (let from = 0; from < bytes.length;) {
    const end = from + splitBytes >= bytes.length ? bytes.length : bytes.lastIndexOf(10, from + splitBytes - 1) + 1
    splits.push(bytes.subarray(from, end))
    from = end
  }
  return splits
}
