/** The lint rules bite: a fixture that breaks one is flagged by the command that `npm run lint` runs. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { judgeImport } from '../../../lint/arrows.ts'

const root = path.join(import.meta.dirname, '../../..')

const forbidden: [from: string, specifier: string, why: RegExp][] = [
  ['keys/ticket.ts', '../src/errors.ts', /keys may not import base/],
  ['keys/ticket.ts', 'libp2p', /libp2p is known to src\/overlay only/],
  ['protocols/policy.ts', '../src/errors.ts', /protocols may not import base/],
  ['protocols/policy.ts', 'node:fs', /pure/],
  ['src/ledger/apply.ts', 'node:crypto', /pure/],
  ['src/ledger/apply.ts', '../consensus/raft.ts', /ledger may not import raft/],
  ['src/ledger/apply.ts', '../overlay/overlay.ts', /ledger may not import overlay/],
  ['src/leader/plan.ts', 'node:timers', /pure/],
  ['src/leader/plan.ts', '../participant/accept.ts', /plan may not import accept/],
  ['src/participant/accept.ts', '../observer/order.ts', /accept may not import order/],
  ['src/observer/order.ts', './results.ts', /order may not import service/],
  ['src/consensus/raft.ts', 'node:fs', /pure/],
  ['src/consensus/raft.ts', './driver.ts', /raft may not import consensus/],
  ['src/consensus/raft.ts', '../ledger/apply.ts', /raft may not import ledger/],
  ['src/consensus/driver.ts', '../ledger/apply.ts', /consensus may not import ledger/],
  ['src/overlay/overlay.ts', '../leader/leader.ts', /overlay may not import service/],
  ['src/leader/leader.ts', '@libp2p/interface', /libp2p is known to/],
  ['src/leader/leader.ts', '../node.ts', /service may not import node/],
  ['src/node.ts', '../cli/main.ts', /belongs to no layer/],
  ['src/node.ts', './cli/main.ts', /node may not import cli/],
  ['src/index.ts', './daemon/server.ts', /index may not import daemon/],
  ['src/daemon/server.ts', '../node.ts', /daemon may not import node/],
  ['src/daemon/server.ts', '../cli/args.ts', /daemon may not import cli/],
  ['src/cli/run.ts', '../node.ts', /cli may not import node/],
  ['src/cli/run.ts', '../../test/fake.ts', /not part of the product/],
  ['src/novelty/thing.ts', './other.ts', /belongs to no layer/]
]

const allowed: [from: string, specifier: string][] = [
  ['keys/key-file.ts', 'node:fs'],
  ['keys/identity.ts', '@libp2p/crypto/keys'],
  ['src/ledger/apply.ts', '../../protocols/ledger/messages.js'],
  ['src/leader/plan.ts', '../ledger/state.ts'],
  ['src/leader/leader.ts', './plan.ts'],
  ['src/leader/leader.ts', '../overlay/overlay.ts'],
  ['src/overlay/overlay.ts', 'libp2p'],
  ['src/consensus/driver.ts', './raft.ts'],
  ['src/consensus/driver.ts', 'node:perf_hooks'],
  ['src/node.ts', './leader/leader.ts'],
  ['src/daemon/server.ts', '../index.ts'],
  ['src/cli/main.ts', '../daemon/client.ts'],
  ['test/unit/x.test.ts', '../../src/node.ts']
]

describe('the arrows of the design', () => {
  for (const [from, specifier, why] of forbidden) {
    it(`${from} may not import ${specifier}`, () => assert.match(judgeImport(from, specifier) ?? 'allowed', why))
  }
  for (const [from, specifier] of allowed) {
    it(`${from} may import ${specifier}`, () => assert.equal(judgeImport(from, specifier), undefined))
  }
})

describe('npm run lint', () => {
  let dir = ''
  before(() => { dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-lint-')) })
  after(() => fs.rmSync(dir, { recursive: true, force: true }))

  /** @returns the names of the rules that flagged this source */
  function lint (source: string): string[] {
    const file = path.join(dir, 'fixture.ts')
    fs.writeFileSync(file, source)
    const run = spawnSync(path.join(root, 'node_modules/.bin/oxlint'), ['-c', path.join(root, '.oxlintrc.json'), '--format', 'json', file], { encoding: 'utf8', cwd: dir })
    const found = JSON.parse(run.stdout) as { diagnostics: { code: string }[] }
    assert.equal(run.status === 0, found.diagnostics.length === 0, run.stdout)
    return found.diagnostics.map((diagnostic) => diagnostic.code).sort()
  }

  const clean = "import { a } from './a.ts'\n\nexport function b (): number { return a }\n"
  const cases: [name: string, source: string, rules: string[]][] = [
    ['passes a clean file', `// stands for src/ledger/x.ts\n${clean}`, []],
    ['flags an import against the arrows', "// stands for keys/x.ts\nimport { join } from '../src/index.ts'\nexport const b = join\n", ['conclave(arrows)']],
    ['flags a type-only import against the arrows', "// stands for src/ledger/x.ts\nimport type { A } from '../overlay/overlay.ts'\nexport type B = A\n", ['conclave(arrows)']],
    ['flags a re-export against the arrows', "// stands for src/overlay/x.ts\nexport { plan } from '../leader/plan.ts'\n", ['conclave(arrows)']],
    ['flags a dynamic import against the arrows', "// stands for src/leader/plan.ts\nexport const fs = async (): Promise<unknown> => await import('node:fs')\n", ['conclave(arrows)']],
    ['flags semicolons at the end of a line', '// stands for src/ledger/x.ts\nexport const a = 1;\n', ['conclave(no-semicolon)']],
    ['flags double quotes', '// stands for src/ledger/x.ts\nexport const a = "b"\n', ['conclave(quotes)']],
    ['flags a missing space before parameters', '// stands for src/ledger/x.ts\nexport function a(): void {}\n', ['conclave(function-paren)']],
    ['passes an anonymous function with its space', '// stands for src/ledger/x.ts\nexport const a = [1].map(function (b) { return b })\n', []],
    ['flags any', '// stands for src/ledger/x.ts\nexport const a = (b: any): unknown => b\n', ['typescript(no-explicit-any)']],
    ['flags an empty catch', '// stands for src/ledger/x.ts\nexport function a (): void { try { JSON.parse("\'") } catch {} }\n', ['eslint(no-empty)']]
  ]
  for (const [name, source, rules] of cases) it(name, () => assert.deepEqual(lint(source), rules)).timeout(20_000)
})
