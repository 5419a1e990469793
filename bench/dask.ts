/** W1 by Dask: a scheduler, two workers, one client. See `dask-w1.py`. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Room } from './processes.ts'

export interface DaskFigures { ms: number, cpuSeconds: number, loneMs: number[] }

export async function measureDask (room: Room, n: number, lone: number): Promise<DaskFigures> {
  const { stdout } = await promisify(execFile)('/usr/bin/python3', [path.join(import.meta.dirname, 'dask-w1.py'), String(n), String(lone)], { cwd: room.dir, timeout: 600_000 })
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as DaskFigures
}
