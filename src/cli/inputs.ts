/**
 * What `--input` names, as paths of files that can be read: files, directories, patterns, and `-` for standard input.
 */
import fs from 'node:fs/promises'
import { createWriteStream } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Readable } from 'node:stream'
import { ConclaveError } from '../errors.ts'

/** Files of one job. */
const MAX_FILES = 100_000

export interface Inputs extends AsyncDisposable {
  /** absolute, in the order given, sorted within a pattern or directory, each once */
  paths: string[]
}

/**
 * @returns the files; disposing removes what was spooled from stdin
 * @throws INPUT_NOT_FOUND, INPUT_NO_MATCH, INPUT_UNREADABLE, INPUT_TOO_MANY, INPUT_EMPTY
 */
export async function expandInputs (patterns: readonly string[], cwd: string, stdin: Readable, signal: AbortSignal): Promise<Inputs> {
  const found = new Set<string>()
  let spooled: string | undefined
  const dispose = async (): Promise<void> => {
    if (spooled !== undefined) await fs.rm(path.dirname(spooled), { recursive: true, force: true })
  }
  try {
    for (const pattern of patterns) {
      if (pattern === '-') found.add(spooled ??= await spool(stdin, signal))
      else for (const file of await expand(pattern, cwd)) found.add(file)
      if (found.size > MAX_FILES) throw new ConclaveError('INPUT_TOO_MANY', `more than ${MAX_FILES} files are named`, { next: 'pack them into fewer files, or submit several jobs' })
    }
    if (spooled !== undefined && (await fs.stat(spooled)).size === 0) throw new ConclaveError('INPUT_EMPTY', 'there was nothing on standard input', { next: 'cat FILE | conclave run JOB --input -' })
  } catch (error) {
    await dispose()
    throw error
  }
  return { paths: [...found], [Symbol.asyncDispose]: dispose }
}

/** A name that exists is that file or directory, whatever characters it has; else it is a pattern. */
async function expand (pattern: string, cwd: string): Promise<string[]> {
  if (pattern === '') throw new ConclaveError('USAGE', 'an input has an empty name', { next: 'is a variable of your shell unset? conclave run JOB --input FILE' })
  const file = path.resolve(cwd, pattern)
  const stat = await fs.stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw unreadable(file, error)
  })
  if (stat === undefined) {
    if (!/[*?[\]{}]/.test(pattern)) throw new ConclaveError('INPUT_NOT_FOUND', `there is no file ${file}`, { next: 'check the path; put a pattern in quotes: --input \'logs/*.txt\'', details: { file } })
    const matches = await files(fs.glob(pattern, { cwd, withFileTypes: true }))
    if (matches.length === 0) throw new ConclaveError('INPUT_NO_MATCH', `no file matches ${pattern} in ${cwd}`, { next: 'check the pattern, and put it in quotes', details: { pattern, cwd } })
    return matches
  }
  if (stat.isFile()) return [await readable(file)]
  if (!stat.isDirectory()) throw new ConclaveError('INPUT_NOT_A_FILE', `${file} is a pipe or a device, not a file`, { next: 'pipe it: … | conclave run JOB --input -', details: { file } })
  const inside = await files(fs.glob('**/*', { cwd: file, withFileTypes: true }))
  if (inside.length === 0) throw new ConclaveError('INPUT_NO_MATCH', `the directory ${file} holds no file`, { next: 'name another one', details: { file } })
  return inside
}

async function files (entries: AsyncIterable<{ name: string, parentPath: string, isFile (): boolean, isSymbolicLink (): boolean }>): Promise<string[]> {
  const paths: string[] = []
  for await (const entry of entries) {
    const file = path.resolve(entry.parentPath, entry.name)
    if (entry.isFile() || (entry.isSymbolicLink() && await isFile(file))) paths.push(await readable(file))
    if (paths.length > MAX_FILES) break
  }
  return paths.sort()
}

async function isFile (file: string): Promise<boolean> {
  const stat = await fs.stat(file).catch(() => undefined)
  return stat?.isFile() === true
}

async function readable (file: string): Promise<string> {
  try {
    await fs.access(file, fs.constants.R_OK)
    return file
  } catch (error) {
    throw unreadable(file, error as NodeJS.ErrnoException)
  }
}

const unreadable = (file: string, cause: NodeJS.ErrnoException): ConclaveError =>
  new ConclaveError('INPUT_UNREADABLE', `${file} cannot be read (${cause.code ?? cause.message})`, { cause, next: `check its permissions: ls -l ${file}`, details: { file } })

/** Standard input as a file (0600) in a directory of its own: the daemon reads inputs by their path. */
async function spool (stdin: Readable, signal: AbortSignal): Promise<string> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-stdin-'))
  try {
    const file = path.join(dir, 'stdin')
    await pipeline(stdin, createWriteStream(file, { mode: 0o600, flags: 'wx' }), { signal })
    return file
  } catch (error) {
    await fs.rm(dir, { recursive: true, force: true })
    throw error
  }
}
