/**
 * Whether an entry's statements are signed by whom they say. Raft's voters check before they propose (`check.ts`); whoever takes entries from
 * gossip or a catch-up stream checks here, so that a hostile voter may withhold or reorder what others signed, but not invent it.
 */
import { verifyStatement } from '../../keys/statement.ts'
import { STATEMENT_DOMAINS } from '../../protocols/ledger/constants.ts'
import { Command } from '../../protocols/ledger/messages.js'
import type { SignedStatement } from '../../protocols/ledger/messages.js'

/**
 * @param data - a committed entry's bytes; empty, or undecodable (which `apply` ignores), is authentic: it says nothing
 * @returns false where a job, a batch of receipts, a cancellation or a revocation does not carry its author's signature. Admissions and
 *   renewals are verified by `apply` itself
 */
export function isAuthentic (data: Uint8Array): boolean {
  let command: Command
  try {
    command = Command.decode(data)
  } catch {
    return true
  }
  const signed = (statement: SignedStatement | undefined, domain: string): boolean => statement !== undefined && verifyStatement(statement, domain)
  if (command.submit !== undefined) return signed(command.submit.signed, STATEMENT_DOMAINS.jobSpec)
  if (command.receipts !== undefined) return signed(command.receipts.signed, STATEMENT_DOMAINS.receipts)
  if (command.revoke !== undefined) return signed(command.revoke.signed, STATEMENT_DOMAINS.revocation)
  if (command.end?.status === 'cancelled') return signed(command.end.signed, STATEMENT_DOMAINS.cancel)
  return true
}
