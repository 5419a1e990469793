/** `conclave up`: be a member, until told to stop. */
import type { Readable } from 'node:stream'
import { ConclaveError, EXIT } from '../errors.ts'
import type { JoinOptions, LogEvent, NodeEvent, SandboxChoice } from '../api.ts'
import { startDaemon } from '../daemon/daemon.ts'
import type { Daemon } from '../daemon/daemon.ts'
import { toChoice, toCount } from './args.ts'
import { dataDirOf } from './command.ts'
import type { Command, Context } from './command.ts'
import { plain, shortPeer, waitingLines } from './format.ts'
import type { Output } from './output.ts'

/** A graceful stop takes at most this long. */
const STOP_MS = 10_000
/** Far above any ticket. */
const MAX_TICKET_CHARACTERS = 16_384
const LEVELS = ['debug', 'info', 'warn', 'error'] as const
const SANDBOXES: readonly SandboxChoice[] = ['auto', 'bwrap', 'unshare', 'none']

export const up: Command = {
  name: 'up',
  summary: 'start a node: found a network, join one by ticket, or come back',
  positionals: ['[TICKET|-]'],
  options: {
    listen: { type: 'string', multiple: true, value: 'ADDR', help: 'listen there (default: /ip4/0.0.0.0/tcp/0, any free port); repeatable' },
    bootstrap: { type: 'string', multiple: true, value: 'ADDR', help: 'dial this member first; repeatable' },
    slots: { type: 'string', value: 'N', help: 'tasks at the same time (default: cores - 1, at least 1); 0: none run here' },
    sandbox: { type: 'string', value: 'JAIL', help: 'auto (default), bwrap, unshare or none: what is around the executors' },
    'log-level': { type: 'string', value: 'LEVEL', help: 'debug, info, warn (default) or error, to stderr' },
    'stop-on-stdin-end': { type: 'boolean', help: 'stop when standard input ends: no parent, no node' }
  },
  details: `
Without a ticket, a new data directory founds a network, and a used one comes back to its own. With a ticket, the node joins the ticket's
network. A ticket on the command line can be read by every user of this machine (ps): prefer -, which reads it from standard input.

Ctrl+C or conclave down stops the node; a second Ctrl+C at once. With --json, one line {"event":"ready",…} says that it is up.

  conclave up
  conclave up - < ticket.txt
  conclave up --listen /ip4/0.0.0.0/tcp/4001 --data-dir /srv/conclave
`,
  async run (context) {
    const { out, signal, isJson, stdin, args } = context
    const stdinEnded = new AbortController()
    const options = await joinOptions(context)
    if (args.flag('stop-on-stdin-end')) untilEnd(stdin, () => stdinEnded.abort(new ConclaveError('ABORTED', 'standard input ended')))
    const stopping = AbortSignal.any([signal, stdinEnded.signal])
    // Loaded here: every other command does without libp2p, and answers at once.
    const { join } = await import('../index.ts')
    let daemon: Daemon
    try {
      daemon = await startDaemon({ ...options, version: context.version, join, signal: stopping, stopMs: STOP_MS })
    } catch (error) {
      if (stdinEnded.signal.aborted) return EXIT.ok
      throw error
    }
    if (!isJson) daemon.node.on((event) => tell(out, daemon.node.peerId, event))
    await tellReady(context, daemon)
    try {
      await Promise.race([daemon.stopAsked, daemon.failed, aborted(stopping)])
      if (!isJson) out.note('stopping')
    } finally {
      await daemon.stop()
    }
    return EXIT.ok
  }
}

async function joinOptions (context: Context): Promise<JoinOptions> {
  const { args, stdin, isJson, out } = context
  const level = toChoice('log-level', args.text('log-level') ?? 'warn', LEVELS)
  const slots = args.text('slots')
  const listen = args.texts('listen')
  const bootstrap = args.texts('bootstrap')
  const [given] = args.positionals
  const options: JoinOptions = { dataDir: dataDirOf(context), log: logger(out, level, isJson), sandbox: toChoice('sandbox', args.text('sandbox') ?? 'auto', SANDBOXES) }
  if (slots !== undefined) options.slots = toCount('slots', slots, 0, 1024)
  if (listen.length > 0) options.listen = listen
  const entry = given === '-' ? await readFirstLine(stdin) : given
  // A bare multiaddr is no ticket: it tells a member where to find the others.
  if (entry?.startsWith('/') === true) bootstrap.push(entry)
  else if (entry !== undefined) options.ticket = entry
  if (bootstrap.length > 0) options.bootstrap = bootstrap
  return options
}

async function tellReady ({ out, isJson, version }: Context, { node, socket }: Daemon): Promise<void> {
  const { peerId, network, dataDir } = node
  const addrs = node.addrs()
  const status = node.status()
  if (isJson) {
    await out.json({ event: 'ready', peerId, network, addrs, pid: process.pid, dataDir, socket, version, sandbox: status.sandbox })
    return
  }
  out.note(`conclave ${version} is up (process ${process.pid}, ${dataDir})
  peer       ${peerId}
  network    ${network}
  listening  ${addrs.join('\n             ')}
  sandbox    ${status.sandbox.layers.map(plain).join('\n             ')}
  ${status.members} ${status.members === 1 ? 'member' : 'members'}; another machine joins with: conclave invite
${waitingLines(status.waiting)}`)
}

function tell (out: Output, self: string, event: NodeEvent): void {
  const name = (peerId: string): string => peerId === self ? 'this node' : shortPeer(peerId)
  if (event.type === 'leader:change') out.note(event.leader === null ? `term ${event.term}: nobody leads` : `term ${event.term}: ${name(event.leader)} leads`)
  if (event.type === 'peer:connect') out.note(`${name(event.peerId)} connected`)
  if (event.type === 'peer:disconnect') out.note(`${name(event.peerId)} disconnected`)
  if (event.type === 'member:admit') out.note(`${name(event.peerId)} is a member now`)
  if (event.type === 'job:submit') out.note(`job ${event.job} (${plain(event.name)}) from ${name(event.submitter)}`)
  if (event.type === 'job:done') out.note(`job ${event.job} done`)
  if (event.type === 'job:fail') out.note(`job ${event.job} failed: ${plain(event.code)}: ${plain(event.reason)}`)
}

/** To stderr: as text, or as JSON lines with `--json`. */
function logger (out: Output, level: typeof LEVELS[number], isJson: boolean): (event: LogEvent) => void {
  const from = LEVELS.indexOf(level)
  return (event) => {
    if (LEVELS.indexOf(event.level) < from) return
    const { level: _level, event: name, ...facts } = event
    out.note(isJson ? JSON.stringify({ at: new Date().toISOString(), ...event }) : `${event.level} ${name} ${plain(JSON.stringify(facts))}`)
  }
}

/** Only one line is read: what comes after it stays, so that the end of the input can still mean something. */
async function readFirstLine (stdin: Readable): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ''
  const onData = (chunk: Buffer | string): void => {
    text += chunk.toString()
    if (text.trimStart().includes('\n')) resolve(text)
    else if (text.length > MAX_TICKET_CHARACTERS) reject(new ConclaveError('TICKET_UNKNOWN', 'what came from standard input is no ticket: it is too long', { next: 'conclave invite | conclave up -' }))
  }
  const onEnd = (): void => resolve(text)
  stdin.on('data', onData).once('end', onEnd).once('error', reject)
  try {
    const line = (await promise).trim().split('\n')[0]?.trim() ?? ''
    if (line === '') throw new ConclaveError('TICKET_UNKNOWN', 'standard input holds no ticket', { next: 'conclave invite | conclave up -' })
    return line
  } finally {
    stdin.off('data', onData).off('end', onEnd).off('error', reject)
    stdin.pause()
  }
}

function untilEnd (stdin: Readable, onEnd: () => void): void {
  if (stdin.readableEnded || stdin.destroyed) return onEnd()
  stdin.once('end', onEnd).once('close', onEnd).once('error', onEnd)
  stdin.resume()
}

async function aborted (signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => { signal.addEventListener('abort', () => resolve(), { once: true }) })
}
