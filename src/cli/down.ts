/** `conclave down`: stop the node of a data directory. */
import { setTimeout as wait } from 'node:timers/promises'
import { ConclaveError, EXIT } from '../errors.ts'
import { isAlive } from '../data-dir.ts'
import { control } from './command.ts'
import type { Command } from './command.ts'

/** The daemon ends itself within less. */
const GONE_MS = 20_000

export const down: Command = {
  name: 'down',
  summary: 'stop the node; its jobs go on elsewhere',
  positionals: [],
  options: {},
  details: `
Returns once the process is gone.

  conclave down --data-dir ./node-1
`,
  async run (context) {
    const client = await control(context)
    const pid = await client.stop(context.signal)
    const deadline = performance.now() + GONE_MS
    while (isAlive(pid)) {
      if (performance.now() > deadline) throw new ConclaveError('STOP_TIMEOUT', `process ${pid} is still there after ${GONE_MS / 1000} s`, { next: `kill -9 ${pid}` })
      await wait(20, undefined, { signal: context.signal })
    }
    if (context.isJson) await context.out.json({ event: 'down', pid })
    else context.out.note(`stopped (process ${pid})`)
    return EXIT.ok
  }
}
