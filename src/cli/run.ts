/** `conclave run`: submit a job and watch it to its end. */
import fs from 'node:fs/promises'
import path from 'node:path'
import { ConclaveError, EXIT } from '../errors.ts'
import type { JobLimits } from '../api.ts'
import type { SubmitBody } from '../daemon/routes.ts'
import { toBytes, toChoice, toCount, toMs } from './args.ts'
import type { Args } from './args.ts'
import type { ControlClient } from '../daemon/client.ts'
import { control } from './command.ts'
import type { Command, Context } from './command.ts'
import { FOLLOW_OPTIONS, followJob } from './follow-job.ts'
import { expandInputs } from './inputs.ts'

/** A submission that takes longer says why, and looks again this often. */
const SAY_AFTER_MS = 1500

export const run: Command = {
  name: 'run',
  summary: 'run a job over files, and print its records',
  positionals: ['JOB', '[INPUT...]'],
  options: {
    input: { type: 'string', short: 'i', multiple: true, value: 'GLOB', help: 'a file, a directory, a pattern in quotes, or - for stdin; repeatable' },
    ...FOLLOW_OPTIONS,
    encoding: { type: 'string', value: 'ENC', help: 'how input bytes become text: utf8 (default) or latin1' },
    name: { type: 'string', value: 'NAME', help: 'what conclave jobs calls it (default: the name of the module)' },
    split: { type: 'string', value: 'SIZE', help: 'aim at this much input for a map task, such as 4MiB' },
    partitions: { type: 'string', value: 'N', help: 'number of reduce tasks' },
    timeout: { type: 'string', value: 'TIME', help: 'longest run of one task (default: 30s)' },
    memory: { type: 'string', value: 'SIZE', help: 'memory of one task (default: 128MiB)' },
    attempts: { type: 'string', value: 'N', help: 'a task that failed this often fails the job' },
    deadline: { type: 'string', value: 'TIME', help: 'the job fails unless it ends within this time' },
    detach: { type: 'boolean', short: 'd', help: 'print the job\'s id once it is accepted, and return' }
  },
  details: `
JOB is an ES module that exports \`map (record, emit)\`, and if it likes \`reduce (key, values)\`, \`clean (record)\`, \`combine (key, values)\`.
It runs without imports, files and network. Each line of the inputs is a record. Records come out as NDJSON.

The job belongs to the network: Ctrl+C leaves it running, and conclave watch shows it again.

  conclave run word-count.mjs --input 'books/*.txt' --output counts.ndjson
  journalctl | conclave run errors.mjs --input -
`,
  async run (context) {
    const { args, out, signal } = context
    const client = await control(context)
    const info = await submit(context, async (body) => await sayingWhy(context, client, client.submit(body, signal)))
    if (args.flag('detach')) {
      await (context.isJson ? out.json({ event: 'submitted', job: info.id, name: info.name }) : out.data(`${info.id}\n`))
      return EXIT.ok
    }
    if (context.isJson) await out.json({ event: 'submitted', job: info.id, name: info.name })
    else out.note(`job ${info.id}`)
    return await followJob(context, client, info.id)
  }
}

/** Never a silent wait: while the job is not accepted, what the node waits for, each reason once. */
async function sayingWhy<T> ({ out, signal }: Context, client: ControlClient, work: Promise<T>): Promise<T> {
  const said = new Set<string>()
  const timer = setInterval(() => {
    client.status(signal).then(({ waiting }) => {
      for (const { what, why, next } of waiting) {
        if (said.has(why)) continue
        said.add(why)
        out.note(`waiting for the job to be accepted: ${what}: ${why}\n  next: ${next}`)
      }
    }).catch(() => { clearInterval(timer) }) // the submission itself will say that the daemon is gone
  }, SAY_AFTER_MS)
  try {
    return await work
  } finally {
    clearInterval(timer)
  }
}

async function submit<T> (context: Context, send: (body: SubmitBody) => Promise<T>): Promise<T> {
  const { args, cwd, stdin, signal } = context
  const [job = '', ...more] = args.positionals
  const patterns = [...args.texts('input'), ...more]
  if (patterns.length === 0) throw new ConclaveError('USAGE', 'no input is named', { next: `conclave run ${job} --input 'PATTERN'` })
  const options = optionsOf(args)
  const file = path.resolve(cwd, job)
  const code = await readCode(file)
  await using inputs = await expandInputs(patterns, cwd, stdin, signal)
  return await send({ code, inputs: inputs.paths, name: args.text('name') ?? path.basename(file), ...options })
}

/** @throws JOB_NOT_FOUND, JOB_UNREADABLE */
async function readCode (file: string): Promise<string> {
  try {
    return await fs.readFile(file, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const isAbsent = code === 'ENOENT' || code === 'ENOTDIR'
    throw new ConclaveError(isAbsent ? 'JOB_NOT_FOUND' : 'JOB_UNREADABLE', isAbsent ? `there is no job module ${file}` : `the job module cannot be read: ${message}`,
      { cause: error, next: isAbsent ? 'check the path: conclave run JOB --input FILE' : `ls -l ${file}`, details: { file } })
  }
}

/** Only what was given: the defaults are the node's. */
function optionsOf (args: Args): Omit<SubmitBody, 'code' | 'inputs'> {
  const options: Omit<SubmitBody, 'code' | 'inputs'> = {}
  const limits: Partial<JobLimits> = {}
  const given = <T>(name: string, convert: (option: string, text: string) => T, take: (value: T) => void): void => {
    const text = args.text(name)
    if (text !== undefined) take(convert(name, text))
  }
  given('encoding', (option, text) => toChoice<'utf8' | 'latin1'>(option, text, ['utf8', 'latin1']), (value) => { options.encoding = value })
  given('split', toBytes, (value) => { options.splitBytes = value })
  given('partitions', toCount, (value) => { options.partitions = value })
  given('attempts', toCount, (value) => { options.maxAttempts = value })
  given('deadline', toMs, (value) => { options.deadlineMs = value })
  given('timeout', toMs, (value) => { limits.timeoutMs = value })
  given('memory', toBytes, (value) => { limits.memoryBytes = value })
  return Object.keys(limits).length === 0 ? options : { ...options, limits }
}
