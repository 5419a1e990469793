/** Help texts, from the same tables that the arguments are read by. Pure. */
import type { OptionSpec } from './args.ts'
import { COMMON } from './command.ts'
import type { Command } from './command.ts'
import { EXIT } from '../errors.ts'

export function overview (commands: readonly Command[], version: string): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  return `conclave ${version}: a private, encrypted mesh of your machines that runs your jobs

usage: conclave COMMAND [OPTIONS]

${commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`).join('')}
conclave COMMAND --help says more. Every command takes --data-dir DIR and --json.

exit codes: ${Object.entries(EXIT).map(([name, code]) => `${code} ${name}`).join(', ')}
`
}

export function commandHelp (command: Command): string {
  const options: Array<[string, OptionSpec]> = [...Object.entries<OptionSpec>(command.options), ...Object.entries<OptionSpec>(COMMON)]
  const heads = options.map(([name, { short, value }]) => `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`)
  const width = Math.max(...heads.map((head) => head.length))
  return `conclave ${command.name}: ${command.summary}

usage: conclave ${[command.name, ...command.positionals].join(' ')} [OPTIONS]

${options.map(([, { help }], at) => `  ${(heads[at] ?? '').padEnd(width)}  ${help}\n`).join('')}
${command.details.trim()}
`
}
