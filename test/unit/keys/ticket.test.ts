import assert from 'node:assert/strict'
import { verifyChain } from '../../../keys/chain.ts'
import { createInvite, decodeTicket, DEFAULT_TICKET_CAPABILITIES, encodeTicket, redeemTicket, TICKET_PREFIX } from '../../../keys/ticket.ts'
import { decodeChecked, encodeChecked } from '../../../keys/ticket-text.ts'
import { rootChain } from '../../../keys/network.ts'
import { ConclaveError } from '../../../keys/conclave-error.ts'
import { DAY, founder, founderChain, grant, HOUR, inviteKey, member, memberChain, MINUTE, network, NOW, root, TICKET } from './fixture.ts'
import type { InviteOptions } from '../../../keys/ticket.ts'

const seed = new Uint8Array(32).fill(3)
const fence = Uint8Array.from({ length: 16 }, (_, i) => i)
const addrs = [`/ip4/192.0.2.7/tcp/4001/p2p/${founder.peerId}`, `/ip6/2001:db8::1/tcp/4001/p2p/${founder.peerId}`]

const invite = (changes: Partial<InviteOptions> = {}): string => createInvite({
  identity: founder, chain: founderChain, network, fence, addrs, capabilities: DEFAULT_TICKET_CAPABILITIES, uses: 1, ttlMs: HOUR, nowMs: NOW, seed, ...changes
})

/** @returns the error that reading this text throws */
function errorOf (text: string): ConclaveError {
  try {
    decodeTicket(text)
  } catch (error) {
    assert.ok(error instanceof ConclaveError)
    return error
  }
  return assert.fail('the ticket was read')
}

describe('ticket', () => {
  const text = invite()

  it('carries all that a joiner needs', () => {
    assert.match(text, /^conclave1[a-z2-7]+$/)
    assert.ok(text.length < 1200, `${text.length} characters`)
    const ticket = decodeTicket(text)
    assert.equal(ticket.network, network)
    assert.deepEqual(ticket.fence, fence)
    assert.deepEqual(ticket.addrs, addrs)
    assert.deepEqual(ticket.inviteSeed, seed)
    assert.equal(encodeTicket(ticket), text)
  })

  it('lets its holder certify its own key, with what was granted', () => {
    const chain = redeemTicket(decodeTicket(text), member, NOW + 30 * MINUTE)
    const verdict = verifyChain(chain, { network, holder: member.peerId, nowMs: NOW + DAY })
    assert.equal(verdict.verdict, 'accept')
    assert.deepEqual(verdict.verdict === 'accept' && verdict.value.capabilities, TICKET)
    assert.deepEqual(verdict.verdict === 'accept' && verdict.value.grant, { id: inviteKey.peerId, uses: 1, notAfterMs: NOW + HOUR })
  })

  it('grants vote, work, submit and observe unless told otherwise, so that the founder may die', () => {
    assert.deepEqual(DEFAULT_TICKET_CAPABILITIES, ['vote', 'work', 'submit', 'observe'])
  })

  it('is read in capitals, with blanks and line breaks anywhere', () => {
    const wrapped = `\n  ${text.toUpperCase().replace(/(.{64})/g, '$1\r\n\t')}  \n`
    assert.deepEqual(decodeTicket(wrapped), decodeTicket(text))
  })

  it('is refused once it expired, with 5 minutes for the clocks', () => {
    const ticket = decodeTicket(text)
    assert.throws(() => redeemTicket(ticket, member, NOW + HOUR + 5 * MINUTE + 1), { code: 'TICKET_EXPIRED', details: { notAfterMs: NOW + HOUR } })
    assert.doesNotThrow(() => redeemTicket(ticket, member, NOW + HOUR + 5 * MINUTE))
    assert.throws(() => redeemTicket(ticket, member, NOW - DAY), { code: 'TICKET_INVALID', message: /clock/ })
  })

  it('is refused where its grant does not hold', () => {
    const ticket = decodeTicket(text)
    const bad: Array<[string, readonly Uint8Array[]]> = [
      ['for another key', [...founderChain, grant({ subject: member.peerId })]],
      ['signed by nobody', [...founderChain, grant({}, member)]],
      ['a member chain', memberChain],
      ['empty', []],
      ['wider than its issuer', [...rootChain(root, { subject: founder.peerId, nowMs: NOW, capabilities: ['invite'] }), grant()]]
    ]
    for (const [what, grantChain] of bad) assert.throws(() => redeemTicket({ ...ticket, grantChain }, member, NOW), { code: 'TICKET_INVALID' }, what)
  })

  it('is given only by who may invite, within limits', () => {
    const plain = rootChain(root, { subject: founder.peerId, nowMs: NOW, capabilities: TICKET })
    const denied: Array<[string, Partial<InviteOptions>]> = [
      ['INVITE_DENIED', { chain: plain }],
      ['INVITE_DENIED', { identity: member }],
      ['INVITE_DENIED', { nowMs: NOW + 8 * DAY }],
      ['INVITE_WIDENED', { chain: rootChain(root, { subject: founder.peerId, nowMs: NOW, capabilities: ['work', 'invite'] }) }],
      ['INVITE_LIMITS', { uses: 0 }],
      ['INVITE_LIMITS', { uses: 1.5 }],
      ['INVITE_LIMITS', { uses: 1001 }],
      ['INVITE_LIMITS', { ttlMs: 0 }],
      ['INVITE_LIMITS', { ttlMs: 7 * DAY + 1 }],
      ['INVITE_LIMITS', { capabilities: [] }],
      ['INVITE_LIMITS', { addrs: [] }],
      ['INVITE_LIMITS', { addrs: [...addrs, ...addrs, ...addrs] }],
      ['INVITE_LIMITS', { addrs: [`/dns/${'x'.repeat(300)}`] }]
    ]
    for (const [code, changes] of denied) assert.throws(() => invite(changes), { code }, JSON.stringify(Object.keys(changes)))
  })

  it('ends with the certificate of who gave it', () => {
    const ticket = decodeTicket(invite({ ttlMs: 7 * DAY, nowMs: NOW + 5 * DAY }))
    assert.throws(() => redeemTicket(ticket, member, NOW + 7 * DAY + HOUR), { code: 'TICKET_EXPIRED' })
  })
})

describe('ticket with a typo', () => {
  const text = invite()
  const other = (character: string): string => character === 'q' ? 'x' : 'q'
  const replaced = (position: number, character: string): string => text.slice(0, position - 1) + character + text.slice(position)

  it('names every position at which one character is wrong', () => {
    for (let position = TICKET_PREFIX.length + 1; position <= text.length; position++) {
      const error = errorOf(replaced(position, other(text.charAt(position - 1))))
      assert.equal(error.code, 'TICKET_DAMAGED')
      assert.deepEqual(error.details, { positions: [position] })
      assert.match(error.message, new RegExp(`character ${position} is mistyped`))
    }
  })

  it('names a character that never occurs', () => {
    const error = errorOf(replaced(17, '1'))
    assert.match(error.message, /character 17 \("1"\)/)
    assert.deepEqual(error.details, { positions: [17] })
  })

  it('counts without the line breaks', () => {
    const wrapped = `${text.slice(0, 12)}\n${replaced(40, other(text.charAt(39))).slice(12)}`
    assert.deepEqual(errorOf(wrapped).details, { positions: [40] })
  })

  it('names both of two swapped neighbours', () => {
    let swaps = 0
    for (let position = TICKET_PREFIX.length + 1; position < text.length; position += 7) {
      const [a, b] = [text.charAt(position - 1), text.charAt(position)]
      if (a === b || Math.floor((position - 10) / 64) !== Math.floor((position - 9) / 64)) continue
      swaps++
      assert.deepEqual(errorOf(text.slice(0, position - 1) + b + a + text.slice(position + 1)).details, { positions: [position, position + 1] })
    }
    assert.ok(swaps > 50)
  })

  it('tells a missing and a doubled character near their places', () => {
    for (const position of [10, 31, 73, 74, 200, 500]) {
      const missing = errorOf(text.slice(0, position - 1) + text.slice(position))
      const near = (missing.details.positions as number[] | undefined)?.[0] ?? 0
      assert.ok(Math.abs(near - position) <= 2, `${missing.message}, meant ${position}`)
      const doubled = errorOf(text.slice(0, position) + text.slice(position - 1))
      const at = (doubled.details.positions as number[] | undefined)?.[0] ?? 0
      assert.ok(Math.abs(at - position) <= 2, `${doubled.message}, meant ${position}`)
    }
  })

  it('names the group where more is wrong', () => {
    const garbled = text.slice(0, 80) + 'abcdefgh' + text.slice(88)
    assert.deepEqual(errorOf(garbled).details, { from: 74, to: 137 })
  })

  it('never reads a ticket that was cut', () => {
    for (let length = TICKET_PREFIX.length; length < text.length; length += 5) {
      assert.equal(errorOf(text.slice(0, length)).code, 'TICKET_DAMAGED')
    }
    assert.match(errorOf(text.slice(0, TICKET_PREFIX.length + 128)).message, /its end is missing/)
  })

  it('tells what is no ticket at all', () => {
    for (const no of ['', ' ', 'hello', '/ip4/127.0.0.1/tcp/4001', 'conclave', 'conclave2abc', 'x'.repeat(1e6)]) assert.equal(errorOf(no).code, 'TICKET_UNKNOWN')
    assert.equal(errorOf(TICKET_PREFIX + 'a'.repeat(1e6)).code, 'TICKET_DAMAGED')
  })

  it('keeps its secret out of every error', () => {
    for (const broken of [replaced(60, 'q'), text.slice(0, 300), replaced(17, '1'), `${text}${text}`, text.slice(100)]) {
      const error = errorOf(broken)
      const told = JSON.stringify([error.message, error.next, error.details, String(error.cause)])
      assert.ok(![...text.matchAll(/.{12}/g)].some(([piece]) => piece !== undefined && told.includes(piece)), told)
    }
  })
})

describe('checked text', () => {
  it('gives back bytes of any length', () => {
    for (let length = 1; length < 200; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 37 + length) & 0xff)
      assert.deepEqual(decodeChecked(encodeChecked(bytes)), { bytes })
    }
  })

  it('does not take groups that are missing, repeated or swapped', () => {
    const text = encodeChecked(Uint8Array.from({ length: 180 }, (_, i) => i))
    const groups = text.match(/.{1,64}/g) ?? []
    assert.equal(groups.length, 5)
    const wrong = [[0, 2, 3, 4], [1, 2, 3, 4], [0, 0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [0, 1, 2, 3], [4]]
    for (const order of wrong) assert.ok('fault' in decodeChecked(order.map(index => groups[index]).join('')), order.join())
  })
})
