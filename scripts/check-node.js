// The Node version, checked before anything of ours runs: on older ones libp2p fails with a misleading ECONNRESET.
// Plain JavaScript, since a Node that is too old cannot read our TypeScript either.
import process from 'node:process'

const [major] = process.versions.node.split('.').map(Number)
if (major < 24) {
  process.stderr.write(`conclave: Node ${process.versions.node} is too old: Node 24 or newer is needed.\n` +
    '  next: use `npm run …` in this folder, which brings its own Node (run `npm ci` first), or install Node 24\n')
  process.exit(1)
}
