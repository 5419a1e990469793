/**
 * W1: no-op tasks. One task is one number, its square the result; nothing is batched in user code. First submit → last of N committed
 * results at the submitter; then one task at a time.
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import type { JobRequest } from '../src/api.ts'
import { measureDask } from './dask.ts'
import { createMesh } from './mesh.ts'
import type { Mesh } from './mesh.ts'
import { Series, cpuSeconds, interleave, median, peakMegabytes, percentile } from './measure.ts'
import type { Context, Side, Table, Workload } from './measure.ts'
import { createRoom, hasPeer } from './processes.ts'

const SQUARE = 'export function map (line, emit) { const n = Number(line); emit(n, n * n) }'
/** Inputs of one job; more numbers are several jobs, submitted together. A signed spec of more inputs does not fit into an entry of the log. */
const MAX_INPUTS = 2000
/** Every line is as long, so that each is a split of its own whatever size the splits are raised to. */
const DIGITS = 8
const WARM_UP = 200
const LONE = 100
/** N, and how many of the rounds are run with it. */
const SIZES: ReadonlyArray<{ n: number, share: number }> = [{ n: 200, share: 1 }, { n: 1000, share: 0.4 }, { n: 10_000, share: 0.6 }]
/** A size that would take longer than this, by the speed of the one before, is left out. */
const MAX_ROUND_MS = 120_000

export const w1: Workload = {
  name: 'w1',
  title: 'W1: no-op tasks through the whole mesh',
  isDefault: true,
  async run (context): Promise<Table> {
    const hasDask = context.withPeers && await hasPeer(['/usr/bin/python3', '-c', 'import distributed'], 'python3-distributed', context.log)
    const series = new Series()
    await using mesh = await createMesh()
    await squares(mesh, WARM_UP)
    const skipped: number[] = []
    for (const [i, { n, share }] of SIZES.entries()) {
      const speed = i === 0 ? Infinity : median(series.of('ours', `tasks/s, N = ${SIZES[i - 1]?.n}`))
      if (n / speed * 1000 > MAX_ROUND_MS) {
        context.log(`w1 ${n}: left out, it would take ${(n / speed).toFixed(0)} s a round`)
        skipped.push(n)
        if (hasDask) await measure(context, mesh, 'peer', n, series)
        continue
      }
      await interleave(Math.max(1, Math.round(context.rounds * share)), hasDask ? ['ours', 'peer'] : ['ours'], async (side) => { await measure(context, mesh, side, n, series) })
    }
    for (let round = 0; round < context.rounds; round++) {
      const { times } = await mesh.submitter.child.ask<{ times: number[] }>({ type: 'lone', code: SQUARE, count: LONE })
      series.add('ours', 'one task at a time, p50, ms', percentile(times, 0.5))
      series.add('ours', 'one task at a time, p99, ms', percentile(times, 0.99))
    }
    for (const node of mesh.all()) series.add('ours', 'memory of a node at its most, MB (each of six)', peakMegabytes(node.child.pid))
    return { ...(hasDask ? { peer: 'Dask 2022.12' } : {}), rows: rowsOf(series), notes: notesOf(context, hasDask, skipped) }
  }
}

function rowsOf (series: Series): Table['rows'] {
  return [
    ...SIZES.flatMap(({ n }) => [
      series.row(`tasks/s, N = ${n}`, 0, n >= 10_000 ? { text: '≥ 15,000', isMet: (ours) => ours >= 15_000 } : undefined),
      series.row(`of it until acknowledged, s, N = ${n}`, 2),
      series.row(`CPU of all processes, ms a task, N = ${n}`, 2)
    ]),
    series.row('one task at a time, p50, ms', 1, { text: '≤ 8 ms', isMet: (ours) => ours <= 8 }),
    series.row('one task at a time, p99, ms', 1),
    series.row('memory of a node at its most, MB (each of six)', 0)
  ]
}

const notesOf = ({ withPeers }: Context, hasDask: boolean, skipped: readonly number[]): string[] => [
  ...skipped.map((n) => `N = ${n.toLocaleString('en')} was left out for ours: at the speed of the size before it, one round would take more than ${MAX_ROUND_MS / 1000} s. The goal is missed.`),
  `Six processes: three voters without slots, two participants with one slot each, one submitter. An input is a task today, and a job takes fewer of them than 4,096, since its signed spec must fit into one entry of the log: more than ${MAX_INPUTS.toLocaleString('en')} numbers are several jobs submitted together. N = 100,000 of the issue is left out until a task need not be an input.`,
  'Every number arrives as an input block that is written, synced and copied to a second member before the job is acknowledged; every result leaves as one that is copied as well.',
  'One task at a time is a job of its own here, so its code and its input are stored and copied too.',
  ...(hasDask ? ['Dask: scheduler and two workers with one thread each, `client.map` and `gather`; plain text, nothing on disk, nothing replicated or signed.'] : [withPeers ? 'Dask could not be run here.' : 'Dask was not run: `--peers` runs it.'])
]

async function measure (context: Context, mesh: Mesh, side: Side, n: number, series: Series): Promise<void> {
  if (side === 'peer') {
    await using room = await createRoom()
    const { ms, cpuSeconds: cpu, loneMs } = await measureDask(room, n, LONE)
    series.add(side, `tasks/s, N = ${n}`, n / ms * 1000)
    series.add(side, `CPU of all processes, ms a task, N = ${n}`, cpu * 1000 / n)
    series.add(side, 'one task at a time, p50, ms', percentile(loneMs, 0.5))
    series.add(side, 'one task at a time, p99, ms', percentile(loneMs, 0.99))
    context.log(`w1 dask ${n}: ${(n / ms * 1000).toFixed(0)} tasks/s`)
    return
  }
  const pids = mesh.all().map(({ child }) => child.pid)
  const before = cpuSeconds(pids)
  const { ms, submitMs } = await squares(mesh, n)
  series.add(side, `tasks/s, N = ${n}`, n / ms * 1000)
  series.add(side, `of it until acknowledged, s, N = ${n}`, submitMs / 1000)
  series.add(side, `CPU of all processes, ms a task, N = ${n}`, (cpuSeconds(pids) - before) * 1000 / n)
  context.log(`w1 ours ${n}: ${(n / ms * 1000).toFixed(0)} tasks/s, acknowledged after ${submitMs.toFixed(0)} ms of ${ms.toFixed(0)}`)
}

/** @throws unless every number came back once, squared */
async function squares (mesh: Mesh, n: number): Promise<{ ms: number, submitMs: number }> {
  const jobs: JobRequest[] = []
  const perJob = Math.ceil(n / Math.ceil(n / MAX_INPUTS))
  for (let from = 0; from < n; from += perJob) {
    const file = path.join(mesh.room.dir, `numbers-${from}.txt`)
    const numbers = Array.from({ length: Math.min(perJob, n - from) }, (_, i) => `${String(from + i).padStart(DIGITS, '0')}\n`)
    await fs.writeFile(file, numbers.join(''))
    jobs.push({ code: SQUARE, name: 'square', inputs: [file], splitBytes: 1 })
  }
  const { ms, submitMs, records } = await mesh.submitter.run(jobs)
  const sum = (records as Array<[number, number] | { value: number }>).reduce((total, record) => total + (Array.isArray(record) ? record[1] : record.value), 0)
  const expected = (n - 1) * n * (2 * n - 1) / 6
  if (records.length !== n || sum !== expected) throw new Error(`${records.length} records with the sum ${sum} instead of ${n} with ${expected}; the first is ${JSON.stringify(records[0])}`)
  return { ms, submitMs }
}
