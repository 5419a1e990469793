/**
 * Stop before the state is damaged: for what only a mistake of ours can break. Never for what a peer or a client sent.
 *
 * @throws Error named AssertionError
 */
export function assert (condition: unknown, message: string): asserts condition {
  if (condition === true) return
  const error = new Error(`this is a bug: ${message}`)
  error.name = 'AssertionError'
  throw error
}
