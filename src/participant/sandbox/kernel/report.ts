/**
 * What a task has done so far: its first fault, the record at hand, its log, and how much it has written. Travels into the isolate as text.
 */
import type { Globals } from './globals.ts'

export type Report = ReturnType<typeof createReport>

export function createReport ({ indexOf, join, slice, startsWith, stringify, toText }: Globals) {
  const MAX_MESSAGE = 2000
  let logLines: string[] = []
  let logChars = 0
  let maxLogChars = 0
  let outputChars = 0
  let maxOutputChars = 0

  /** An exception of the job in words. Never throws, whatever was thrown. */
  const describe = (error: unknown): string => {
    try {
      if (typeof error !== 'object' || error === null) return `threw ${slice(toText(error), 0, MAX_MESSAGE)}`
      const { name, message, stack } = error as Error
      let text = slice(`${toText(name)}: ${toText(message)}`, 0, 1200)
      if (typeof stack !== 'string') return text
      const lines = slice(stack, 0, 8192)
      for (let start = 0, shown = 0; start < lines.length && shown < 4;) {
        let end = indexOf(lines, '\n', start)
        if (end === -1) end = lines.length
        const line = slice(lines, start, end)
        if (startsWith(line, '    at ') && indexOf(line, 'job.mjs') !== -1) {
          text += `\n${slice(line, 0, 200)}`
          shown++
        }
        start = end + 1
      }
      return text
    } catch {
      // the thrown object itself throws when it is looked at
      return 'threw an object that cannot be described'
    }
  }

  const report = {
    /** The first fault; sticky, so that a job cannot catch its way around it. */
    fault: undefined as { code: string, message: string, record: number } | undefined,
    /** 1-based number of the record at hand, 0 outside of records. */
    record: 0,
    /** `emit` and `ctx.log` work only while a task runs. */
    isOpen: false,

    begin (maxOutput: number, maxLog: number): void {
      report.fault = undefined
      report.record = 0
      report.isOpen = true
      logLines = []
      logChars = 0
      maxLogChars = maxLog
      outputChars = 0
      maxOutputChars = maxOutput
    },

    fail (code: string, message: string): void {
      report.fault ??= { code, message: slice(message, 0, MAX_MESSAGE), record: report.record }
    },

    /** A job's exception. Memory that V8 refuses to give is no ordinary one. */
    failWith (error: unknown): void {
      const text = describe(error)
      const isMemory = startsWith(text, 'RangeError: Array buffer allocation failed') || startsWith(text, 'RangeError: ArrayBuffer.prototype.resize: Out of memory')
      report.fail(isMemory ? 'memory' : 'throw', text)
    },

    /** Count output before it is kept, so that the limit is met before memory runs out. */
    grow (chars: number): void {
      outputChars += chars
      if (outputChars > maxOutputChars) report.fail('output', 'the output of this task grew above its limit')
    },

    /** @returns JSON text; '' after a fault, which names the value by `what` */
    jsonText (value: unknown, what: string): string {
      let why: string
      try {
        // JSON would turn NaN and the infinities into null, and different keys into one
        const isFinite = typeof value !== 'number' || value - value === 0
        const text = isFinite ? stringify(value) : undefined
        if (typeof text === 'string') return text
        why = isFinite ? value === undefined ? 'it is undefined' : `it is a ${typeof value}` : `it is ${toText(value)}`
      } catch (error) {
        why = describe(error)
      }
      report.fail('throw', `${what} cannot be serialised as JSON: ${why}`)
      return ''
    },

    /** Functions of a job are synchronous: nobody would wait for a promise. */
    refusePromise (value: unknown, name: string): void {
      if (typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function') {
        report.fail('throw', `${name} returned a promise; the functions of a job are synchronous`)
      }
    },

    log (...parts: unknown[]): void {
      if (!report.isOpen || logChars > maxLogChars) return
      let line = ''
      for (let i = 0; i < parts.length; i++) {
        const part = parts[i]
        line += (i === 0 ? '' : ' ') + (typeof part === 'string' ? part : toText(stringify(part)))
      }
      logChars += line.length + 1
      logLines[logLines.length] = logChars > maxLogChars ? `${slice(line, 0, maxLogChars)}\n(log cut off at its limit)` : line
    },

    /** @returns the log; closes the task */
    end (): string {
      report.isOpen = false
      const text = join(logLines, '\n')
      logLines = []
      return text
    }
  }
  return report
}
