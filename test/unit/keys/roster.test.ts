import assert from 'node:assert/strict'
import { attest, MAX_ATTESTATION_BYTES, verifyAttestation } from '../../../keys/attestation.ts'
import { renewCertificate } from '../../../keys/chain.ts'
import { networkIdOf, rootChain } from '../../../keys/network.ts'
import { judgePeer } from '../../../keys/roster.ts'
import { DAY, extension, founder, founderChain, grant, HOUR, inviteKey, member, memberCertificate, memberChain, MINUTE, network, NOW, person, root, stranger, TICKET, told } from './fixture.ts'
import type { Identity } from '../../../keys/identity.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'
import type { Credentials, Roster, RosterMember } from '../../../keys/roster.ts'

const founders: RosterMember = { capabilities: ['vote', 'work', 'submit', 'observe', 'invite'], notAfterMs: NOW + 7 * DAY }
const members: RosterMember = { capabilities: TICKET, notAfterMs: NOW + 7 * DAY, grantId: inviteKey.peerId }

const roster = (changes: Partial<Roster> = {}): Roster => ({ network, index: 10, members: new Map([[founder.peerId, founders]]), revoked: new Set(), ...changes })
const full = roster({ members: new Map([[founder.peerId, founders], [member.peerId, members]]) })
const empty = roster({ index: 0, members: new Map() })

const shown: Credentials = { chain: memberChain }
const attested = (index: number, signer: Identity = founder, own: Credentials = { chain: founderChain }, peer: PeerIdStr = member.peerId): Credentials =>
  ({ chain: memberChain, attestation: attest(signer, own, { network, peer, grant: inviteKey.peerId, index, term: 2 }) })

const judge = (state: Roster, credentials: Credentials = shown, nowMs = NOW + MINUTE, trusted?: ReadonlySet<PeerIdStr>, remote = member.peerId): string => {
  const verdict = judgePeer(state, remote, credentials, nowMs, trusted)
  return verdict.verdict === 'accept' ? verdict.value.mode : `${verdict.verdict} ${verdict.code}`
}

describe('judging a peer', () => {
  const cases: Array<[string, string, () => string]> = [
    ['whom the ledger lists', 'member', () => judge(full)],
    ['whom the ledger lists, whatever it shows', 'member', () => judge(full, { chain: [] })],
    ['whom the ledger lists as expired', 'renewal', () => judge(full, shown, NOW + 30 * DAY)],
    ['whom the ledger lists as expired, but for the skew', 'member', () => judge(full, shown, NOW + 7 * DAY + 5 * MINUTE)],
    ['who was revoked', 'reject REVOKED', () => judge(roster({ revoked: new Set([member.peerId]) }), attested(11))],
    ['who was revoked, though listed', 'reject REVOKED', () => judge({ ...full, revoked: new Set([member.peerId]) })],
    ['whose inviter was revoked', 'reject ISSUER_REVOKED', () => judge(roster({ members: new Map(), revoked: new Set([founder.peerId]) }))],
    ['with a good chain that nobody has admitted', 'ignore NEEDS_ADMISSION', () => judge(roster())],
    ['with a good chain, judged by an empty replica', 'ignore NEEDS_ADMISSION', () => judge(empty)],
    ['named by our ticket, while our replica is empty', 'member', () => judge(empty, shown, NOW, new Set([member.peerId]))],
    ['named by our ticket, once our replica knows better', 'ignore NEEDS_ADMISSION', () => judge(roster(), shown, NOW, new Set([member.peerId]))],
    ['named by our ticket, with the chain of another', 'reject CERT_WRONG_HOLDER', () => judge(empty, shown, NOW, new Set([stranger.peerId]), stranger.peerId)],
    ['attested ahead of our replica', 'member', () => judge(roster(), attested(11))],
    ['attested, judged by an empty replica', 'member', () => judge(empty, attested(4))],
    ['attested for an entry that we hold and that says otherwise', 'reject NOT_ADMITTED', () => judge(roster(), attested(10))],
    ['attested by a stranger', 'ignore NEEDS_ADMISSION', () => judge(roster(), attested(11, stranger, { chain: [] }))],
    ['attested by itself, unadmitted', 'ignore NEEDS_ADMISSION', () => judge(empty, attested(11, member, { chain: memberChain }))],
    ['attested by somebody whom we know without vote', 'ignore NEEDS_ADMISSION', () => judge(roster({ members: new Map([[founder.peerId, { ...founders, capabilities: ['work'] }]]) }), attested(11))],
    ['attested by somebody who was revoked', 'ignore NEEDS_ADMISSION', () => {
      const chief = person(20)
      return judge(roster({ revoked: new Set([chief.peerId]) }), attested(11, chief, { chain: rootChain(root, { subject: chief.peerId, nowMs: NOW }) }))
    }],
    ['without a certificate', 'reject CERT_CHAIN_LENGTH', () => judge(roster(), { chain: [] })],
    ['with the chain of another', 'reject CERT_WRONG_HOLDER', () => judge(roster(), shown, NOW, undefined, stranger.peerId)],
    ['of another network', 'reject CERT_WRONG_NETWORK', () => judge(roster({ network: networkIdOf(person(30)), members: new Map() }))],
    ['unlisted, with an expired chain', 'reject CERT_EXPIRED', () => judge(roster(), shown, NOW + 8 * DAY)],
    ['certified by the root itself, unlisted', 'member', () => judge(empty, { chain: founderChain }, NOW, undefined, founder.peerId)],
    ['renewed by a voter whom we know, attested ahead of us', 'member', () => judge(roster(), { ...attested(11), chain: [...memberChain, extension()] }, NOW + 10 * DAY)],
    ['renewed by a voter whom we do not know yet', 'ignore NEEDS_ADMISSION', () => judge(roster({ index: 3, members: new Map() }), { chain: [...memberChain, extension()] }, NOW + 10 * DAY)],
    ['renewed by itself', 'ignore NEEDS_ADMISSION', () => judge(roster(), { chain: renewCertificate(member, { chain: memberChain, network, nowMs: NOW + 10 * DAY }) }, NOW + 10 * DAY)]
  ]
  for (const [who, expected, run] of cases) {
    it(`${expected.split(' ').at(-1)}: one ${who}`, () => { assert.equal(run(), expected) })
  }
})

describe('attestation', () => {
  const rules = { network, peer: member.peerId, grant: inviteKey.peerId }
  const bytes = attest(founder, { chain: founderChain }, { ...rules, index: 7, term: 3 })

  it('says where and when the ledger admitted a peer', () => {
    assert.deepEqual(verifyAttestation(bytes, rules), { verdict: 'accept', value: { index: 7, term: 3 } })
  })

  it('holds for one peer, one grant and one network', () => {
    for (const change of [{ peer: stranger.peerId }, { grant: stranger.peerId }, { network: networkIdOf(stranger) }]) {
      assert.equal(told(verifyAttestation(bytes, { ...rules, ...change })), 'ATTESTATION_MISMATCH')
    }
  })

  it('is rejected where any one bit of it is flipped', () => {
    for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
      const flipped = bytes.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.equal(verifyAttestation(flipped, rules).verdict, 'reject', `bit ${bit}`)
    }
  })

  it('is rejected where it is cut or too large', () => {
    for (let length = 0; length < bytes.byteLength; length++) assert.equal(verifyAttestation(bytes.slice(0, length), rules).verdict, 'reject')
    assert.equal(told(verifyAttestation(new Uint8Array(MAX_ATTESTATION_BYTES + 1), rules)), 'ATTESTATION_TOO_LARGE')
  })

  it('needs a signer with vote', () => {
    const weak = attest(founder, { chain: rootChain(root, { subject: founder.peerId, nowMs: NOW, capabilities: ['invite', 'work'] }) }, { ...rules, index: 7, term: 3 })
    assert.equal(told(verifyAttestation(weak, rules)), 'ATTESTATION_SIGNER')
  })

  it('is believed through generations of leaders, up to a limit', () => {
    let leader: { identity: Identity, own: Credentials } = { identity: founder, own: { chain: founderChain } }
    const outcomes: string[] = []
    for (let generation = 0; generation < 12; generation++) {
      const [key, next] = [person(100 + generation), person(150 + generation)]
      const chain = [...founderChain, grant({ subject: key.peerId }), memberCertificate({ subject: next.peerId }, key)]
      const facts = { network, peer: next.peerId, grant: key.peerId }
      let attestation: Uint8Array
      try {
        attestation = attest(leader.identity, leader.own, { ...facts, index: generation + 2, term: 1 })
      } catch (error) {
        outcomes.push((error as { code: string }).code)
        continue
      }
      outcomes.push(told(verifyAttestation(attestation, facts)))
      leader = { identity: next, own: { chain, attestation } }
    }
    assert.deepEqual(outcomes.slice(0, 7), Array.from({ length: 7 }, () => 'accept'))
    assert.equal(outcomes.at(-1), 'ATTESTATION_TOO_LARGE')
  })

  it('does not let the holder of a ticket attest more keys than it was admitted with', () => {
    // member was admitted and may vote; it mints a second key from the same ticket and vouches for it
    const second = person(40)
    const chain = [...founderChain, grant(), memberCertificate({ subject: second.peerId })]
    const own = { chain: memberChain, attestation: attest(founder, { chain: founderChain }, { ...rules, index: 3, term: 1 }) }
    const lie = attest(member, own, { network, peer: second.peerId, grant: inviteKey.peerId, index: 9, term: 1 })
    assert.equal(judge(full, { chain, attestation: lie }, NOW + HOUR, undefined, second.peerId), 'reject NOT_ADMITTED')
  })
})
