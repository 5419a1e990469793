import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { FAULT_CODES } from '../../protocols/ledger/constants.ts'
import { ERRORS, EXIT, ConclaveError, exitOf, explain, httpStatusOf } from '../../src/errors.ts'
import { fromErrorBody, toErrorBody } from '../../src/daemon/error-body.ts'

const root = path.join(import.meta.dirname, '../..')

describe('the table of errors', () => {
  it('has a meaning and an exit code other than 0 for every code', () => {
    for (const [code, row] of Object.entries(ERRORS)) {
      assert.match(code, /^[A-Z][A-Z0-9_]+$/)
      assert.ok(row.meaning.length > 0, code)
      assert.notEqual(exitOf(code), EXIT.ok, code)
    }
  })

  it('gives every class an HTTP status of its own kind', () => {
    assert.equal(httpStatusOf('JOB_UNKNOWN'), 404)
    assert.equal(httpStatusOf('BODY_TOO_LARGE'), 413)
    assert.equal(httpStatusOf('INTERNAL'), 500)
    assert.equal(httpStatusOf('NO_QUORUM'), 503)
  })

  it('knows families, and has a row for what it does not know', () => {
    assert.equal(explain('CERT_EXPIRED').exit, 'denied')
    assert.equal(explain('INPUT_SOMETHING_NEW').exit, 'input')
    assert.equal(explain('NO_SUCH_CODE').exit, 'failed')
    assert.equal(explain('constructor').exit, 'failed')
  })

  it('has a row of its own for every way in which a task can fail its job', () => {
    for (const fault of FAULT_CODES) if (fault !== 'missing') assert.ok(Object.hasOwn(ERRORS, `TASK_${fault.toUpperCase()}`), fault)
  })

  // Codes that only a developer or a peer meets: they never leave the node.
  const INWARD = /^(RPC_|OBJECT_|BLOCKS?_|GOSSIP_|SNAPSHOT_|PEER_|REPLY_|TRANSFER_|ALREADY_|CONSENSUS_|ATTEMPT_|COMMAND_|TASK_|ENVELOPE_|STREAM_)|_TOO_LARGE$/
  it('has every code that the source throws by name', () => {
    const missing = new Set<string>()
    for (const folder of ['src', 'keys']) {
      for (const entry of fs.readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })) {
        if (!entry.endsWith('.ts')) continue
        const text = fs.readFileSync(path.join(root, folder, entry), 'utf8')
        for (const [, code = ''] of text.matchAll(/ConclaveError\(\s*'([A-Z0-9_]+)'/g)) {
          if (explain(code) === explain('NO_SUCH_CODE') && !INWARD.test(code)) missing.add(`${code} (${folder}/${entry})`)
        }
      }
    }
    assert.deepEqual([...missing], [])
  })
})

describe('an error on its way over the control socket', () => {
  it('keeps its code, words and facts, and tells its cause', () => {
    const error = new ConclaveError('INPUT_UNREADABLE', 'cannot read a', { next: 'ls', cause: new Error('EACCES'), details: { file: 'a' } })
    const back = fromErrorBody(JSON.parse(JSON.stringify(toErrorBody(error))))
    assert.deepEqual([back?.code, back?.message, back?.next, back?.details], ['INPUT_UNREADABLE', 'cannot read a (EACCES)', 'ls', { file: 'a' }])
  })

  it('is INTERNAL where it is not ours, and nothing where it is no error', () => {
    assert.equal(toErrorBody(new TypeError('x is undefined')).code, 'INTERNAL')
    assert.equal(toErrorBody('text').code, 'INTERNAL')
    for (const value of [undefined, null, 1, 'x', {}, { code: 1, message: 'x' }]) assert.equal(fromErrorBody(value), undefined)
  })
})
