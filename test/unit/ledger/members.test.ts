import assert from 'node:assert/strict'
import { CLOCK_SKEW_MS, issueCertificate, type Capability } from '../../../keys/certificate.ts'
import { renewCertificate } from '../../../keys/chain.ts'
import { rootChain } from '../../../keys/network.ts'
import { signStatement } from '../../../keys/statement.ts'
import { checkAdmit, checkRenew, checkRevoke } from '../../../src/ledger/check.ts'
import { admitCommand, encodeRevocation, renewCommand, revokeCommand } from '../../../src/ledger/command.ts'
import { can, jobInfo, rosterOf } from '../../../src/ledger/view.ts'
import { assign, emptyWorld, founder, network, NOW, person, root, spec, submit, submitAs, typesOf, workers, world } from './fixture.ts'
import type { Identity } from '../../../keys/identity.ts'

const HOUR = 3_600_000
const TICKET: readonly Capability[] = ['work', 'submit', 'observe']
const [ada] = workers as [Identity]
const founderChain = rootChain(root, { subject: founder.peerId, nowMs: NOW })

/** The chain of somebody who redeemed an invitation of this issuer. */
function invited (who: Identity, options: { invite?: Identity, uses?: number, issuer?: Identity, issuerChain?: Uint8Array[] } = {}): Uint8Array[] {
  const { invite = person(50), uses = 1, issuer = founder, issuerChain = founderChain } = options
  const grant = issueCertificate(issuer, { kind: 'grant', network, subject: invite.peerId, capabilities: TICKET, notBeforeMs: NOW, notAfterMs: NOW + HOUR, uses })
  const own = issueCertificate(invite, { kind: 'member', network, subject: who.peerId, capabilities: TICKET, notBeforeMs: NOW, notAfterMs: NOW + 24 * HOUR, uses: 0 })
  return [...issuerChain, grant, own]
}

const codeOf = (events: ReturnType<ReturnType<typeof world>['commit']>): string => events[0]?.type === 'command:invalid' ? events[0].code : events[0]?.type ?? 'nothing'

describe('ledger members', () => {
  it('admits as many as an invitation has uses, whatever was proposed meanwhile', () => {
    const w = world()
    const racing = [person(61), person(62)].map((who) => admitCommand(invited(who), NOW))
    assert.deepEqual(racing.map((command) => codeOf(w.commit(command))), ['member:admit', 'GRANT_USED_UP'])
    assert.deepEqual(w.ledger.grants.get(person(50).peerId), { used: 1, uses: 1, notAfterMs: NOW + HOUR })
  })

  it('takes no second use when the same admission is committed again', () => {
    const w = world()
    const command = admitCommand(invited(person(61), { uses: 2 }), NOW)
    assert.deepEqual([codeOf(w.commit(command)), codeOf(w.commit(command))], ['member:admit', 'nothing'])
    assert.equal(w.ledger.grants.get(person(50).peerId)?.used, 1)
    assert.equal(checkAdmit(w.ledger, invited(person(61), { uses: 2 }), NOW).verdict, 'ignore')
  })

  it('holds the dates against the command, not against a clock', () => {
    const w = world()
    assert.equal(codeOf(w.commit(admitCommand(invited(person(61)), NOW + HOUR + CLOCK_SKEW_MS + 1))), 'GRANT_EXPIRED')
    assert.equal(codeOf(w.commit(admitCommand(invited(person(61)), NOW + 25 * HOUR))), 'CERT_EXPIRED')
    assert.equal(codeOf(w.commit(admitCommand(invited(person(61)), NOW + HOUR))), 'member:admit')
  })

  it('refuses who was invited by somebody that is no member', () => {
    const w = emptyWorld()
    assert.equal(codeOf(w.commit(admitCommand(invited(person(61)), NOW))), 'ISSUER_UNKNOWN')
    assert.equal(codeOf(w.commit(admitCommand(founderChain, NOW))), 'member:admit')
    assert.equal(codeOf(w.commit(admitCommand(invited(person(61)), NOW))), 'member:admit')
  })

  it('refuses a chain with one bit flipped', () => {
    const w = world()
    const chain = invited(person(61)).map((bytes) => bytes.slice())
    const last = chain.at(-1) as Uint8Array
    last[last.length - 1] = (last.at(-1) ?? 0) ^ 1
    assert.equal(codeOf(w.commit(admitCommand(chain, NOW))), 'CERT_BAD_SIGNATURE')
  })

  it('renews a member for the same capabilities or fewer, and never the wrong way in time', () => {
    const w = world()
    const chain = w.ledger.members.get(ada.peerId)?.chain ?? []
    const later = renewCertificate(founder, { chain, network, nowMs: NOW + HOUR, capabilities: ['work'] })
    assert.equal(checkRenew(w.ledger, later, NOW + HOUR).verdict, 'accept')
    assert.equal(codeOf(w.commit(renewCommand(later, NOW + HOUR))), 'member:renew')
    assert.equal(codeOf(w.commit(renewCommand(later, NOW + HOUR))), 'nothing')
    assert.deepEqual(w.ledger.members.get(ada.peerId)?.capabilities, ['work'])
    const widened = rootChain(root, { subject: ada.peerId, nowMs: NOW + 2 * HOUR, capabilities: ['work', 'vote'] })
    assert.equal(codeOf(w.commit(renewCommand(widened, NOW + 2 * HOUR))), 'WIDENED')
    const byNobody = renewCertificate(ada, { chain, network, nowMs: NOW + 2 * HOUR })
    assert.equal(codeOf(w.commit(renewCommand(byNobody, NOW + 2 * HOUR))), 'CERT_EXTENDER')
  })

  it('puts a revoked member out: its attempts come back, its jobs end, it is never admitted again', () => {
    const w = world()
    const theirs = submitAs(w, spec({ submitter: ada.peerId }), ada)
    const ours = submit(w)
    assign(w, ours, 0, 0, ada.peerId)
    const signed = signStatement(founder, 'revocation', encodeRevocation(network, ada.peerId, NOW))
    assert.equal(checkRevoke(w.ledger, signed, founderChain, NOW).verdict, 'accept')
    assert.deepEqual(typesOf(w.commit(revokeCommand(signed, founderChain))), ['member:revoke', 'job:fail', 'task:release'])
    assert.equal(jobInfo(w.ledger, theirs)?.code, 'SUBMITTER_REVOKED')
    assert.deepEqual([...w.ledger.running.get(ours)?.stages[0]?.pending ?? []], [1, 0])
    assert.ok(rosterOf(w.ledger).revoked.has(ada.peerId))
    assert.equal(can(w.ledger, ada.peerId, 'work'), false)
    assert.equal(codeOf(w.commit(admitCommand(invited(ada), NOW))), 'REVOKED')
    assert.equal(codeOf(w.commit(revokeCommand(signed, founderChain))), 'nothing')
  })

  it('lets only the root and members that may invite revoke', () => {
    const w = world()
    const by = (who: Identity): ReturnType<typeof signStatement> => signStatement(who, 'revocation', encodeRevocation(network, workers[1]?.peerId ?? founder.peerId, NOW))
    assert.equal(codeOf(w.commit(revokeCommand(by(ada), []))), 'NOT_ALLOWED')
    assert.equal(checkRevoke(w.ledger, { ...by(root), signature: by(founder).signature }, [], NOW).verdict, 'reject')
    assert.equal(checkRevoke(w.ledger, by(root), [], NOW).verdict, 'accept')
    assert.equal(codeOf(w.commit(revokeCommand(by(root), []))), 'member:revoke')
  })
})
