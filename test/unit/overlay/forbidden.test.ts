import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'

const root = path.join(import.meta.dirname, '../../..')
const sources = ['keys', 'protocols', 'src'].flatMap(dir => fs.readdirSync(path.join(root, dir), { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map(name => path.posix.join(dir, name.split(path.sep).join('/'))))
/** Source without comments, so that a comment may name what is forbidden. */
const code = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
const filesWith = (pattern: RegExp, except: readonly string[] = []): string[] => sources.filter(file => !except.includes(file) && pattern.test(code(file)))

describe('what the source may not contain', () => {
  it('finds the source', () => {
    assert.ok(sources.length > 20)
  })

  it('waits for no drain promise: it works once (trap 1)', () => {
    assert.deepEqual(filesWith(/\bonDrain\s*\(/, []).filter(file => !/const onDrain = \(\)/.test(code(file))), [])
  })

  it('iterates no libp2p stream itself: that has no backpressure (trap 2)', () => {
    assert.deepEqual(filesWith(/for await \(const \w+ of (stream|rawStream|maConn|connection)\)/), [])
    assert.deepEqual(filesWith(/pipe\(\s*(stream|rawStream|maConn),/), [])
  })

  it('registers no middleware: it runs once more with each stream (trap 5)', () => {
    assert.deepEqual(filesWith(/\b(libp2p|node|registrar)\.use\s*\(/), [])
  })

  it('opens streams in one place: a stream per message costs a negotiation each', () => {
    assert.deepEqual(filesWith(/\.newStream\s*\(|\.dialProtocol\s*\(/), ['src/overlay/channels.ts'])
  })

  it('adds message listeners to streams in one place', () => {
    assert.deepEqual(filesWith(/addEventListener\('message'/), ['src/overlay/streams.ts'])
  })

  it('imports libp2p in the overlay only, and peer ids and keys in keys/', () => {
    const libp2p = /from '(libp2p|@libp2p\/|@chainsafe\/libp2p|@multiformats\/multiaddr|it-pipe)/
    assert.deepEqual(filesWith(libp2p).filter(file => !file.startsWith('src/overlay/') && !(file.startsWith('keys/') && !/from '(libp2p'|@libp2p\/(?!crypto|interface|peer-id))/.test(code(file)))), [])
  })
})
