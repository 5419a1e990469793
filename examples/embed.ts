/**
 * Conclave inside a program: two nodes in one process, a job over both, its records as they come, and what an observer saw.
 * It ends by itself, and leaves nothing behind.
 *
 *   npm run example
 *
 * In a program of your own `import { join } from 'conclave'` is all that it takes. In this repository the script above adds
 * `--conditions=conclave-source`, so that the name means the source and not the last build.
 */
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { join } from 'conclave'

/** One deadline for all of it: joining, submitting, waiting. */
const signal = AbortSignal.timeout(60_000)

// What is declared with `await using` is put away in reverse order, also when something below throws: worker, founder, directory.
await using cleanup = new AsyncDisposableStack()
const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-embed-'))
cleanup.defer(async () => { await fs.rm(dir, { recursive: true, force: true }) })

// The first node founds a network of its own; the other one joins it by ticket. Elsewhere leave `listen` out: the default is any interface.
const listen = ['/ip4/127.0.0.1/tcp/0']
await using founder = await join({ dataDir: path.join(dir, 'founder'), listen, signal })
const ticket = await founder.invite({ capabilities: ['work', 'observe'], ttlMs: 60_000 })
await using worker = await join({ dataDir: path.join(dir, 'worker'), listen, ticket, signal })

// Any member that may submit can do so. `submit` returns once the job is committed: from here on it does not depend on this program.
const job = await founder.submit({
  code: new URL('./word-count.mjs', import.meta.url),
  inputs: [fileURLToPath(new URL('../ARCHITECTURE.md', import.meta.url))],
  splitBytes: 4096
}, { signal })

// Records come as their tasks are committed. A job that failed throws here, with its code.
const counts: { word: string, count: number }[] = []
for await (const record of job.results({ signal })) counts.push(record as { word: string, count: number })
counts.sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1))
for (const { word, count } of counts.slice(0, 5)) console.log(`${word} ${count}`)

// The other node observes: every result of a job's last stage once, in ledger order, from the beginning, each signature checked here.
const { stages } = await job.done({ signal })
let expected = stages.at(-1)?.total ?? 0
const byParticipant = new Map<string, number>()
for await (const result of worker.observe({ signal })) {
  if (!result.verified) throw new Error(`a signature of ${result.participant} does not hold`)
  byParticipant.set(result.participant, (byParticipant.get(result.participant) ?? 0) + 1)
  if (--expected === 0) break
}
for (const [participant, done] of byParticipant) console.log(`${participant === founder.peerId ? 'founder' : 'worker'}: ${done} results`)
