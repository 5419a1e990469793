/**
 * A whole node in a process of its own, to be asked and to be killed.
 *
 * usage: fork with argv OPTIONS (JSON of `JoinOptions`)
 */
import fs from 'node:fs/promises'
import path from 'node:path'
import type { ConclaveNode, InviteOptions, JobRequest, JoinOptions } from '../src/api.ts'
import { createNode } from '../src/node.ts'
import { answerQuestions, wallMs } from './child.ts'

/** What came of jobs that were submitted together. */
export interface Ran {
  /** first submit → last record here */
  ms: number
  /** first submit → all acknowledged */
  submitMs: number
  /** wall clock of the first submit, see `wallMs` */
  beganMs: number
  records: unknown[]
}

const options = JSON.parse(process.argv[2] as string) as JoinOptions
let isWatched = false
const tell = answerQuestions(async (question) => {
  switch (question.type) {
    case 'status': return { status: node.status() }
    case 'invite': return { ticket: await node.invite(question.options as InviteOptions) }
    case 'run': return { ran: await run(question.jobs as JobRequest[]) }
    case 'lone': return { times: await lone(question.code as string, question.count as number) }
    case 'watch': {
      isWatched = question.on as boolean
      return undefined
    }
  }
})
const node: ConclaveNode = await createNode({ ...options, listen: ['/ip4/127.0.0.1/tcp/0'] })
node.on((event) => { if (isWatched) tell({ atMs: wallMs(), ...event }) })
tell({ type: 'ready', peerId: node.peerId, addrs: node.addrs() })

async function run (jobs: readonly JobRequest[]): Promise<Ran> {
  const beganMs = wallMs()
  const submitting = jobs.map(async (job) => await node.submit(job))
  const records: unknown[] = []
  const collecting = submitting.map(async (handle) => { for await (const record of (await handle).results()) records.push(record) })
  await Promise.all(submitting)
  const submitMs = wallMs() - beganMs
  await Promise.all(collecting)
  return { ms: wallMs() - beganMs, submitMs, beganMs, records }
}

/** Jobs of one task, one after the other. @returns ms from submit to record */
async function lone (code: string, count: number): Promise<number[]> {
  const file = path.join(options.dataDir, 'lone.txt')
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    await fs.writeFile(file, `${i}\n`)
    const { ms } = await run([{ code, inputs: [file], name: 'lone' }])
    times.push(ms)
  }
  return times
}
