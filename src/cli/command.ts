/** What a command is, and what it is given. */
import os from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { connectControl } from '../daemon/client.ts'
import type { ControlClient } from '../daemon/client.ts'
import type { Args, ArgsSpec, OptionSpec } from './args.ts'
import type { Output } from './output.ts'

export interface Context {
  args: Args
  out: Output
  stdin: Readable & { isTTY?: boolean }
  env: Readonly<Record<string, string | undefined>>
  cwd: string
  version: string
  /** aborted by the first Ctrl+C, SIGTERM or SIGHUP */
  signal: AbortSignal
  isJson: boolean
}

export interface Command extends ArgsSpec {
  name: string
  /** one line */
  summary: string
  /** what help says below the options; examples last */
  details: string
  /** @returns the exit code */
  run (context: Context): Promise<number>
}

export const COMMON = {
  'data-dir': { type: 'string', value: 'DIR', help: 'data directory of the node (default: $CONCLAVE_DATA_DIR, else ~/.conclave)' },
  json: { type: 'boolean', help: 'print JSON for programs, with a schemaVersion' },
  help: { type: 'boolean', short: 'h', help: 'print this' }
} as const satisfies Record<string, OptionSpec>

/** Absolute. */
export function dataDirOf ({ args, env, cwd }: Context): string {
  return path.resolve(cwd, args.text('data-dir') ?? env['CONCLAVE_DATA_DIR'] ?? path.join(os.homedir(), '.conclave'))
}

/** @throws NOT_RUNNING */
export const control = async (context: Context): Promise<ControlClient> => await connectControl(dataDirOf(context))
