/** Calm: three voters while every core is full of other work, as tasks make it: no election may come of it. */
import os from 'node:os'
import { Series } from './measure.ts'
import type { Table, Workload } from './measure.ts'
import { createRoom, pause } from './processes.ts'
import { startOurs } from './raft-group.ts'

const PUTS_PER_SECOND = 20

export const calm: Workload = {
  name: 'calm',
  title: 'Calm: no election under full load',
  isDefault: false,
  async run ({ minutes, log }): Promise<Table> {
    await using room = await createRoom()
    const group = await startOurs(room, 3)
    const series = new Series()
    try {
      const leader = await group.leader()
      const { servers } = group
      const { term } = await leader.status()
      const cores = os.availableParallelism()
      // one more than there are cores: everybody waits for a core now and then
      for (let i = 0; i <= cores; i++) room.spawn(process.execPath, ['-e', 'for (;;) {}'])
      const endMs = performance.now() + minutes * 60_000
      const elections = async (): Promise<number> => Math.max(...await Promise.all(servers.map(async (server) => (await server.status()).term))) - term
      let failed = 0
      for (let puts = 0; performance.now() < endMs; puts++) {
        await leader.put('calm', new Uint8Array(256)).catch(() => { failed++ })
        await pause(1000 / PUTS_PER_SECOND)
        if (puts % (60 * PUTS_PER_SECOND) === 0) log(`calm: ${((endMs - performance.now()) / 60_000).toFixed(1)} minutes left, ${await elections()} elections`)
      }
      const measure = `elections in ${minutes} minutes with ${cores + 1} busy loops on ${cores} cores`
      series.add('ours', measure, await elections())
      series.add('ours', 'puts that failed meanwhile', failed)
      return { rows: [series.row(measure, 0, { text: '0', isMet: (ours) => ours === 0 }), series.row('puts that failed meanwhile', 0)], notes: [] }
    } finally {
      await group.stop()
    }
  }
}
