/**
 * One stream of a job's facts and of its progress, for those who watch it.
 */
import type { JobHandle } from '../api.ts'
import type { FollowLine } from './routes.ts'

/**
 * @param everyMs - progress is told at most this often, and only where it changed
 * @returns `progress` first, then facts in ledger order between progress lines, then one `end`
 */
export async function * follow (handle: JobHandle, everyMs: number, signal: AbortSignal): AsyncGenerator<FollowLine> {
  const facts = handle.events({ signal })[Symbol.asyncIterator]()
  let told = ''
  try {
    let next = facts.next()
    let waiting = next.then((result) => ({ result }))
    let dueMs = 0
    for (;;) {
      if (performance.now() >= dueMs) {
        const info = handle.info()
        const text = JSON.stringify(info)
        if (text !== told) yield { event: 'progress', info }
        told = text
        dueMs = performance.now() + everyMs
      }
      using timer = timeout(dueMs - performance.now())
      const first = await Promise.race([waiting, timer.promise])
      if (first === undefined) continue
      if (first.result.done === true) break
      yield { event: 'fact', fact: first.result.value }
      next = facts.next()
      waiting = next.then((result) => ({ result }))
    }
    yield { event: 'end', info: await handle.done({ signal }) }
  } finally {
    await facts.return?.()
  }
}

/** Resolves after `ms`; leaving the scope clears it. */
function timeout (ms: number): Disposable & { promise: Promise<undefined> } {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(resolve, Math.max(0, ms), undefined)
  return { promise, [Symbol.dispose]: () => clearTimeout(timer) }
}
