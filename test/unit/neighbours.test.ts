import assert from 'node:assert/strict'
import { ticketAddrs } from '../../src/neighbours.ts'

const at = (host: string, peer: string): string => `/ip4/${host}/tcp/4001/p2p/${peer}`

describe('the addresses of a ticket', () => {
  const table: Array<[says: string, own: string[], others: string[][], addrs: string[]]> = [
    ['are our own where we know nobody', [at('10.0.0.1', 'A')], [], [at('10.0.0.1', 'A')]],
    ['leave loopback out where another machine can use better', [at('127.0.0.1', 'A'), at('10.0.0.1', 'A')], [[at('127.0.0.1', 'B'), at('10.0.0.2', 'B')]], [at('10.0.0.1', 'A'), at('10.0.0.2', 'B')]],
    ['are loopback ones where there is nothing else', [at('127.0.0.1', 'A')], [[at('127.0.0.1', 'B')]], [at('127.0.0.1', 'A'), at('127.0.0.1', 'B')]],
    ['are four at most, two of them ours', ['1', '2', '3'].map((n) => at(`10.0.0.${n}`, 'A')), ['B', 'C', 'D'].map((peer, i) => [at(`10.0.1.${i}`, peer)]), [at('10.0.0.1', 'A'), at('10.0.0.2', 'A'), at('10.0.1.0', 'B'), at('10.0.1.1', 'C')]],
    ['skip members whose address nobody told', [at('10.0.0.1', 'A')], [[], [at('10.0.0.3', 'C')]], [at('10.0.0.1', 'A'), at('10.0.0.3', 'C')]]
  ]
  for (const [says, own, others, addrs] of table) it(says, () => { assert.deepEqual(ticketAddrs(own, others), addrs) })
})
