import assert from 'node:assert/strict'
import { CarReader, CarWriter } from '@ipld/car'
import { CID } from 'multiformats/cid'
import { cidBytes, cidOf } from '../../../src/blocks/cid.ts'
import { decodeReply, decodeRequest, encodeReply, encodeRequest } from '../../../src/blocks/messages.ts'
import { createSession } from '../../../src/blocks/session.ts'
import { BlocksRequest } from '../../../protocols/blocks/messages.js'
import { createStreamPair } from '../../support/memory-streams.ts'

const blocks = [0, 1, 100, 70_000, 1 << 20].map((length, i) => new Uint8Array(length).fill(i))
const sections = blocks.map(block => ({ cid: cidOf(block), block }))

async function * each <T> (values: T[]): AsyncGenerator<T> { yield * values }

describe('CAR', () => {
  it('as we write it is read by @ipld/car', async () => {
    const [here, there] = createStreamPair()
    const session = createSession(here, 1000)
    const sending = (async () => { await session.writeCar(each(sections)); await session.close() })()
    const chunks: Uint8Array[] = []
    for await (const chunk of there.source) chunks.push(chunk)
    await sending
    const car = Buffer.concat(chunks)
    assert.equal(car.at(-1), 0, 'our end mark')
    const reader = await CarReader.fromBytes(car.subarray(0, -1))
    assert.deepEqual(await reader.getRoots(), [])
    const read = []
    for await (const { cid, bytes } of reader.blocks()) read.push({ cid: cid.toString(), block: new Uint8Array(bytes) })
    assert.deepEqual(read, sections)
  })

  it('as @ipld/car writes it is read by us, in pieces of any size', async () => {
    const { writer, out } = CarWriter.create([CID.parse(sections[0]!.cid)])
    const written = (async () => {
      for (const { cid, block } of sections) await writer.put({ cid: CID.parse(cid), bytes: block })
      await writer.close()
    })()
    const chunks: Uint8Array[] = []
    for await (const chunk of out) chunks.push(chunk)
    await written
    const car = Buffer.concat([...chunks, Uint8Array.of(0)])
    for (const step of [1000, 65_536, car.length]) {
      const [here, there] = createStreamPair()
      const sending = (async () => { for (let at = 0; at < car.length; at += step) await there.write(car.subarray(at, at + step)) })()
      const read = []
      for await (const section of createSession(here, 1000).readCar()) read.push({ cid: section.cid, block: new Uint8Array(section.block) })
      await sending
      assert.deepEqual(read, sections)
    }
  })
})

describe('blocks messages', () => {
  const cids = sections.map(section => section.cid)

  it('come back as they were sent', () => {
    for (const request of [{ kind: 'want' as const, cids }, { kind: 'put' as const, cids, bytes: 1000 }]) {
      assert.deepEqual(decodeRequest(encodeRequest(request)), { verdict: 'accept', value: request })
    }
    assert.deepEqual(decodeReply(encodeReply({ code: 'X', cids })), { verdict: 'accept', value: { code: 'X', message: '', cids } })
  })

  it('of a wrong shape are rejected: no, too many, the same or foreign CIDs, impossible sizes, noise', () => {
    const cid = cidBytes(cids[0]!)
    const wrong: Uint8Array[] = [
      BlocksRequest.encode({ want: { cids: [] } }),
      BlocksRequest.encode({}),
      BlocksRequest.encode({ want: { cids: [cid, cid] } }),
      BlocksRequest.encode({ want: { cids: [cid.slice(0, 35)] } }),
      BlocksRequest.encode({ want: { cids: Array.from({ length: 257 }, (_, i) => cidBytes(cidOf(Uint8Array.of(i, i >> 8)))) } }),
      // identity and sha2-512 by code, CIDv0, dag-cbor
      BlocksRequest.encode({ want: { cids: [Uint8Array.from(cid, (byte, i) => i === 2 ? 0 : byte)] } }),
      BlocksRequest.encode({ want: { cids: [Uint8Array.from(cid, (byte, i) => i === 2 ? 0x13 : byte)] } }),
      BlocksRequest.encode({ want: { cids: [cid.slice(2)] } }),
      BlocksRequest.encode({ want: { cids: [Uint8Array.from(cid, (byte, i) => i === 1 ? 0x71 : byte)] } }),
      BlocksRequest.encode({ put: { cids: [cid], bytes: 2 ** 21 } }),
      BlocksRequest.encode({ put: { cids: [cid], bytes: 2 ** 52 } }),
      Uint8Array.of(0xff, 0xff, 0xff),
      Uint8Array.of(10, 200)
    ]
    for (const [i, bytes] of wrong.entries()) assert.equal(decodeRequest(bytes).verdict, 'reject', `case ${i}`)
  })
})
