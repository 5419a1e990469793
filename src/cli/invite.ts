/** `conclave invite`: a ticket for another machine. */
import { renderUnicodeCompact } from 'uqr'
import { EXIT } from '../errors.ts'
import type { Capability, InviteOptions } from '../api.ts'
import { toChoices, toCount, toMs } from './args.ts'
import { control } from './command.ts'
import type { Command } from './command.ts'

const CAPABILITIES: readonly Capability[] = ['vote', 'work', 'submit', 'observe', 'invite']

export const invite: Command = {
  name: 'invite',
  summary: 'print a ticket with which another machine joins',
  positionals: [],
  options: {
    caps: { type: 'string', multiple: true, value: 'LIST', help: `what the joiner may do, of ${CAPABILITIES.join(',')} (default: vote,work,submit,observe)` },
    uses: { type: 'string', value: 'N', help: 'how many machines may join with it (default: 1)' },
    ttl: { type: 'string', value: 'TIME', help: 'how long it is good for, such as 10m or 2d (default: 1h)' },
    qr: { type: 'boolean', help: 'draw it as a QR code on stderr too' }
  },
  details: `
The ticket alone goes to stdout. It is a secret until it is used up or expired: send it by a channel that you trust.

  conclave invite | ssh lab conclave up -
  conclave invite --uses 4 --ttl 10m --caps work,observe
`,
  async run (context) {
    const { args, out, signal } = context
    const options: InviteOptions = {}
    const capabilities = toChoices('caps', args.texts('caps'), CAPABILITIES)
    const uses = args.text('uses')
    const ttl = args.text('ttl')
    if (capabilities !== undefined) options.capabilities = capabilities
    if (uses !== undefined) options.uses = toCount('uses', uses)
    if (ttl !== undefined) options.ttlMs = toMs('ttl', ttl)
    const client = await control(context)
    const ticket = await client.invite(options, signal)
    // Upper case fits into the denser alphanumeric mode of QR; tickets are read in either case.
    if (args.flag('qr')) out.note(renderUnicodeCompact(ticket.toUpperCase(), { ecc: 'L', border: 2 }))
    await (context.isJson ? out.json({ ticket }) : out.data(`${ticket}\n`))
    return EXIT.ok
  }
}
