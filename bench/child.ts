/**
 * The side of a benchmark's child process; `processes.ts` is the parent's.
 */
import fs from 'node:fs/promises'
import { Session } from 'node:inspector/promises'

/** What goes over the IPC channel; questions and their answers carry an `id` too. */
export type Told = Record<string, unknown> & { type: string }

/**
 * Answers each question with what `answer` returns, and ends this process when its parent is gone.
 *
 * @returns tells the parent something unasked
 */
export function answerQuestions (answer: (question: Told) => Promise<Record<string, unknown> | undefined>): (told: Told) => void {
  const tell = (told: Told): void => { if (process.connected) process.send?.(told) }
  const profiler = createProfiler()
  process.on('message', (question: Told & { id: number }) => {
    (question.type === 'profile' ? profiler(question.file as string | undefined) : answer(question)).then(
      (facts) => { tell({ ...facts, type: 'answer', id: question.id }) },
      (error: unknown) => { tell({ type: 'error', id: question.id, error: error instanceof Error ? error.message : String(error) }) })
  })
  process.on('disconnect', () => { process.exit(0) })
  return tell
}

/** Without a file: begins to sample. With one: writes what was sampled, for any viewer of .cpuprofile files. */
function createProfiler (): (file: string | undefined) => Promise<undefined> {
  const session = new Session()
  return async (file) => {
    if (file === undefined) {
      session.connect()
      await session.post('Profiler.enable')
      await session.post('Profiler.start')
      return
    }
    const { profile } = await session.post('Profiler.stop')
    session.disconnect()
    await fs.writeFile(file, JSON.stringify(profile))
  }
}

/** Milliseconds since 1970, finer than `Date.now`: to be compared between processes of one machine. */
export const wallMs = (): number => performance.timeOrigin + performance.now()
