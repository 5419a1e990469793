#!/usr/bin/env node
/** The `conclave` command. Checks the Node version before anything else is loaded: on an older one libp2p fails with a misleading ECONNRESET. */
import process from 'node:process'

const NEEDED = 24

if (Number(process.versions.node.split('.')[0]) < NEEDED) {
  process.stderr.write(`conclave: NODE_TOO_OLD: Node ${process.versions.node} runs this, ${NEEDED} or newer is needed\n  next: install Node ${NEEDED}\n`)
  process.exitCode = 2
} else {
  const { main } = await import('./cli.ts')
  await main()
}
