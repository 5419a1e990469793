/** Takes the lock of the data directory in argv, says so on stdout, and holds it until it is killed. */
import { lockDataDir } from '../../src/data-dir.ts'

try {
  await lockDataDir(process.argv[2] ?? '')
  process.stdout.write('held\n')
  setInterval(() => {}, 1 << 30)
} catch (error) {
  process.stdout.write(`${(error as Error).name} ${String((error as { details?: { pid?: number } }).details?.pid)}\n`)
}
