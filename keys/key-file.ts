/**
 * Secrets at rest: one file a secret, 0600 or refused, written whole or not at all, encrypted where a passphrase is given.
 *
 * The file is one line of JSON: { format, check, data } or, encrypted, { format, kdf, salt, iv, tag, data }, bytes in base64.
 * Source: RFC 7914 (scrypt), NIST SP 800-38D (AES-GCM).
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes, scrypt } from 'node:crypto'
import { constants } from 'node:fs'
import fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { ConclaveError } from './conclave-error.ts'
import { KEY_BYTES } from './ed25519.ts'
import { generateIdentity, identityFromSeed, seedOf } from './identity.ts'
import type { Identity } from './identity.ts'
import type { ScryptOptions } from 'node:crypto'

const FORMAT = 'conclave-secret/1'
const MAX_FILE_BYTES = 64 * 1024
const MAX_SECRET_BYTES = 32 * 1024
/** 64 MiB and about 0.2 s: what a guess costs. */
const SCRYPT = { N: 2 ** 16, r: 8, p: 1, maxmem: 128 * 1024 * 1024 }
const CIPHER_KEY_BYTES = 32
const IV_BYTES = 12
const SALT_BYTES = 16
const TAG_BYTES = 16

export interface SecretFileOptions {
  /** Encrypts the file with scrypt and AES-256-GCM. Absent: the file's mode is its only protection. */
  readonly passphrase?: string
}

/**
 * @param file - path; its directory exists
 * @returns the identity that the file holds; `created`: there was no file, and now there is one. Where two processes create it at once,
 * both return the same identity
 * @throws ConclaveError as `readSecretFile` and `writeSecretFile`
 */
export async function loadOrCreateIdentity (file: string, options: SecretFileOptions = {}): Promise<{ identity: Identity, created: boolean }> {
  const existing = await readIdentity(file, options)
  if (existing !== undefined) return { identity: existing, created: false }

  const identity = generateIdentity()
  const created = await writeWhole(file, await seal(seedOf(identity), options.passphrase), 'create')
  if (created) return { identity, created }

  const winner = await readIdentity(file, options)
  if (winner === undefined) throw unwritable(file, new Error('it came and went again while it was created'))

  return { identity: winner, created: false }
}

/**
 * @param file - path
 * @returns the secret's bytes; undefined where there is no such file
 * @throws ConclaveError KEY_FILE_OPEN (others may read it), KEY_FILE_CORRUPT (also no plain file, empty, cut, changed), KEY_FILE_LOCKED (a
 * passphrase is needed), KEY_FILE_PASSPHRASE (a wrong one), KEY_FILE_UNREADABLE
 */
export async function readSecretFile (file: string, options: SecretFileOptions = {}): Promise<Uint8Array | undefined> {
  const text = await readPrivate(file)

  return text === undefined ? undefined : await unseal(file, text, options.passphrase)
}

/**
 * Put a secret into a file of mode 0600, in place of an earlier one. Once this resolves it survives a crash of the machine; before, the
 * earlier content does.
 *
 * @param file - path; its directory exists
 * @param secret - 1 byte to 32 KiB
 * @throws ConclaveError KEY_FILE_UNWRITABLE
 */
export async function writeSecretFile (file: string, secret: Uint8Array, options: SecretFileOptions = {}): Promise<void> {
  if (secret.byteLength < 1 || secret.byteLength > MAX_SECRET_BYTES) throw new RangeError(`A secret has 1 to ${MAX_SECRET_BYTES} bytes`)

  await writeWhole(file, await seal(secret, options.passphrase), 'replace')
}

async function readIdentity (file: string, options: SecretFileOptions): Promise<Identity | undefined> {
  const seed = await readSecretFile(file, options)
  if (seed === undefined) return undefined
  if (seed.byteLength !== KEY_BYTES) throw corrupt(file, 'it holds something else than an identity')

  return identityFromSeed(seed)
}

async function readPrivate (file: string): Promise<string | undefined> {
  let handle: fs.FileHandle
  try {
    // not through a link: whoever may write the directory could point it elsewhere; not blocking: it might be a pipe
    handle = await fs.open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    const code = errnoOf(cause)
    if (code === 'ENOENT') return undefined
    if (code === 'ELOOP') throw corrupt(file, 'it is a symbolic link')
    throw new ConclaveError('KEY_FILE_UNREADABLE', `Cannot open the key file ${file} (${code})`, { next: `Make it readable by this user: ls -l ${quote(file)}`, cause, details: { file } })
  }

  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw corrupt(file, 'it is not a plain file')
    if ((stat.mode & 0o077) !== 0) {
      throw new ConclaveError('KEY_FILE_OPEN', `Other users may read the key file ${file} (mode ${(stat.mode & 0o777).toString(8).padStart(4, '0')})`, {
        next: `chmod 600 ${quote(file)}`, details: { file, mode: stat.mode & 0o777 }
      })
    }
    if (stat.size > MAX_FILE_BYTES) throw corrupt(file, `it has ${stat.size} bytes`)

    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

/** @returns false where `create` found that the file exists by now */
async function writeWhole (file: string, text: string, mode: 'create' | 'replace'): Promise<boolean> {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.${randomBytes(6).toString('hex')}`)
  try {
    const handle = await fs.open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    const isPlaced = mode === 'replace' ? await fs.rename(temporary, file).then(() => true) : await linkNew(temporary, file)
    await syncDirectory(path.dirname(file))

    return isPlaced
  } catch (cause) {
    throw unwritable(file, cause)
  } finally {
    await fs.rm(temporary, { force: true })
  }
}

/** A link is the one way to give a complete file its name only if the name is free. */
async function linkNew (from: string, to: string): Promise<boolean> {
  try {
    await fs.link(from, to)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false
    throw error
  }
}

async function syncDirectory (directory: string): Promise<void> {
  const handle = await fs.open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function seal (secret: Uint8Array, passphrase: string | undefined): Promise<string> {
  if (passphrase === undefined) {
    return `${JSON.stringify({ format: FORMAT, check: sha256(secret), data: base64(secret) })}\n`
  }

  const salt = randomBytes(SALT_BYTES)
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(passphrase, salt), iv)
  const data = Buffer.concat([cipher.update(secret), cipher.final()])

  return `${JSON.stringify({ format: FORMAT, kdf: 'scrypt', salt: base64(salt), iv: base64(iv), tag: base64(cipher.getAuthTag()), data: base64(data) })}\n`
}

async function unseal (file: string, text: string, passphrase: string | undefined): Promise<Uint8Array> {
  const fields = parseFields(text)
  if (fields === undefined || fields.format !== FORMAT) throw corrupt(file, text.trim() === '' ? 'it is empty' : 'it is not whole')

  const data = Buffer.from(fields.data ?? '', 'base64')
  if (fields.kdf === undefined) {
    if (data.byteLength === 0 || base64(data) !== fields.data || fields.check !== sha256(data)) throw corrupt(file, 'its check sum does not match')
    return new Uint8Array(data)
  }
  if (passphrase === undefined) {
    throw new ConclaveError('KEY_FILE_LOCKED', `The key file ${file} is encrypted`, { next: 'Give the passphrase that it was made with.', details: { file } })
  }

  const [salt, iv, tag] = [fields.salt, fields.iv, fields.tag].map(field => Buffer.from(field ?? '', 'base64'))
  if (fields.kdf !== 'scrypt' || salt?.byteLength !== SALT_BYTES || iv?.byteLength !== IV_BYTES || tag?.byteLength !== TAG_BYTES) {
    throw corrupt(file, 'it is encrypted in an unknown way')
  }
  try {
    const decipher = createDecipheriv('aes-256-gcm', await deriveKey(passphrase, salt), iv, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(tag)
    return new Uint8Array(Buffer.concat([decipher.update(data), decipher.final()]))
  } catch (cause) {
    throw new ConclaveError('KEY_FILE_PASSPHRASE', `The passphrase does not open the key file ${file}, or the file was changed`, { next: 'Give the passphrase that it was made with.', cause, details: { file } })
  }
}

/** @returns the string fields of a JSON object; undefined where the text is none */
function parseFields (text: string): Partial<Record<string, string>> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined // no JSON: cut or overwritten
  }
  if (typeof value !== 'object' || value === null) return undefined

  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

const scryptAsync = promisify<string, Uint8Array, number, ScryptOptions, Buffer>(scrypt)

async function deriveKey (passphrase: string, salt: Uint8Array): Promise<Buffer> {
  return await scryptAsync(passphrase.normalize('NFKC'), salt, CIPHER_KEY_BYTES, SCRYPT)
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64')

function quote (file: string): string {
  return /^[\w./+@:-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`
}

function errnoOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

function corrupt (file: string, what: string): ConclaveError {
  return new ConclaveError('KEY_FILE_CORRUPT', `The key file ${file} cannot be used: ${what}`, {
    next: `Restore it from a backup, or move it away for a new one: mv ${quote(file)} ${quote(`${file}.bad`)}`, details: { file }
  })
}

function unwritable (file: string, cause: unknown): ConclaveError {
  return new ConclaveError('KEY_FILE_UNWRITABLE', `Cannot write the key file ${file} (${errnoOf(cause)})`, {
    next: 'Check that the data directory is writable and its disk not full.', cause, details: { file }
  })
}
