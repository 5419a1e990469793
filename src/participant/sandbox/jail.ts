/**
 * The command line that puts an executor process into a jail. Pure but for `findTools`.
 *
 * From the outside in: nice(1), setpriv(1) (dies with the participant), prlimit(1), then bwrap(1) or unshare(1), then Node with `--permission`.
 * bwrap shows the process nothing of the machine but Node itself; unshare leaves the files readable as far as `--permission` lets it, which
 * native code would not heed: so bwrap is preferred where both work.
 */
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import type { JailKind } from './types.ts'

const TOOL_DIRS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin', '/run/current-system/sw/bin', '/run/wrappers/bin']
const TOOLS = ['bwrap', 'unshare', 'prlimit', 'setpriv', 'nice'] as const

/** Absolute paths of the tools that this machine has. */
export type Tools = Partial<Record<typeof TOOLS[number], string>>

/** What the process may use. */
export interface JailBounds {
  /** Bytes of private memory that it may map for writing. */
  dataBytes: number
  /** Seconds of CPU that it may use in its life. */
  cpuSeconds: number
  maxFiles: number
}

export interface JailSpec {
  kind: JailKind
  tools: Tools
  bounds: JailBounds
  /** Node's binary, its flags, the main file and its arguments. */
  node: string
  flags: readonly string[]
  main: readonly string[]
  /** Files and directories that the process needs to read, Node's shared libraries apart. */
  files: readonly string[]
  /** Node's shared libraries and the loader, as the loader looks for them. */
  libraries: readonly string[]
  /** Descriptor of a seccomp program for bwrap, if any. */
  seccompFd: number | undefined
  /** Whether Node's own permission model is on too. */
  isPermissionOn: boolean
}

/** Looks into fixed directories only: a PATH may name a place that a task's owner can write to. */
export function findTools (): Tools {
  const tools: Tools = {}
  if (process.platform !== 'linux') return tools
  for (const name of TOOLS) {
    const path = TOOL_DIRS.map(dir => join(dir, name)).find(isExecutable)
    if (path !== undefined) tools[name] = path
  }
  return tools
}

function isExecutable (path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // absent or not ours to run: the same to us
    return false
  }
}

/** @returns what a kind of jail lacks on this machine, '' when nothing */
export function missingTool (kind: JailKind, tools: Tools): string {
  if (kind === 'bwrap') return tools.bwrap === undefined ? 'bwrap is not installed' : ''
  if (kind === 'unshare') return tools.unshare === undefined || tools.prlimit === undefined ? 'unshare or prlimit of util-linux is not installed' : ''
  return ''
}

/** @returns program and arguments, outermost first */
export function jailCommand (spec: JailSpec): [string, ...string[]] {
  const { kind, tools, bounds } = spec
  const command: string[] = []
  if (tools.nice !== undefined) command.push(tools.nice, '-n', '10')
  if (tools.setpriv !== undefined) command.push(tools.setpriv, '--pdeathsig', 'KILL')
  if (tools.prlimit !== undefined) {
    command.push(tools.prlimit, `--data=${bounds.dataBytes}`, `--cpu=${bounds.cpuSeconds}`, `--nofile=${bounds.maxFiles}`, '--fsize=0', '--core=0')
  }
  if (kind === 'bwrap') command.push(...bwrapArguments(spec))
  if (kind === 'unshare') command.push(...unshareArguments(tools))
  command.push(spec.node, ...spec.flags)
  if (spec.isPermissionOn) command.push('--permission', '--allow-addons', ...spec.files.map(file => `--allow-fs-read=${file}`), '--disable-warning=SecurityWarning')
  command.push(...spec.main)
  return command as [string, ...string[]]
}

function bwrapArguments ({ tools, node, files, libraries, seccompFd }: JailSpec): string[] {
  const command = [String(tools.bwrap), '--unshare-all', '--die-with-parent', '--new-session', '--cap-drop', 'ALL', '--uid', '65534', '--gid', '65534', '--hostname', 'executor']
  for (const path of new Set([node, ...libraries, ...files])) command.push('--ro-bind', path, path)
  if (seccompFd !== undefined) command.push('--seccomp', String(seccompFd))
  command.push('--remount-ro', '/', '--chdir', '/', '--')
  return command
}

function unshareArguments ({ unshare, setpriv }: Tools): string[] {
  const command = [String(unshare), '--user', '--net', '--pid', '--mount', '--ipc', '--uts', '--fork', '--kill-child=KILL', '--']
  if (setpriv !== undefined) command.push(setpriv, '--no-new-privs', '--pdeathsig', 'KILL', '--')
  return command
}

/** @returns the layers in words, innermost first */
export function describeLayers ({ kind, tools, bounds, seccompFd, isPermissionOn }: JailSpec): string[] {
  const layers = ['an isolate per job: no Node.js, no imports, bounded memory', 'a process per slot: empty environment, one descriptor, killed at its time limit']
  if (isPermissionOn) layers.push('node --permission: no files, no processes, no workers')
  if (tools.prlimit !== undefined) {
    layers.push(`rlimits: data ${Math.round(bounds.dataBytes / 1048576)} MiB (with the code ranges that V8 reserves), ${bounds.maxFiles} descriptors, cpu ${bounds.cpuSeconds} s, no file writes, no core dumps`)
  }
  if (seccompFd !== undefined) layers.push('seccomp: no new processes, sockets, namespaces, tracing, keys, io_uring, bpf')
  if (kind === 'bwrap') layers.push('bwrap: own user, net, pid, mount, ipc, uts and cgroup namespaces, nothing of the file system but Node.js, no capabilities')
  if (kind === 'unshare') layers.push('unshare: own user, net, pid, mount, ipc and uts namespaces')
  return layers
}
