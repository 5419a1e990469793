/**
 * Where the control socket is: in the data directory if its path fits into what the system allows, else in a directory of its own (0700)
 * below the temporary directory. `control.json` in the data directory says which.
 */
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'

/** `sun_path` holds 108 bytes on Linux and 104 on macOS, the ending zero included. */
const MAX_SOCKET_PATH_BYTES = 103
const PREFIX = 'conclave-control-'

export interface Control { pid: number, socket: string }

/**
 * Only for the holder of the data directory's lock: whatever socket was there before is stale, and is removed.
 *
 * @returns where to listen
 */
export async function claimSocketPath (dataDir: string, tmpDir: string = os.tmpdir()): Promise<string> {
  const before = await readControl(dataDir)
  if (before !== undefined) await removeSocket(before.socket)
  const pid = process.pid
  if (process.platform === 'win32') return await record(dataDir, { pid, socket: `\\\\.\\pipe\\conclave-${pid}-${path.basename(await fs.mkdtemp(path.join(tmpDir, PREFIX)))}` })
  const inside = path.join(path.resolve(dataDir), 'control.sock')
  await fs.rm(inside, { force: true })
  const fits = Buffer.byteLength(inside) <= MAX_SOCKET_PATH_BYTES
  return await record(dataDir, { pid, socket: fits ? inside : path.join(await fs.mkdtemp(path.join(tmpDir, PREFIX)), 'control.sock') })
}

async function record (dataDir: string, control: Control): Promise<string> {
  const file = path.join(dataDir, 'control.json')
  await fs.writeFile(`${file}.new`, `${JSON.stringify(control)}\n`, { mode: 0o600 })
  await fs.rename(`${file}.new`, file)
  return control.socket
}

/** @returns what the last daemon of this data directory wrote, whether it still runs or not; undefined: none did, or it cannot be read */
export async function readControl (dataDir: string): Promise<Control | undefined> {
  let text
  try {
    text = await fs.readFile(path.join(dataDir, 'control.json'), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined
    throw error
  }
  try {
    const value: unknown = JSON.parse(text)
    const { pid, socket } = (value ?? {}) as Partial<Control>
    return typeof pid === 'number' && typeof socket === 'string' ? { pid, socket } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

export async function releaseSocketPath (dataDir: string): Promise<void> {
  const control = await readControl(dataDir)
  if (control === undefined || control.pid !== process.pid) return
  await removeSocket(control.socket)
  await fs.rm(path.join(dataDir, 'control.json'), { force: true })
}

/** Removes the socket, and the directory around it only where `claimSocketPath` made that. */
async function removeSocket (socket: string): Promise<void> {
  if (!path.isAbsolute(socket) || path.basename(socket) !== 'control.sock') return
  await fs.rm(socket, { force: true })
  if (path.basename(path.dirname(socket)).startsWith(PREFIX)) await fs.rm(path.dirname(socket), { recursive: true, force: true })
}
