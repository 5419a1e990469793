/** A directory for one test, removed after it. */
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'

export async function withTempDir <T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-'))
  try { return await work(dir) } finally { await fs.rm(dir, { recursive: true, force: true }) }
}
