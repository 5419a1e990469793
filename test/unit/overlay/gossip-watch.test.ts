import assert from 'node:assert/strict'
import { GossipWatch } from '../../../src/overlay/gossip-watch.ts'
import type { PeerIdStr } from '../../../keys/ids.ts'

const peerId = 'p' as PeerIdStr
const looks = (watch: GossipWatch, count: number, neighbour: { hasStream: boolean, isSubscribed: boolean }): Array<'reopen' | 'redial' | ''> =>
  Array.from({ length: count }, () => {
    const { reopen, redial } = watch.look([{ peerId, ...neighbour }])
    return reopen.length > 0 ? 'reopen' : redial.length > 0 ? 'redial' : ''
  })

describe('GossipWatch', () => {
  it('leaves a healthy neighbour alone', () => {
    assert.deepEqual(looks(new GossipWatch(), 3, { hasStream: true, isSubscribed: true }), ['', '', ''])
  })

  it('opens the stream of a neighbour that has none, and gives the connection up when that does not help', () => {
    assert.deepEqual(looks(new GossipWatch(), 11, { hasStream: false, isSubscribed: true }), ['', ...Array<'reopen'>(8).fill('reopen'), 'redial', ''])
  })

  it('gives up the connection of a neighbour that never subscribes', () => {
    assert.equal(looks(new GossipWatch(), 10, { hasStream: true, isSubscribed: false }).at(-1), 'redial')
  })

  it('counts looks in a row only', () => {
    const watch = new GossipWatch()
    for (let round = 0; round < 5; round++) {
      assert.deepEqual(looks(watch, 1, { hasStream: false, isSubscribed: true }), [''])
      looks(watch, 1, { hasStream: true, isSubscribed: true })
    }
  })

  it('forgets a neighbour that left', () => {
    const watch = new GossipWatch()
    looks(watch, 1, { hasStream: false, isSubscribed: false })
    watch.look([])
    assert.deepEqual(looks(watch, 1, { hasStream: false, isSubscribed: false }), [''])
  })
})
