/** `conclave status`: this node and what it sees of the network. */
import { EXIT } from '../errors.ts'
import type { StatusReply } from '../daemon/routes.ts'
import { bytes, plain, shortPeer, waitingLines } from './format.ts'
import { control } from './command.ts'
import type { Command } from './command.ts'

export const status: Command = {
  name: 'status',
  summary: 'this node, who leads, what waits and why',
  positionals: [],
  options: {},
  details: `
  conclave status --json
`,
  async run (context) {
    const client = await control(context)
    const reply = await client.status(context.signal)
    await (context.isJson ? context.out.json(reply) : context.out.data(statusText(reply)))
    return EXIT.ok
  }
}

/** Further lines of a row stand below its text. */
const INDENT = `\n${' '.repeat(11)}`

/** Pure. */
export function statusText (reply: StatusReply): string {
  const { jobs, slots, blocks, sandbox } = reply
  const leader = reply.leader === null ? 'nobody' : reply.leader === reply.peerId ? 'this node' : shortPeer(reply.leader)
  const rows: Array<[string, string]> = [
    ['peer', reply.peerId],
    ['network', reply.network],
    ['addresses', reply.addrs.join(INDENT)],
    ['role', `${reply.role}; ${leader} leads term ${reply.term}`],
    ['voters', `${reply.voters.length} of ${reply.members} members`],
    ['ledger', `${reply.commitIndex} entries committed, ${reply.appliedIndex} applied here`],
    ['jobs', `${jobs.running} running, ${jobs.finished} finished, ${jobs.failed} failed, ${jobs.cancelled} cancelled`],
    ['slots', `${slots.busy} of ${slots.total} busy`],
    ['blocks', `${blocks.count} blocks, ${bytes(blocks.bytes)} of ${bytes(blocks.maxBytes)}`],
    ['sandbox', [...sandbox.layers, ...(sandbox.missing ?? []).map((layer) => `NOT ${layer}`)].map(plain).join(INDENT)],
    ['process', `${reply.pid}, conclave ${reply.version}, in ${reply.dataDir}`]
  ]
  return rows.map(([name, text]) => `${name.padEnd(9)}  ${text}\n`).join('') + waitingLines(reply.waiting)
}
