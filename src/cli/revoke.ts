/** `conclave revoke`: put a member out for good. */
import { EXIT } from '../errors.ts'
import { control } from './command.ts'
import type { Command } from './command.ts'

export const revoke: Command = {
  name: 'revoke',
  summary: 'put a member out, for good',
  positionals: ['PEER'],
  options: {},
  details: `
PEER is a peer id as \`conclave peers\` prints it. Its connections are closed, its work goes to others, its jobs end; its key never comes in again. Needs a member
that may invite, such as the one that founded the network.

  conclave revoke 12D3KooW…
`,
  async run (context) {
    const client = await control(context)
    const peerId = context.args.positionals[0] ?? ''
    await client.revoke(peerId, context.signal)
    await (context.isJson ? context.out.json({ revoked: peerId }) : context.out.data(`${peerId} revoked\n`))
    return EXIT.ok
  }
}
