/**
 * `npm start [-- 'PATH/*.txt' …]`: the main job, see examples/main-job. Exits with 0 where the counts are equal, 1 where they are not or
 * something failed, 130 after Ctrl+C.
 */
import { runMainJob } from '../examples/main-job/main-job.ts'
import type { Screen } from '../examples/main-job/main-job.ts'

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (!stopping.signal.aborted) process.stderr.write('\nstopping\n')
    stopping.abort(new Error(signal))
  })
}

try {
  const isEqual = await runMainJob({ inputs: process.argv.slice(2), cwd: process.env['INIT_CWD'] ?? process.cwd(), screen: createScreen(), signal: stopping.signal })
  process.exitCode = isEqual ? 0 : 1
} catch (error) {
  const { code, message, next } = error as { code?: string, message?: string, next?: string }
  if (!stopping.signal.aborted) process.stderr.write(`\nnpm start failed: ${code === undefined ? '' : `${code}: `}${message ?? String(error)}\n${next === undefined || next === '' ? '' : `  next: ${next}\n`}`)
  process.exitCode = stopping.signal.aborted ? 130 : 1
}

/** Results to stdout, progress to stderr: on a terminal as one line that changes. */
function createScreen (): Screen {
  const isTerminal = process.stderr.isTTY
  let isDrawn = false
  const clear = (): void => {
    if (isDrawn) process.stderr.write('\r\x1b[K')
    isDrawn = false
  }
  return {
    print (line) {
      clear()
      process.stdout.write(`${line}\n`)
    },
    show (line) {
      if (!isTerminal) return
      clear()
      process.stderr.write(line)
      isDrawn = true
    },
    get columns () { return isTerminal ? process.stderr.columns : 80 }
  }
}
