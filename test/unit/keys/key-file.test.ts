import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { loadOrCreateIdentity, readSecretFile, writeSecretFile } from '../../../keys/key-file.ts'

describe('key file', () => {
  let dir = ''
  let file = ''
  beforeEach(async () => {
    dir = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-keys-'))
    file = path.join(dir, 'identity.key')
  })
  afterEach(async () => { await fs.rm(dir, { recursive: true, force: true }) })

  it('is made on first use, for its owner alone, and read from then on', async () => {
    const first = await loadOrCreateIdentity(file)
    assert.equal(first.created, true)
    assert.equal((await fs.stat(file)).mode & 0o777, 0o600)
    const second = await loadOrCreateIdentity(file)
    assert.equal(second.created, false)
    assert.equal(second.identity.peerId, first.identity.peerId)
    assert.deepEqual(await fs.readdir(dir), ['identity.key'])
  })

  it('is one and the same for all who create it at once', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, async () => await loadOrCreateIdentity(file)))
    assert.equal(new Set(all.map(({ identity }) => identity.peerId)).size, 1)
    assert.equal(all.filter(({ created }) => created).length, 1)
    assert.deepEqual(await fs.readdir(dir), ['identity.key'])
  })

  it('is refused where others may read it, with the command that helps', async () => {
    await loadOrCreateIdentity(file)
    for (const mode of [0o640, 0o604, 0o660, 0o610, 0o777]) {
      await fs.chmod(file, mode)
      await assert.rejects(loadOrCreateIdentity(file), { code: 'KEY_FILE_OPEN', next: `chmod 600 ${file}` })
    }
    await fs.chmod(file, 0o400)
    assert.equal((await loadOrCreateIdentity(file)).created, false)
  })

  it('is refused where it is empty, cut, changed or something else, and never replaced', async () => {
    await loadOrCreateIdentity(file)
    const whole = await fs.readFile(file, 'utf8')
    const other = JSON.stringify({ ...JSON.parse(whole), check: 'x' })
    const texts = ['', '\n', '{}', 'null', '[1]', '\0'.repeat(200), whole.slice(0, -2), whole.slice(0, 40), whole.replace('/1', '/2'), whole.replace(/"data":"./, '"data":"*'), other, 'x'.repeat(70_000)]
    for (const text of texts) {
      await fs.writeFile(file, text)
      await assert.rejects(loadOrCreateIdentity(file), { code: 'KEY_FILE_CORRUPT' }, text.slice(0, 50))
      assert.equal(await fs.readFile(file, 'utf8'), text)
    }
  })

  it('is refused where a bit of it is flipped', async () => {
    await loadOrCreateIdentity(file)
    const whole = await fs.readFile(file)
    for (let index = 0; index < whole.byteLength - 1; index++) {
      const flipped = Buffer.from(whole)
      flipped[index] = (flipped[index] ?? 0) ^ 1
      await fs.writeFile(file, flipped)
      await assert.rejects(readSecretFile(file), { code: 'KEY_FILE_CORRUPT' }, `byte ${index}`)
    }
  })

  it('is refused where it is a link, a directory or holds another secret', async () => {
    await loadOrCreateIdentity(path.join(dir, 'real.key'))
    await fs.symlink(path.join(dir, 'real.key'), file)
    await assert.rejects(loadOrCreateIdentity(file), { code: 'KEY_FILE_CORRUPT', message: /symbolic link/ })
    await assert.rejects(loadOrCreateIdentity(dir), { code: 'KEY_FILE_CORRUPT', message: /not a plain file/ })
    const longer = path.join(dir, 'longer.key')
    await writeSecretFile(longer, new Uint8Array(33))
    await assert.rejects(loadOrCreateIdentity(longer), { code: 'KEY_FILE_CORRUPT', message: /something else/ })
  })

  it('says where it cannot be written', async () => {
    await assert.rejects(loadOrCreateIdentity(path.join(dir, 'missing', 'identity.key')), { code: 'KEY_FILE_UNWRITABLE' })
  })

  it('opens with its passphrase only', async () => {
    const { identity } = await loadOrCreateIdentity(file, { passphrase: 'correct horse' })
    assert.equal((await loadOrCreateIdentity(file, { passphrase: 'correct horse' })).identity.peerId, identity.peerId)
    await assert.rejects(loadOrCreateIdentity(file), { code: 'KEY_FILE_LOCKED' })
    await assert.rejects(loadOrCreateIdentity(file, { passphrase: 'battery staple' }), { code: 'KEY_FILE_PASSPHRASE' })
    const text = await fs.readFile(file, 'utf8')
    assert.ok(!text.includes(Buffer.from(identity.privateKey.raw.subarray(0, 32)).toString('base64')))
    await fs.writeFile(file, text.replace('"scrypt"', '"none"'))
    await assert.rejects(loadOrCreateIdentity(file, { passphrase: 'correct horse' }), { code: 'KEY_FILE_CORRUPT' })
  })

  it('keeps any secret, and replaces it whole', async () => {
    assert.equal(await readSecretFile(file), undefined)
    await writeSecretFile(file, new TextEncoder().encode('one'))
    await writeSecretFile(file, new TextEncoder().encode('two'))
    assert.deepEqual(await readSecretFile(file), new TextEncoder().encode('two'))
    assert.equal((await fs.stat(file)).mode & 0o777, 0o600)
    assert.deepEqual(await fs.readdir(dir), ['identity.key'])
    await assert.rejects(writeSecretFile(file, new Uint8Array()), RangeError)
  })
})
