import assert from 'node:assert/strict'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { generateIdentity, identityFromSeed, peerIdFromPublicKey, publicKeyFromPeerId, seedOf } from '../../../keys/identity.ts'
import { signStatement, verifyStatement } from '../../../keys/statement.ts'
import { verify } from '../../../keys/ed25519.ts'
import { member, stranger } from './fixture.ts'

describe('identity', () => {
  it('is named as libp2p names it', () => {
    for (let i = 0; i < 50; i++) {
      const identity = generateIdentity()
      assert.equal(identity.peerId, peerIdFromPrivateKey(identity.privateKey).toString())
      assert.deepEqual(peerIdFromString(identity.peerId).publicKey?.raw, identity.publicKey)
      assert.deepEqual(publicKeyFromPeerId(identity.peerId), identity.publicKey)
    }
  })

  it('comes back from its seed', () => {
    const identity = generateIdentity()
    assert.equal(identityFromSeed(seedOf(identity)).peerId, identity.peerId)
    assert.throws(() => identityFromSeed(new Uint8Array(31)), RangeError)
    assert.throws(() => peerIdFromPublicKey(new Uint8Array(33)), RangeError)
  })

  it('signs what libp2p verifies', async () => {
    const message = new TextEncoder().encode('message')
    assert.equal(await member.privateKey.publicKey.verify(message, member.sign(message)), true)
    assert.equal(verify(member.publicKey, message, await member.privateKey.sign(message)), true)
  })

  it('takes no text for a peer id that is not one of an Ed25519 key', () => {
    const secp = '16Uiu2HAm9EFHFtJ1e9TDDqBS8x6nCvRCLyvmpSJ1PwNMDvkgJbPz'
    for (const text of ['', 'x', secp, 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N', member.peerId.slice(1), `${member.peerId}1`, `1${member.peerId.slice(0, 51)}`,
      member.peerId.replace(/.$/, '0'), '1'.repeat(52), 'z'.repeat(52), 'a'.repeat(1e6)]) {
      assert.equal(publicKeyFromPeerId(text), undefined, text.slice(0, 60))
    }
  })
})

describe('statement', () => {
  const payload = new TextEncoder().encode('payload')

  it('verifies for its signer, payload and domain only', () => {
    const statement = signStatement(member, 'receipts', payload)
    assert.equal(verifyStatement(statement, 'receipts'), true)
    assert.equal(verifyStatement(statement, 'job'), false)
    assert.equal(verifyStatement({ ...statement, payload: new TextEncoder().encode('Payload') }, 'receipts'), false)
    assert.equal(verifyStatement({ ...statement, signer: stranger.peerId }, 'receipts'), false)
    assert.equal(verifyStatement({ ...statement, signer: 'nobody' }, 'receipts'), false)
    for (const length of [0, 63, 65]) assert.equal(verifyStatement({ ...statement, signature: new Uint8Array(length) }, 'receipts'), false)
  })

  it('has no domain that could run into the payload', () => {
    for (const domain of ['', 'a/1\n', 'A b']) assert.throws(() => signStatement(member, domain, payload), RangeError)
  })

  it('refuses points that are not keys without throwing', () => {
    for (const byte of [0, 1, 2, 0x7f, 0xff]) assert.equal(verify(new Uint8Array(32).fill(byte), payload, new Uint8Array(64)), false)
  })
})
