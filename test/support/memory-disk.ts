/**
 * A Disk in memory that fails, fills up or hangs where a test says so.
 */
import { ConclaveError } from '../../keys/conclave-error.ts'
import type { Disk, DiskFile } from '../../src/consensus/disk.ts'

export type DiskOperation = 'write' | 'sync' | 'writeWhole' | 'remove' | 'truncate'

export class MemoryDisk implements Disk {
  readonly dir = '/memory'
  readonly files: Map<string, Uint8Array>
  /** names and lengths, in the order in which they became durable */
  readonly trace: string[] = []
  /** decides for each operation whether it fails, and how many of its bytes still get through */
  fault: (operation: DiskOperation, name: string) => { code: string, written: number } | undefined = () => undefined
  /** awaited before each sync */
  beforeSync: () => Promise<void> = async () => {}

  constructor (files: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.files = new Map([...files].map(([name, bytes]) => [name, bytes.slice()]))
  }

  /** @returns another disk with what is on this one now */
  copy (): MemoryDisk { return new MemoryDisk(this.files) }

  get bytes (): number { return [...this.files.values()].reduce((sum, file) => sum + file.length, 0) }

  async list (): Promise<string[]> { return [...this.files.keys()].sort() }

  async read (name: string): Promise<Uint8Array> {
    const bytes = this.files.get(name)
    if (bytes === undefined) throw new ConclaveError('LOG_IO_FAILED', `no ${name}`)
    return bytes.slice()
  }

  async writeWhole (name: string, bytes: Uint8Array): Promise<void> {
    const fault = this.fault('writeWhole', name)
    if (fault !== undefined) {
      if (fault.written > 0) this.files.set(`${name}.tmp`, bytes.slice(0, fault.written))
      throw failure(fault.code, name)
    }
    this.files.set(name, bytes.slice())
    this.trace.push(`whole ${name} ${bytes.length}`)
  }

  async truncate (name: string, length: number): Promise<void> {
    this.#check('truncate', name)
    this.files.set(name, this.files.get(name)!.slice(0, length))
  }

  async remove (names: readonly string[]): Promise<void> {
    for (const name of names) {
      this.#check('remove', name)
      this.files.delete(name)
      this.trace.push(`remove ${name}`)
    }
  }

  async append (name: string): Promise<DiskFile> {
    return {
      write: async bytes => {
        const fault = this.fault('write', name)
        this.files.set(name, Buffer.concat([this.files.get(name)!, bytes.subarray(0, fault?.written ?? bytes.length)]))
        if (fault !== undefined) throw failure(fault.code, name)
      },
      sync: async () => {
        await this.beforeSync()
        this.#check('sync', name)
        this.trace.push(`sync ${name} ${this.files.get(name)!.length}`)
      },
      close: async () => {}
    }
  }

  #check (operation: DiskOperation, name: string): void {
    const fault = this.fault(operation, name)
    if (fault !== undefined) throw failure(fault.code, name)
  }
}

const failure = (code: string, name: string): ConclaveError => new ConclaveError(code, `made to fail: ${name}`)
