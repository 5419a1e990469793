import assert from 'node:assert/strict'
import { describeLayers, jailCommand, missingTool, type JailSpec } from '../../../src/participant/sandbox/jail.ts'
import { seccompProgram } from '../../../src/participant/sandbox/seccomp.ts'

const SPEC: JailSpec = {
  kind: 'bwrap',
  tools: { bwrap: '/b/bwrap', unshare: '/b/unshare', prlimit: '/b/prlimit', setpriv: '/b/setpriv', nice: '/b/nice' },
  bounds: { dataBytes: 1048576, cpuSeconds: 9, maxFiles: 64 },
  node: '/n/node',
  flags: ['--flag'],
  main: ['/code/main.js', 'argument'],
  files: ['/code', '/package.json'],
  libraries: ['/lib/libc.so'],
  seccompFd: 4,
  isPermissionOn: true
}

/** Runs a classic BPF program over a struct seccomp_data, as the kernel does. */
function runFilter (program: Uint8Array, { nr, arch, argument = 0 }: { nr: number, arch: number, argument?: number }): string {
  const view = Buffer.from(program)
  const loads: Record<number, number> = { 0: nr, 4: arch, 16: argument }
  let a = 0
  for (let i = 0; ; i++) {
    assert.ok(i * 8 < view.length, 'a jump beyond the end')
    const [op, yes, no, k] = [view.readUInt16LE(i * 8), view.readUInt8(i * 8 + 2), view.readUInt8(i * 8 + 3), view.readUInt32LE(i * 8 + 4)]
    if (op === 0x20) a = loads[k] as number
    else if (op === 0x15) i += a === k ? yes : no
    else if (op === 0x35) i += a >= k ? yes : no
    else if (op === 0x45) i += (a & k) !== 0 ? yes : no
    else if (op === 0x06) return { 0x7FFF0000: 'allow', 0x00050001: 'EPERM', 0x00050026: 'ENOSYS' }[k] ?? `0x${k.toString(16)}`
    else assert.fail(`operation ${op}`)
  }
}

describe('the jail\'s command line', () => {
  it('stands bounds before the jail, and the jail before Node', () => {
    const command = jailCommand(SPEC)
    const at = ['/b/nice', '/b/setpriv', '/b/prlimit', '/b/bwrap', '/n/node', '--permission', '/code/main.js'].map(part => command.indexOf(part, part === '/n/node' ? command.indexOf('--') : 0))
    assert.deepEqual(at, [...at].sort((a, b) => a - b))
    assert.ok(!at.includes(-1))
    assert.deepEqual(command.slice(-2), ['/code/main.js', 'argument'])
    assert.ok(!command.includes('/b/unshare'))
  })

  it('binds read-only, and nothing but what Node needs', () => {
    const command = jailCommand(SPEC)
    const bound = command.flatMap((part, i) => part.startsWith('--') && part.includes('bind') ? [[part, command[i + 1]]] : [])
    assert.deepEqual(bound, [['--ro-bind', '/n/node'], ['--ro-bind', '/lib/libc.so'], ['--ro-bind', '/code'], ['--ro-bind', '/package.json']])
    for (const part of ['--unshare-all', '--die-with-parent', '--new-session', '--remount-ro']) assert.ok(command.includes(part), part)
  })

  it('ends with its parent in every kind of jail', () => {
    for (const kind of ['bwrap', 'unshare', 'none'] as const) assert.deepEqual(jailCommand({ ...SPEC, kind }).slice(3, 6), ['/b/setpriv', '--pdeathsig', 'KILL'])
    assert.ok(jailCommand({ ...SPEC, kind: 'unshare' }).includes('--kill-child=KILL'))
  })

  it('does without tools that are not there, and says so', () => {
    assert.deepEqual(jailCommand({ ...SPEC, kind: 'none', tools: {}, isPermissionOn: false, seccompFd: undefined }), ['/n/node', '--flag', '/code/main.js', 'argument'])
    assert.match(missingTool('bwrap', {}), /bwrap is not installed/)
    assert.match(missingTool('unshare', { unshare: '/b/unshare' }), /prlimit/)
    assert.equal(missingTool('none', {}), '')
    assert.equal(describeLayers({ ...SPEC, kind: 'none', tools: {}, isPermissionOn: false, seccompFd: undefined }).length, 2)
    assert.equal(describeLayers(SPEC).length, 6)
  })
})

describe('the seccomp filter', () => {
  const MACHINES = {
    x64: { arch: 0xC000003E, read: 0, clone: 56, socket: 41, execve: 59, fork: 57, ptrace: 101, mmap: 9 },
    arm64: { arch: 0xC00000B7, read: 63, clone: 220, socket: 198, execve: 221, fork: undefined, ptrace: 117, mmap: 222 }
  } as const
  for (const [name, { arch, read, clone, socket, execve, fork, ptrace, mmap }] of Object.entries(MACHINES)) {
    it(`lets ${name} read, map and start threads, but no processes, sockets or tracing`, () => {
      const program = seccompProgram(name)
      assert.ok(program !== undefined)
      const run = (nr: number, argument?: number): string => runFilter(program, { nr, arch, ...(argument === undefined ? {} : { argument }) })
      assert.deepEqual([run(read), run(mmap), run(execve)], ['allow', 'allow', 'allow'])
      assert.deepEqual([run(socket), run(ptrace)], ['EPERM', 'EPERM'])
      if (fork !== undefined) assert.equal(run(fork), 'EPERM')
      assert.equal(run(clone, 0x3D0F00), 'allow', 'the flags of pthread_create')
      assert.equal(run(clone, 0x1200011), 'EPERM', 'the flags of fork')
      assert.equal(run(435), 'ENOSYS')
      assert.equal(run(0x40000000 + read), 'EPERM', 'the x32 ABI')
      assert.equal(runFilter(program, { nr: read, arch: 0x40000003 }), 'EPERM', 'another architecture')
    })
  }

  it('is not there for machines whose numbers are unknown', () => {
    assert.equal(seccompProgram('riscv64'), undefined)
  })
})
