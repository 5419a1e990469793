/** `conclave cancel`: stop a job, its running code too. */
import { EXIT } from '../errors.ts'
import { control } from './command.ts'
import type { Command } from './command.ts'

export const cancel: Command = {
  name: 'cancel',
  summary: 'stop a job on all members',
  positionals: ['JOB'],
  options: {},
  details: `
JOB is an id, the beginning of one, or \`last\`. A job that has ended stays as it is.

  conclave cancel last
`,
  async run (context) {
    const client = await control(context)
    const info = await client.cancel(context.args.positionals[0] ?? '', context.signal)
    await (context.isJson ? context.out.json({ job: info.id, status: info.status }) : context.out.data(`${info.id} ${info.status}\n`))
    return EXIT.ok
  }
}
