/**
 * From `process.argv` to a command and back to an exit code. The one place that knows about the process: its streams, signals and exit.
 */
import fs from 'node:fs'
import { EXIT, ConclaveError } from '../errors.ts'
import { nearest, parse } from './args.ts'
import type { Args } from './args.ts'
import { cancel } from './cancel.ts'
import { revoke } from './revoke.ts'
import { COMMON } from './command.ts'
import type { Command, Context } from './command.ts'
import { dev } from './dev.ts'
import { down } from './down.ts'
import { commandHelp, overview } from './help.ts'
import { invite } from './invite.ts'
import { jobs } from './jobs.ts'
import { createOutput, OutputClosed } from './output.ts'
import type { Output } from './output.ts'
import { peers } from './peers.ts'
import { reportError } from './report.ts'
import { run } from './run.ts'
import { status } from './status.ts'
import { up } from './up.ts'
import { watch } from './watch.ts'

/** In the order of the overview. */
const COMMANDS: readonly Command[] = [up, invite, run, watch, status, peers, jobs, cancel, revoke, down, dev]

export async function main (): Promise<void> {
  const out = createOutput(process.stdout, process.stderr)
  const interrupted = new AbortController()
  const onSignal = (name: NodeJS.Signals): void => {
    // The second signal ends the process at once.
    if (interrupted.signal.aborted) process.exit(EXIT.interrupted)
    interrupted.abort(new ConclaveError('ABORTED', `${name} was received`))
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
  const code = await dispatch(process.argv.slice(2), out, interrupted.signal)
  out.clear()
  await new Promise<void>((resolve) => { process.stdout.write('', () => resolve()) })
  process.exit(code)
}

/** @returns the exit code; every failure is told */
export async function dispatch (argv: readonly string[], out: Output, signal: AbortSignal): Promise<number> {
  const isJson = argv.includes('--json')
  try {
    const version = readVersion()
    const [first, ...rest] = argv
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
      const about = first === 'help' && rest[0] !== undefined ? commandHelp(find(rest[0])) : overview(COMMANDS, version)
      await out.data(about)
      return first === undefined ? EXIT.usage : EXIT.ok
    }
    if (first === '--version' || first === '-v') {
      await out.data(`${version}\n`)
      return EXIT.ok
    }
    const command = find(first)
    if (rest.includes('--help') || rest.includes('-h')) {
      await out.data(commandHelp(command))
      return EXIT.ok
    }
    const args: Args = parse(command.name, { ...command, options: { ...command.options, ...COMMON } }, rest)
    const context: Context = { args, out, stdin: process.stdin, env: process.env, cwd: process.cwd(), version, signal, isJson: args.flag('json') }
    return await command.run(context)
  } catch (error) {
    if (error instanceof OutputClosed) return EXIT.ok
    return await reportError(error, out, isJson, signal)
  }
}

function find (name: string): Command {
  const command = COMMANDS.find((each) => each.name === name)
  if (command !== undefined) return command
  const near = nearest(name, COMMANDS.map((each) => each.name))
  throw new ConclaveError('USAGE', `${name} is no command of conclave${near === undefined ? '' : `; did you mean ${near}?`}`, { next: near === undefined ? 'conclave --help' : `conclave ${near} --help` })
}

/** Of the nearest package.json above: two levels above the source, three above the compiled file. */
function readVersion (): string {
  for (const above of ['../../package.json', '../../../package.json']) {
    const url = new URL(above, import.meta.url)
    if (!fs.existsSync(url)) continue
    const { name, version } = JSON.parse(fs.readFileSync(url, 'utf8')) as { name?: string, version?: string }
    if (name === 'conclave' && version !== undefined) return version
  }
  return 'unknown'
}
