/**
 * The free port that a node was given stays its own: `/tcp/0` means a port of the system's choice the first time and the same one after a
 * restart, so that members who all restart still find each other where they were.
 */
import fs from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'

const FILE = 'listen.json'
const ANY_PORT = /^\/ip[46]\/([^/]+)\/tcp\/0$/

/** @returns `listen`, with the port of the last run in place of 0 where nobody else has taken it since */
export async function recallPorts (dataDir: string, listen: readonly string[]): Promise<string[]> {
  const remembered = await read(path.join(dataDir, FILE))
  return await Promise.all(listen.map(async (addr) => {
    const host = ANY_PORT.exec(addr)?.[1]
    const port = remembered[addr]
    return host !== undefined && port !== undefined && await isFree(host, port) ? addr.replace(/0$/, String(port)) : addr
  }))
}

/**
 * Remember the ports in use for the next run.
 *
 * @param bound - multiaddrs that are listened at, with or without `/p2p/…`
 */
export async function keepPorts (dataDir: string, listen: readonly string[], bound: readonly string[]): Promise<void> {
  const ports = Object.fromEntries(listen.flatMap((addr) => {
    if (!ANY_PORT.test(addr)) return []
    const family = addr.slice(0, 5)
    const isWildcard = addr.startsWith('/ip4/0.0.0.0/') || addr.startsWith('/ip6/::/')
    const match = bound.find((candidate) => isWildcard ? candidate.startsWith(family) : candidate.startsWith(addr.replace(/0$/, '')))
    const port = match === undefined ? undefined : Number(/\/tcp\/(\d+)/.exec(match)?.[1])
    return port === undefined ? [] : [[addr, port] as const]
  }))
  const file = path.join(dataDir, FILE)
  if (JSON.stringify(ports) !== JSON.stringify(await read(file))) await fs.writeFile(file, `${JSON.stringify(ports)}\n`, { mode: 0o600 })
}

async function read (file: string): Promise<Record<string, number>> {
  try {
    const parsed: unknown = JSON.parse(await fs.readFile(file, 'utf8'))
    if (typeof parsed !== 'object' || parsed === null) return {}
    return Object.fromEntries(Object.entries(parsed).filter((entry): entry is [string, number] => isPort(entry[1])))
  } catch {
    return {} // absent the first time; damaged: only a convenience is lost
  }
}

const isPort = (value: unknown): boolean => typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536

async function isFree (host: string, port: number): Promise<boolean> {
  const server = net.createServer()
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ host, port, exclusive: true }, resolve))
    return true
  } catch {
    return false // taken by now, or not ours to bind: a new one will do
  } finally {
    await new Promise<void>((resolve) => { server.close(() => { resolve() }) })
  }
}
