/** `conclave peers`: the members, and which of them are connected. */
import { EXIT } from '../errors.ts'
import type { PeerInfo } from '../api.ts'
import { table } from './format.ts'
import { control } from './command.ts'
import type { Command } from './command.ts'

export const peers: Command = {
  name: 'peers',
  summary: 'the members of the network, and who is connected',
  positionals: [],
  options: {},
  details: `
  conclave peers --json
`,
  async run (context) {
    const client = await control(context)
    const found = await client.peers(context.signal)
    await (context.isJson ? context.out.json({ peers: found }) : context.out.data(peersText(found)))
    return EXIT.ok
  }
}

/** Pure. */
export function peersText (found: readonly PeerInfo[]): string {
  if (found.length === 0) return 'no other members yet: conclave invite prints a ticket for one\n'
  const rows = found.map((peer) => [
    peer.peerId,
    peer.connected ? 'yes' : 'no',
    peer.leader ? 'leader' : peer.voter ? 'voter' : 'member',
    peer.rttMs === null ? '' : `${peer.rttMs.toFixed(1)} ms`,
    peer.capabilities.join(','),
    new Date(peer.notAfter).toISOString().slice(0, 16).replace('T', ' '),
    peer.addrs[0] ?? ''
  ])
  return table([['PEER', 'CONNECTED', 'ROLE', 'RTT', 'MAY', 'UNTIL (UTC)', 'ADDRESS'], ...rows])
}
