import assert from 'node:assert/strict'
import { CERTIFICATE_LIFETIME_MS, CLOCK_SKEW_MS, decodeCertificate, issueCertificate, MAX_CERTIFICATE_BYTES } from '../../../keys/certificate.ts'
import { renewCertificate, verifyChain } from '../../../keys/chain.ts'
import { Certificate, CertificateBody } from '../../../keys/messages.js'
import { networkIdOf, rootChain } from '../../../keys/network.ts'
import { bytesToSign } from '../../../keys/statement.ts'
import { DAY, extension, founder, founderChain, grant, HOUR, inviteKey, member, memberCertificate, memberChain, MINUTE, network, NOW, person, root, stranger, TICKET, told } from './fixture.ts'
import type { ChainRules } from '../../../keys/chain.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'

const judge = (chain: readonly Uint8Array[], rules: Partial<ChainRules & { holder: PeerIdStr, nowMs: number }> = {}): string =>
  told(verifyChain(chain, { network, holder: member.peerId, nowMs: NOW + MINUTE, ...rules }))

const forged = person(8)
const otherRoot = person(7)
const extenders = { mayExtend: (peer: PeerIdStr) => peer === founder.peerId }

describe('certificate chain', () => {
  it('says whose it is, what it grants, and what it rests upon', () => {
    const verdict = verifyChain(memberChain, { network, holder: member.peerId, nowMs: NOW })
    assert.deepEqual(verdict, {
      verdict: 'accept',
      value: {
        holder: member.peerId,
        capabilities: TICKET,
        notBeforeMs: NOW,
        notAfterMs: NOW + 7 * DAY,
        grant: { id: inviteKey.peerId, uses: 1, notAfterMs: NOW + HOUR },
        issuers: [founder.peerId]
      }
    })
    const founders = verifyChain(founderChain, { network, holder: founder.peerId, nowMs: NOW })
    assert.equal(founders.verdict === 'accept' && founders.value.grant, undefined)
    assert.deepEqual(founders.verdict === 'accept' && founders.value.issuers, [])
  })

  const cases: Array<[string, string, () => string]> = [
    // valid
    ['a fresh chain', 'accept', () => judge(memberChain)],
    ['at the last moment of its skewed life', 'accept', () => judge(memberChain, { nowMs: NOW + 7 * DAY + CLOCK_SKEW_MS })],
    ['long after its grant has ended', 'accept', () => judge(memberChain, { nowMs: NOW + 6 * DAY })],
    ['from a joiner whose clock is 5 minutes behind', 'accept', () => judge([...founderChain, grant(), memberCertificate({ notBeforeMs: NOW - 5 * MINUTE, notAfterMs: NOW + DAY })])],
    ['judged by a clock that is 5 minutes behind', 'accept', () => judge(memberChain, { nowMs: NOW - CLOCK_SKEW_MS })],
    ['with fewer capabilities than its grant', 'accept', () => judge([...founderChain, grant(), memberCertificate({ capabilities: ['observe'] })])],
    // dates
    ['expired', 'CERT_EXPIRED', () => judge(memberChain, { nowMs: NOW + 7 * DAY + CLOCK_SKEW_MS + 1 })],
    ['not yet valid', 'CERT_NOT_YET_VALID', () => judge(memberChain, { nowMs: NOW - CLOCK_SKEW_MS - 1 })],
    ['valid for longer than 7 days', 'CERT_TOO_LONG_LIVED', () => judge([...founderChain, grant(), memberCertificate({ notAfterMs: NOW + CERTIFICATE_LIFETIME_MS + 1 })])],
    ['that ends before it begins', 'CERT_MALFORMED', () => judge([...founderChain, grant(), memberCertificate({ notAfterMs: NOW })])],
    ['made after its grant had ended', 'CERT_OUTSIDE_ISSUER', () => judge([...founderChain, grant(), memberCertificate({ notBeforeMs: NOW + HOUR + CLOCK_SKEW_MS + 1, notAfterMs: NOW + DAY })])],
    ['made before its grant', 'CERT_OUTSIDE_ISSUER', () => judge([...founderChain, grant(), memberCertificate({ notBeforeMs: NOW - CLOCK_SKEW_MS - 1, notAfterMs: NOW + DAY })])],
    ['whose grant outlasts the one who gave it', 'CERT_OUTSIDE_ISSUER', () => judge([...founderChain, grant({ notBeforeMs: NOW + DAY, notAfterMs: NOW + 7 * DAY + 1 }), memberCertificate()])],
    ['whose grant is older than the one who gave it', 'CERT_OUTSIDE_ISSUER', () => judge([...founderChain, grant({ notBeforeMs: NOW - CLOCK_SKEW_MS - 1 }), memberCertificate()])],
    // network, signers, holder
    ['of another network', 'CERT_WRONG_NETWORK', () => judge(memberChain, { network: networkIdOf(otherRoot) })],
    ['with one link of another network', 'CERT_WRONG_NETWORK', () => judge([...founderChain, grant({ network: networkIdOf(otherRoot) }), memberCertificate()])],
    ['self-signed in the name of this network', 'CERT_WRONG_SIGNER', () => judge([issueCertificate(member, { kind: 'member', network, subject: member.peerId, capabilities: TICKET, notBeforeMs: NOW, notAfterMs: NOW + DAY, uses: 0 })])],
    ['under a root of its own', 'CERT_WRONG_NETWORK', () => judge(rootChain(otherRoot, { subject: member.peerId, nowMs: NOW }))],
    ['stolen from somebody else', 'CERT_WRONG_HOLDER', () => judge(memberChain, { holder: stranger.peerId })],
    ['whose grant a stranger signed', 'CERT_WRONG_SIGNER', () => judge([...founderChain, grant({}, stranger), memberCertificate()])],
    ['whose member signed for itself instead of the invite key', 'CERT_WRONG_SIGNER', () => judge([...founderChain, grant(), memberCertificate({}, member)])],
    ['that leaves out the grant', 'CERT_CHAIN_ORDER', () => judge([...founderChain, memberCertificate({}, founder)])],
    ['that leaves out the founder', 'CERT_CHAIN_ORDER', () => judge([grant({}, root), memberCertificate()])],
    ['that begins with a member whom the root did not sign', 'CERT_WRONG_SIGNER', () => judge([memberCertificate({}, founder)])],
    ['that ends with the invite key', 'CERT_CHAIN_ORDER', () => judge([...founderChain, grant()], { holder: inviteKey.peerId })],
    ['in which an invite key invites', 'CERT_CHAIN_ORDER', () => judge([...founderChain, grant({ capabilities: [...TICKET, 'invite'] }), grant({ subject: forged.peerId }, inviteKey), memberCertificate({}, forged)])],
    ['in another order', 'CERT_WRONG_SIGNER', () => judge(memberChain.toReversed())],
    // capabilities
    ['that widens what was granted', 'CERT_WIDENED', () => judge([...founderChain, grant({ capabilities: ['observe'] }), memberCertificate({ capabilities: ['observe', 'vote'] })])],
    ['that widens to invite', 'CERT_WIDENED', () => judge([...founderChain, grant(), memberCertificate({ capabilities: [...TICKET, 'invite'] })])],
    ['without any capability', 'CERT_MALFORMED', () => judge([...founderChain, grant(), memberCertificate({ capabilities: [] })])],
    ['whose inviter may not invite', 'CERT_NOT_ISSUER', () => judge([...rootChain(root, { subject: founder.peerId, nowMs: NOW, capabilities: TICKET }), grant(), memberCertificate()])],
    ['with a grant for no member at all', 'CERT_MALFORMED', () => judge([...founderChain, grant({ uses: 0 }), memberCertificate()])],
    ['with a grant for too many', 'CERT_MALFORMED', () => judge([...founderChain, grant({ uses: 1001 }), memberCertificate()])],
    ['with uses where there is nothing to use', 'CERT_MALFORMED', () => judge([...founderChain, grant(), memberCertificate({ uses: 1 })])],
    // length and size
    ['empty', 'CERT_CHAIN_LENGTH', () => judge([])],
    ['of seven links', 'CERT_CHAIN_LENGTH', () => judge([...memberChain, ...memberChain, grant()])],
    ['with a huge link', 'CERT_TOO_LARGE', () => judge([...founderChain, new Uint8Array(MAX_CERTIFICATE_BYTES + 1), memberCertificate()])],
    ['with an empty link', 'CERT_MALFORMED', () => judge([...founderChain, new Uint8Array(), memberCertificate()])],
    // extension
    ['extended by a member with vote', 'accept', () => judge([...memberChain, extension()], { nowMs: NOW + 10 * DAY, ...extenders })],
    ['extended, where nobody may extend', 'CERT_EXTENDER', () => judge([...memberChain, extension()])],
    ['extended by itself', 'CERT_EXTENDER', () => judge([...memberChain, extension({}, member)], extenders)],
    ['extended twice in one chain', 'CERT_CHAIN_ORDER', () => judge([...memberChain, extension(), extension({ notBeforeMs: NOW + 8 * DAY, notAfterMs: NOW + 15 * DAY })], extenders)],
    ['extended for another key', 'CERT_WRONG_HOLDER', () => judge([...memberChain, extension({ subject: stranger.peerId })], { holder: stranger.peerId, ...extenders })],
    ['extended to more capabilities', 'CERT_WIDENED', () => judge([...memberChain, extension({ capabilities: [...TICKET, 'invite'] })], extenders)],
    ['extended backwards', 'CERT_OUTSIDE_ISSUER', () => judge([...memberChain, extension({ notBeforeMs: NOW - DAY, notAfterMs: NOW + DAY })], extenders)],
    ['whose extension expired', 'CERT_EXPIRED', () => judge([...memberChain, extension()], { nowMs: NOW + 12 * DAY, ...extenders })]
  ]
  for (const [what, expected, run] of cases) {
    it(`${expected === 'accept' ? 'accepts' : 'rejects'} one ${what}${expected === 'accept' ? '' : `: ${expected}`}`, () => {
      assert.equal(run(), expected)
    })
  }

  it('lets invited members invite in turn, and names whom a chain rests upon', () => {
    const second = person(10)
    const secondKey = person(11)
    const chain = [...founderChain, grant({ capabilities: [...TICKET, 'invite'] }), memberCertificate({ capabilities: [...TICKET, 'invite'] }),
      grant({ subject: secondKey.peerId }, member), memberCertificate({ subject: second.peerId }, secondKey)]
    const verdict = verifyChain(chain, { network, holder: second.peerId, nowMs: NOW })
    assert.equal(verdict.verdict, 'accept')
    assert.deepEqual(verdict.verdict === 'accept' && verdict.value.issuers, [founder.peerId, member.peerId])
    assert.equal(verdict.verdict === 'accept' && verdict.value.grant?.id, secondKey.peerId)
  })

  it('rejects a chain in which any one bit is flipped', () => {
    for (const [link, certificate] of memberChain.entries()) {
      for (let bit = 0; bit < certificate.byteLength * 8; bit++) {
        const flipped = certificate.slice()
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const verdict = verifyChain(memberChain.with(link, flipped), { network, holder: member.peerId, nowMs: NOW })
        assert.equal(verdict.verdict, 'reject', `link ${link}, bit ${bit}`)
      }
    }
  })

  it('rejects a chain that is cut anywhere, or has bytes too many', () => {
    for (const [link, certificate] of memberChain.entries()) {
      for (let length = 0; length < certificate.byteLength; length++) {
        assert.equal(judge(memberChain.with(link, certificate.slice(0, length))), 'CERT_MALFORMED')
      }
      for (const more of [[0], [0x1a, 0x00], [0x18, 0x01]]) {
        assert.equal(judge(memberChain.with(link, Uint8Array.from([...certificate, ...more]))), 'CERT_MALFORMED')
      }
    }
  })

  it('takes one encoding of a certificate only, also where its issuer signed another', () => {
    const body = Certificate.decode(memberCertificate()).body
    const unusual = Uint8Array.from([...body, 0x48, 0x01])
    const signed = Certificate.encode({ body: unusual, signature: inviteKey.sign(bytesToSign('certificate', unusual)) })
    assert.equal(told(decodeCertificate(signed)), 'CERT_MALFORMED')
  })

  it('knows no capability and no kind that it was not built with', () => {
    const fields = CertificateBody.decode(Certificate.decode(memberCertificate()).body)
    for (const change of [{ capabilities: 32 }, { capabilities: 0xffffffff }, { kind: 'root' }, { kind: '' }, { subject: new Uint8Array(31) }]) {
      const body = CertificateBody.encode({ ...fields, ...change })
      const signed = Certificate.encode({ body, signature: inviteKey.sign(bytesToSign('certificate', body)) })
      assert.equal(told(decodeCertificate(signed)), 'CERT_MALFORMED', JSON.stringify(Object.keys(change)))
    }
  })
})

describe('renewal', () => {
  it('gives later dates, and takes the place of an earlier extension', () => {
    const later = NOW + 4 * DAY
    const once = renewCertificate(founder, { chain: memberChain, network, nowMs: later })
    const twice = renewCertificate(founder, { chain: once, network, nowMs: later + 4 * DAY })
    assert.equal(once.length, 4)
    assert.equal(twice.length, 4)
    const verdict = verifyChain(twice, { network, holder: member.peerId, nowMs: later + 10 * DAY, ...extenders })
    assert.equal(verdict.verdict === 'accept' && verdict.value.notAfterMs, later + 11 * DAY)
    assert.deepEqual(verdict.verdict === 'accept' && verdict.value.capabilities, TICKET)
  })

  it('brings back a member whose certificate expired a month ago', () => {
    const renewed = renewCertificate(founder, { chain: memberChain, network, nowMs: NOW + 40 * DAY })
    assert.equal(judge(renewed, { nowMs: NOW + 40 * DAY, ...extenders }), 'accept')
  })

  it('may keep fewer capabilities, never more', () => {
    const fewer = renewCertificate(founder, { chain: memberChain, network, nowMs: NOW + DAY, capabilities: ['observe'] })
    assert.equal(judge(fewer, { nowMs: NOW + DAY, ...extenders }), 'accept')
    const more = renewCertificate(founder, { chain: memberChain, network, nowMs: NOW + DAY, capabilities: ['invite'] })
    assert.equal(judge(more, { nowMs: NOW + DAY, ...extenders }), 'CERT_WIDENED')
  })

  it('throws for what is no chain of a member', () => {
    assert.throws(() => renewCertificate(founder, { chain: [], network, nowMs: NOW }), { code: 'CERT_CHAIN_LENGTH' })
    assert.throws(() => renewCertificate(founder, { chain: [...founderChain, grant()], network, nowMs: NOW }), { code: 'CERT_CHAIN_ORDER' })
  })
})
