/**
 * Watch a job to its end: progress and facts to the terminal, records to stdout or a file. Leaving it does not end the job.
 */
import { createWriteStream } from 'node:fs'
import fs from 'node:fs/promises'
import { once } from 'node:events'
import path from 'node:path'
import type { JobEvent, JobInfo } from '../api.ts'
import { ConclaveError, EXIT, exitOf, explain } from '../errors.ts'
import type { ControlClient } from '../daemon/client.ts'
import type { Context } from './command.ts'
import { toChoice } from './args.ts'
import type { OptionSpec } from './args.ts'
import { duration, plain, progressLine, shortPeer, totals } from './format.ts'
import { errorText } from './report.ts'

export const FOLLOW_OPTIONS = {
  output: { type: 'string', short: 'o', value: 'FILE', help: 'write the records there, whole or not at all (default: stdout)' },
  order: { type: 'string', value: 'ORDER', help: 'ledger: as they are committed (default); key: sorted, once the job is done' }
} as const satisfies Record<string, OptionSpec>

/** Where records go. `close` is called once, after success only. */
interface Sink extends AsyncDisposable {
  write (record: unknown): Promise<void>
  close (): Promise<void>
}

/** @returns the exit code: that of the job's failure, or 130 after Ctrl+C, with a word on how to look again */
export async function followJob (context: Context, client: ControlClient, id: string): Promise<number> {
  const { args, out, signal, isJson } = context
  const order = toChoice('order', args.text('order') ?? 'ledger', ['ledger', 'key'])
  const file = args.text('output')
  const startedMs = performance.now()
  const ended = new AbortController()
  const both = AbortSignal.any([signal, ended.signal])
  await using sink = file === undefined || file === '-' ? stdoutSink(context) : await fileSink(path.resolve(context.cwd, file))
  let records = 0

  async function takeRecords (): Promise<void> {
    for await (const record of client.results(id, order, both)) {
      await sink.write(record)
      records++
    }
  }
  async function takeFacts (): Promise<JobInfo> {
    for await (const line of client.follow(id, both)) {
      if (line.event === 'end') return line.info
      if (line.event === 'progress') {
        out.progress(progressLine(line.info, performance.now() - startedMs, out.columns))
        if (isJson) await out.json({ event: 'progress', job: id, ...totals(line.info), stages: line.info.stages, waiting: line.info.waiting ?? null })
      } else if (isJson) {
        await out.json({ ...line.fact, event: line.fact.type })
      } else {
        tell(context, line.fact)
      }
    }
    throw new ConclaveError('DAEMON_LOST', 'the daemon went away before the job had ended', { next: `conclave watch ${id}` })
  }

  const facts = takeFacts()
  const results = takeRecords()
  // A job that fails fails its results too: the facts say it better. Anything else that fails ends the other half.
  facts.catch((error: unknown) => ended.abort(error))
  results.catch((error: unknown) => { if (!(error instanceof ConclaveError) || isOfClient(error)) ended.abort(error) })
  try {
    const info = await facts
    if (info.status === 'succeeded') {
      await results
      await sink.close()
    } else {
      await results.catch(() => undefined)
    }
    return await tellEnd(context, info, records, performance.now() - startedMs)
  } catch (error) {
    await Promise.allSettled([facts, results])
    if (!signal.aborted) throw ended.signal.aborted ? ended.signal.reason : error
    if (isJson) await out.json({ event: 'detached', job: id })
    out.note(`detached: the job goes on without this terminal\n  next: conclave watch ${id}, or conclave cancel ${id}`)
    return EXIT.interrupted
  }
}

const isOfClient = (error: ConclaveError): boolean => ['DAEMON_LOST', 'DAEMON_UNREADABLE', 'DAEMON_STOPPING', 'NOT_RUNNING', 'OUTPUT_FAILED', 'BLOCK_MISSING'].includes(error.code)

function tell ({ out }: Context, fact: JobEvent): void {
  if (fact.type === 'task:fault') out.note(`task ${fact.stage}/${fact.task} failed on ${shortPeer(fact.participant)} (attempt ${fact.attempt}): ${plain(fact.code)}: ${plain(fact.message)}`)
  if (fact.type === 'task:release') out.note(`task ${fact.stage}/${fact.task} was taken back from ${shortPeer(fact.participant)}: ${plain(fact.reason)}`)
}

/** The last line of `--json`, and of a person's view. @returns the exit code */
async function tellEnd ({ out, isJson }: Context, info: JobInfo, records: number, elapsedMs: number): Promise<number> {
  const code = info.code ?? (info.status === 'cancelled' ? 'JOB_CANCELLED' : 'JOB_FAILED')
  const exit = info.status === 'succeeded' ? EXIT.ok : exitOf(code) === EXIT.ok ? EXIT.failed : exitOf(code)
  out.clear()
  if (isJson) {
    await out.json({
      event: 'done', job: info.id, status: info.status, records, elapsedMs: Math.round(elapsedMs), participants: info.participants,
      ...(info.status === 'succeeded' ? {} : { code, reason: info.reason ?? '', next: explain(code).next })
    })
  }
  if (info.status !== 'succeeded') {
    out.note(errorText(code, info.reason ?? `job ${info.id} ${info.status}`, explain(code).next))
  } else if (!isJson) {
    out.note(`job ${info.id} done: ${totals(info).done} tasks on ${info.participants.length} participants in ${duration(elapsedMs)}, ${records} records`)
  }
  return exit
}

function stdoutSink ({ out, isJson, args }: Context): Sink {
  const isBare = args.text('output') === '-'
  return {
    write: async (record) => {
      out.clear()
      await (isJson && !isBare ? out.json({ event: 'result', record }) : out.data(`${JSON.stringify(record)}\n`))
    },
    close: async () => {},
    [Symbol.asyncDispose]: async () => {}
  }
}

/** NDJSON into a file beside `file`, which takes its place only when all is written. @throws OUTPUT_FAILED */
async function fileSink (file: string): Promise<Sink> {
  const failed = (cause: unknown): ConclaveError => new ConclaveError('OUTPUT_FAILED', `${file} cannot be written: ${(cause as Error).message}`, { cause, next: 'check the path and the free space' })
  const partial = `${file}.partial-${process.pid}`
  const stream = createWriteStream(partial, { flags: 'wx' })
  let broken: unknown
  stream.on('error', (error) => { broken = error })
  await once(stream, 'open').catch((error: unknown) => { throw failed(error) })
  return {
    async write (record) {
      if (broken !== undefined) throw failed(broken)
      if (!stream.write(`${JSON.stringify(record)}\n`)) await once(stream, 'drain').catch((error: unknown) => { throw failed(error) })
    },
    async close () {
      try {
        stream.end()
        await once(stream, 'close')
        if (broken !== undefined) throw broken
        await fs.rename(partial, file)
      } catch (error) {
        throw failed(error)
      }
    },
    async [Symbol.asyncDispose] () {
      stream.destroy()
      await fs.rm(partial, { force: true })
    }
  }
}
