import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { openDirectory } from '../../../src/consensus/disk.ts'
import { openLogStore } from '../../../src/consensus/log-store.ts'

describe('disk', () => {
  let dir: string
  beforeEach(async () => { dir = path.join(await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-disk-')), 'deep', 'log') })
  afterEach(async () => { await fs.rm(path.dirname(path.dirname(dir)), { recursive: true }) })

  it('creates a directory that only its owner reads, and keeps what is written', async () => {
    const disk = await openDirectory(dir)
    assert.equal((await fs.stat(dir)).mode & 0o777, 0o700)
    await disk.writeWhole('one', Buffer.from('first'))
    await disk.writeWhole('one', Buffer.from('second'))
    assert.deepEqual(await disk.list(), ['one'])
    const file = await disk.append('one')
    await file.write(Buffer.from(', third'))
    await file.sync()
    await file.close()
    assert.equal(Buffer.from(await disk.read('one')).toString(), 'second, third')
    await disk.truncate('one', 6)
    assert.equal(Buffer.from(await disk.read('one')).toString(), 'second')
    await disk.remove(['one', 'missing'])
    assert.deepEqual(await disk.list(), [])
  })

  it('names the file and the reason of a failure', async () => {
    const disk = await openDirectory(dir)
    await assert.rejects(disk.read('missing'), { code: 'LOG_IO_FAILED', details: { file: path.join(dir, 'missing'), errno: 'ENOENT' } })
    await assert.rejects(disk.append('no/such'), { code: 'LOG_IO_FAILED' })
  })

  it('tells a full disk from a broken one', async function () {
    if (process.platform !== 'linux') this.skip()
    const disk = await openDirectory(dir)
    await fs.symlink('/dev/full', path.join(dir, 'full'))
    const file = await disk.append('full')
    await assert.rejects(file.write(Buffer.alloc(10)), { code: 'LOG_DISK_FULL' })
    await file.close()
  })

  it('removes what was being written when the process died', async () => {
    const disk = await openDirectory(dir)
    await fs.writeFile(path.join(dir, 'log-0000000000000007.seg.tmp'), 'half')
    const { store } = await openLogStore({ disk, id: 'a', freshIncarnation: '00'.repeat(16), segmentBytes: 1000 })
    await store.close()
    assert.deepEqual(await disk.list(), ['identity', 'log-0000000000000001.seg'])
  })
})
