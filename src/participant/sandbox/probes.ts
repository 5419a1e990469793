/**
 * Escape attempts with all the powers of Node.js, as job code would make them after breaking out of its isolate.
 * Runs inside an executor process, for the self-test only.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'

export interface ProbeRequest {
  /** Files that must stay unread. */
  files: string[]
  /** A path that must stay unwritten. */
  writable: string
  /** A port of 127.0.0.1 where the participant listens. */
  port: number
  /** The participant. */
  pid: number
  /** Programs that must not start. */
  programs: string[]
}

/** What got through; empty texts and zeros where nothing did. */
export interface ProbeAnswer { read: string, wrote: string, connected: string, listened: string, spawned: string, signalled: string, env: string }

const SOCKET_PATIENCE_MS = 500

/** @returns '' when the attempt failed, else what it got */
function attempt (what: () => string): string {
  try {
    return what()
  } catch {
    // the refusal is what we hope for
    return ''
  }
}

function connects (port: number): Promise<string> {
  return new Promise(resolve => {
    const timer = setTimeout(() => { socket.destroy(); resolve('') }, SOCKET_PATIENCE_MS)
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('connect', () => { clearTimeout(timer); socket.destroy(); resolve(`127.0.0.1:${port}`) })
    socket.on('error', () => { clearTimeout(timer); resolve('') })
  })
}

/** A listening socket in a network namespace of its own harms nobody: only its reach counts, so it is told apart from `connected`. */
function listens (): Promise<string> {
  return new Promise(resolve => {
    const server = createServer()
    server.on('error', () => { resolve('') })
    server.listen(0, '127.0.0.1', () => { server.close(); resolve('127.0.0.1') })
  })
}

export async function probe ({ files, writable, port, pid, programs }: ProbeRequest): Promise<ProbeAnswer> {
  return {
    read: files.find(file => attempt(() => { readFileSync(file); return file }) !== '') ?? '',
    wrote: attempt(() => { writeFileSync(writable, 'escaped'); return writable }),
    connected: await connects(port),
    listened: await listens(),
    spawned: programs.find(program => attempt(() => spawnSync(program, ['--version'], { timeout: 1000 }).error === undefined ? program : '') !== '') ?? '',
    // SIGWINCH is ignored by whoever does not ask for it
    signalled: attempt(() => { process.kill(pid, 'SIGWINCH'); return String(pid) }),
    // TZ is our own, and bwrap says `PWD=/`
    env: Object.entries(process.env).filter(([name, value]) => name !== 'TZ' && !(name === 'PWD' && value === '/')).map(([name]) => name).join(' ').slice(0, 200)
  }
}
