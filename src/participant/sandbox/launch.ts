/**
 * Starts executor processes: where their files are, how large they may grow, and in which jail they live.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Executor } from './executor.ts'
import { MAX_ISOLATES } from './isolates.ts'
import { describeLayers, jailCommand, type JailSpec, type Tools } from './jail.ts'
import { seccompProgram } from './seccomp.ts'
import type { JailKind, TaskLimits } from './types.ts'

const MIB = 1024 * 1024
/** Writable private memory that Node maps beside its isolates: measured 40 MiB, most of it stacks that are never touched. */
const BASE_DATA_BYTES = 96 * MIB
/** V8 maps this much address space for the machine code of each isolate, and RLIMIT_DATA counts it although it is never filled. */
const CODE_RANGE_BYTES = 512 * MIB
/** What an isolate costs beside a job's own memory: nursery, code, stack. */
const ISOLATE_BYTES = 64 * MIB
/** A backstop: executors are recycled long before. */
const CPU_SECONDS = 14_400
const MAX_FILES = 64
const CONTROL_FD = 3
const SECCOMP_FD = 4

/** What decides about the size of a process; tasks of equal bounds share one. */
export type ProcessBounds = Pick<TaskLimits, 'memoryBytes' | 'inputBytes' | 'outputBytes'>

/** A jail as one machine can give it. */
export interface JailVariant { kind: JailKind, hasSeccomp: boolean }

export interface LaunchOptions {
  bounds: ProcessBounds
  /** Off only where the self-test asks whether the operating system's jail holds on its own. */
  isPermissionOn: boolean
  /** Keep the first words on stderr, to say why a jail does not start. */
  keepStderr: boolean
}

export interface Launcher {
  launch (options: LaunchOptions): Executor
  layers (bounds: ProcessBounds): string[]
}

/**
 * Resident memory that an executor may use beyond its start. The isolate's own limit is tighter and is met first by ordinary code; here
 * stands what slips past it (resizable buffers, fragmentation), plus the copies of input and output.
 */
export function residentBytes ({ memoryBytes, inputBytes, outputBytes }: ProcessBounds): number {
  return ISOLATE_BYTES + 2 * memoryBytes + 3 * (inputBytes + outputBytes)
}

/** @returns a launcher for one kind of jail; whether that jail works here shows only when it is used */
export function createLauncher ({ kind, hasSeccomp }: JailVariant, tools: Tools): Launcher {
  const paths = locate()
  const program = hasSeccomp ? seccompProgram(process.arch) : undefined
  const specOf = ({ bounds, isPermissionOn }: Pick<LaunchOptions, 'bounds' | 'isPermissionOn'>): JailSpec => ({
    kind,
    tools,
    bounds: { dataBytes: BASE_DATA_BYTES + (1 + MAX_ISOLATES) * CODE_RANGE_BYTES + residentBytes(bounds), cpuSeconds: CPU_SECONDS, maxFiles: MAX_FILES },
    node: process.execPath,
    // a larger nursery than isolated-vm asks for: it makes 1.1 times the records per second
    flags: ['--max-semi-space-size=16', '--v8-pool-size=1', '--disable-warning=ExperimentalWarning'],
    main: [paths.main, paths.addon, String(bounds.memoryBytes), String(residentBytes(bounds))],
    files: paths.files,
    libraries: kind === 'bwrap' ? sharedLibraries() : [],
    seccompFd: program === undefined ? undefined : SECCOMP_FD,
    isPermissionOn
  })
  return {
    launch: options => new Executor({ command: jailCommand(specOf(options)), controlFd: CONTROL_FD, seccomp: program, keepStderr: options.keepStderr }),
    layers: bounds => describeLayers(specOf({ bounds, isPermissionOn: true }))
  }
}

/** What an executor process reads: this directory, the package.json that says that its files are modules, and isolated-vm's addon. */
function locate (): { main: string, addon: string, files: string[] } {
  const here = fileURLToPath(import.meta.url)
  const directory = dirname(here)
  const fromIsolatedVm = createRequire(createRequire(import.meta.url).resolve('isolated-vm'))
  const addon = fromIsolatedVm('node-gyp-build').path(dirname(fromIsolatedVm.resolve('./package.json'))) as string
  let scope = directory
  while (!existsSync(join(scope, 'package.json')) && dirname(scope) !== scope) scope = dirname(scope)
  return { main: join(directory, `executor-process${extname(here)}`), addon, files: [directory, join(scope, 'package.json'), addon] }
}

let libraries: string[] | undefined

/** @returns paths as the loader looked for them; our own addons are left out, the executor has its one by name */
function sharedLibraries (): string[] {
  if (libraries === undefined) {
    const report = process.report as unknown as { excludeNetwork: boolean, getReport: () => { sharedObjects: string[] } }
    const wasExcluded = report.excludeNetwork
    // a report with the network looks up host names
    report.excludeNetwork = true
    const { sharedObjects } = report.getReport()
    report.excludeNetwork = wasExcluded
    libraries = sharedObjects.filter(path => path.startsWith('/') && !path.endsWith('.node') && path !== process.execPath && existsSync(path))
  }
  return libraries
}
