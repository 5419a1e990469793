/** A small network with fixed keys: root → founder → invite key → member. */
import { issueCertificate } from '../../../keys/certificate.ts'
import { identityFromSeed } from '../../../keys/identity.ts'
import { networkIdOf, rootChain } from '../../../keys/network.ts'
import type { Capability, Certificate } from '../../../keys/certificate.ts'
import type { Identity } from '../../../keys/identity.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
export const NOW = Date.UTC(2026, 0, 10)

export const person = (number: number): Identity => identityFromSeed(new Uint8Array(32).fill(number))

export const root = person(1)
export const founder = person(2)
export const inviteKey = person(3)
export const member = person(4)
export const stranger = person(9)
export const network = networkIdOf(root)
export const TICKET: readonly Capability[] = ['vote', 'work', 'submit', 'observe']

export const founderChain = rootChain(root, { subject: founder.peerId, nowMs: NOW })

export type Fields = Partial<Omit<Certificate, 'issuer'>>

export const grant = (fields: Fields = {}, issuer = founder): Uint8Array => issueCertificate(issuer, {
  kind: 'grant', network, subject: inviteKey.peerId, capabilities: TICKET, notBeforeMs: NOW, notAfterMs: NOW + HOUR, uses: 1, ...fields
})

export const memberCertificate = (fields: Fields = {}, issuer = inviteKey): Uint8Array => issueCertificate(issuer, {
  kind: 'member', network, subject: member.peerId, capabilities: TICKET, notBeforeMs: NOW, notAfterMs: NOW + 7 * DAY, uses: 0, ...fields
})

export const extension = (fields: Fields = {}, issuer = founder): Uint8Array => issueCertificate(issuer, {
  kind: 'extension', network, subject: member.peerId, capabilities: TICKET, notBeforeMs: NOW + 4 * DAY, notAfterMs: NOW + 11 * DAY, uses: 0, ...fields
})

export const memberChain = [...founderChain, grant(), memberCertificate()]

/** @returns the verdict's word, with its code where it has one */
export function told (verdict: { verdict: string, code?: string }): string {
  return verdict.code ?? verdict.verdict
}
