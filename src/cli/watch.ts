/** `conclave watch`: look at a job again. */
import { control } from './command.ts'
import type { Command } from './command.ts'
import { FOLLOW_OPTIONS, followJob } from './follow-job.ts'

export const watch: Command = {
  name: 'watch',
  summary: 'watch a job to its end, and print its records',
  positionals: ['[JOB]'],
  options: FOLLOW_OPTIONS,
  details: `
JOB is an id, the beginning of one, or \`last\` (the default). Any member can watch any job; of one that has ended, all records come at once.

  conclave watch
  conclave watch jmfzwk --output counts.ndjson
`,
  async run (context) {
    const client = await control(context)
    const info = await client.job(context.args.positionals[0] ?? 'last', context.signal)
    if (!context.isJson) context.out.note(`job ${info.id}`)
    return await followJob(context, client, info.id)
  }
}
