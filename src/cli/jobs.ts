/** `conclave jobs`: what runs, and what ran. */
import { EXIT } from '../errors.ts'
import type { JobInfo } from '../api.ts'
import { shortPeer, table, totals } from './format.ts'
import { control } from './command.ts'
import type { Command } from './command.ts'

export const jobs: Command = {
  name: 'jobs',
  summary: 'the jobs of the network, newest first',
  positionals: [],
  options: {},
  details: `
  conclave jobs --json
`,
  async run (context) {
    const client = await control(context)
    const found = await client.jobs(context.signal)
    await (context.isJson ? context.out.json({ jobs: found }) : context.out.data(jobsText(found)))
    return EXIT.ok
  }
}

/** Pure. */
export function jobsText (found: readonly JobInfo[]): string {
  if (found.length === 0) return 'no jobs yet\n'
  const rows = found.map((info) => {
    const { done, total } = totals(info)
    return [info.id, info.name, info.status, `${done}/${total}`, shortPeer(info.submitter), new Date(info.submittedAt).toISOString().slice(0, 19).replace('T', ' '),
      info.status === 'running' ? info.waiting ?? '' : [info.code, info.reason].filter((part) => part !== undefined).join(': ')]
  })
  return table([['JOB', 'NAME', 'STATUS', 'TASKS', 'BY', 'SUBMITTED (UTC)', 'WHY'], ...rows])
}
