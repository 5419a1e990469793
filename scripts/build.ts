/**
 * Compile the product to `dist/`: what `npm pack` ships. Development never needs it.
 * The generated messages are JavaScript already and are copied. The new tree replaces the old one only when it is whole.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const root = path.join(import.meta.dirname, '..')
const dist = path.join(root, 'dist')
const fresh = path.join(root, 'dist.tmp')

fs.rmSync(fresh, { recursive: true, force: true })
const tsc = spawnSync(path.join(root, 'node_modules/.bin/tsc'), ['-p', path.join(root, 'tsconfig.build.json'), '--outDir', fresh], { stdio: 'inherit' })
if (tsc.status !== 0) {
  fs.rmSync(fresh, { recursive: true, force: true })
  throw new Error(`tsc ended with ${tsc.status ?? tsc.signal ?? tsc.error?.message}`)
}

/** Everything that is shipped but not compiled: generated messages, modules that are data to us (executor bootstraps, pages). */
const COPIED = /\.(js|d\.ts|mjs|cjs|html|css|svg|json)$/
for (const folder of ['keys', 'protocols', 'src']) {
  for (const entry of fs.readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !COPIED.test(entry.name)) continue
    const from = path.join(entry.parentPath, entry.name)
    const to = path.join(fresh, path.relative(root, from))
    fs.mkdirSync(path.dirname(to), { recursive: true })
    fs.copyFileSync(from, to)
  }
}
const main = path.join(fresh, 'src/cli/main.js')
if (fs.existsSync(main)) fs.chmodSync(main, 0o755)
fs.rmSync(dist, { recursive: true, force: true })
fs.renameSync(fresh, dist)
