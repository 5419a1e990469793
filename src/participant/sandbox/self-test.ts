/**
 * Which jail works here, found out by trying to break out of it. Once a process: every pool of the process shares the answer.
 *
 * Two rounds. Outside the isolate, an executor process attempts with all of Node's powers what job code would attempt after breaking out;
 * where the jail is meant to hold on its own (bwrap with seccomp), Node's permission model is switched off for it. Inside, ordinary jobs misbehave.
 */
import { ConclaveError } from '../../../keys/conclave-error.ts'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeFrame, FRAME } from './frames.ts'
import { findTools, missingTool } from './jail.ts'
import { createLauncher, type JailVariant, type Launcher } from './launch.ts'
import { JOB_PROBES, judgeEscape, PROBE_LIMITS, type JobProbe } from './probe-jobs.ts'
import { outcomeOf } from './reply.ts'
import { DEFAULT_TASK_LIMITS, type JailKind, type ProbeResult, type SandboxReport, type SandboxTask } from './types.ts'
import type { ProbeAnswer } from './probes.ts'

/** Attempts from outside the isolate, all together. */
const ESCAPE_TIMEOUT_MS = 8000
const MAX_ANSWER_BYTES = 16 * 1024

/** Strongest first. */
const VARIANTS: readonly JailVariant[] = [
  { kind: 'bwrap', hasSeccomp: true },
  { kind: 'bwrap', hasSeccomp: false },
  { kind: 'unshare', hasSeccomp: false },
  { kind: 'none', hasSeccomp: false }
]

export interface SelectedJail { launcher: Launcher, report: SandboxReport }

const selected = new Map<string, Promise<SelectedJail>>()

/**
 * @param wanted - `auto`: the strongest jail that holds, down to none
 * @throws ConclaveError SANDBOX_JAIL when a named jail does not hold here
 */
export function selectJail (wanted: JailKind | 'auto'): Promise<SelectedJail> {
  let selection = selected.get(wanted)
  if (selection === undefined) {
    selection = select(wanted)
    selected.set(wanted, selection)
    selection.catch(() => { selected.delete(wanted) })
  }
  return selection
}

async function select (wanted: JailKind | 'auto'): Promise<SelectedJail> {
  const tools = findTools()
  const fallbacks: string[] = []
  for (const variant of VARIANTS) {
    const { kind, hasSeccomp } = variant
    if (wanted !== 'auto' && wanted !== kind) continue
    const name = hasSeccomp ? `${kind} with seccomp` : kind
    const missing = missingTool(kind, tools)
    if (missing !== '') {
      if (!fallbacks.includes(missing)) fallbacks.push(missing)
      continue
    }
    const launcher = createLauncher(variant, tools)
    const escapes = await attemptEscapes(launcher, variant)
    const failed = typeof escapes === 'string' ? escapes : escapes.filter(({ held }) => !held).map(({ name, detail }) => `${name}: ${detail}`).join('; ')
    if (typeof escapes === 'string' || (failed !== '' && kind !== 'none')) {
      fallbacks.push(`${name} does not hold here: ${failed}`)
      continue
    }
    const probes = [...escapes, ...await runJobProbes(launcher)]
    return { launcher, report: { jail: kind, layers: launcher.layers(DEFAULT_TASK_LIMITS), probes, fallbacks } }
  }
  throw new ConclaveError('SANDBOX_JAIL', `no sandbox of kind ${wanted} works on this machine: ${fallbacks.join('; ')}`, {
    next: wanted === 'auto' ? 'Run tasks on another machine: here not even a bare executor process starts.' : 'Install what is missing (`apt install bubblewrap`), or let the node choose with `auto`.',
    details: { wanted, fallbacks }
  })
}

/** @returns what held, or why no executor started */
async function attemptEscapes (launcher: Launcher, { kind, hasSeccomp }: JailVariant): Promise<ProbeResult[] | string> {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-probe-'))
  const secret = join(directory, 'secret')
  const server = createServer(socket => socket.destroy())
  let signals = 0
  const onSignal = (): void => { signals++ }
  const executor = launcher.launch({ bounds: DEFAULT_TASK_LIMITS, isPermissionOn: !(kind === 'bwrap' && hasSeccomp), keepStderr: true })
  try {
    process.on('SIGWINCH', onSignal)
    await writeFile(secret, 'secret')
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    const why = await executor.started()
    if (why !== undefined) return `${why} ${firstLine(executor.stderr)}`.trim()
    const reply = await executor.request(encodeFrame(FRAME.probe, {
      files: [secret, '/etc/passwd', `/proc/${process.pid}/environ`, `/proc/${process.pid}/cmdline`],
      writable: join(directory, 'written'),
      port: (server.address() as AddressInfo).port,
      pid: process.pid,
      programs: ['/bin/sh', process.execPath]
    }), { timeoutMs: ESCAPE_TIMEOUT_MS, maxReplyBytes: MAX_ANSWER_BYTES })
    if (reply.type !== 'frame') return `the probes ended with ${'detail' in reply ? reply.detail : reply.type} ${firstLine(executor.stderr)}`.trim()
    return judgeEscape(reply.frame.header as ProbeAnswer, signals > 0)
  } finally {
    process.off('SIGWINCH', onSignal)
    executor.kill()
    server.close()
    await executor.gone
    await rm(directory, { recursive: true, force: true })
  }
}

function firstLine (text: string): string {
  return text.split('\n').find(line => line !== '')?.slice(0, 300) ?? ''
}

/** Two at a time, so that the whole takes a second or two. */
async function runJobProbes (launcher: Launcher): Promise<ProbeResult[]> {
  const results = new Map<JobProbe, ProbeResult>()
  const queue = [...JOB_PROBES]
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) results.set(next, await runJobProbe(launcher, next))
  }
  await Promise.all([work(), work()])
  return JOB_PROBES.map(probe => results.get(probe) as ProbeResult)
}

async function runJobProbe (launcher: Launcher, { name, code, timeoutMs, holds }: JobProbe): Promise<ProbeResult> {
  const limits = { ...PROBE_LIMITS, timeoutMs }
  const stage = { kind: 'map', clean: false, combine: false, partitions: 0 } as const
  const task: SandboxTask = { job: 'probe', codeCid: name, code: Buffer.from(code), stage, input: [Buffer.from('x\n')], encoding: 'latin1', limits, seed: '', nowMs: 0 }
  const executor = launcher.launch({ bounds: limits, isPermissionOn: true, keepStderr: false })
  try {
    const why = await executor.started()
    if (why !== undefined) return { name, held: false, detail: `no executor: ${why}` }
    const frame = encodeFrame(FRAME.task, { key: name, stage, encoding: task.encoding, limits, seed: '', nowMs: 0 }, [task.code, ...task.input])
    const outcome = outcomeOf(await executor.request(frame, { timeoutMs, maxReplyBytes: MAX_ANSWER_BYTES + limits.outputBytes }), task, 0)
    return { name, ...holds(outcome) }
  } finally {
    executor.kill()
    await executor.gone
  }
}
