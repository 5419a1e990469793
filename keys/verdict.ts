/**
 * What we think of something a peer sent. Never thrown.
 *
 * - `accept`: valid, with the value that was read from it
 * - `ignore`: an honest race (late, duplicate, not known yet): dropped without penalty
 * - `reject`: an honest peer would not have sent it: dropped, and held against the sender
 *
 * `code` is stable and upper snake case; `reason` is for people.
 */
export type Verdict<T = undefined> =
  | { readonly verdict: 'accept', readonly value: T }
  | { readonly verdict: 'ignore', readonly code: string, readonly reason: string }
  | { readonly verdict: 'reject', readonly code: string, readonly reason: string }

export const accept = <T>(value: T): Verdict<T> => ({ verdict: 'accept', value })
export const ignore = (code: string, reason: string): Verdict<never> => ({ verdict: 'ignore', code, reason })
export const reject = (code: string, reason: string): Verdict<never> => ({ verdict: 'reject', code, reason })
