/** The Raft core alone: three of them in this process, messages handed over as objects, nothing written. */
import { createRaft } from '../src/consensus/raft.ts'
import type { Raft } from '../src/consensus/raft.ts'
import type { Message } from '../src/consensus/types.ts'
import type { Series } from './measure.ts'

const IDS = ['a', 'b', 'c']
const COMMITS = 60_000
const COMPACT_EVERY = 10_000
const VALUE = new Uint8Array(256)
const NO_BYTES = new Uint8Array(0)

/** Adds `core alone, …` to `series`. */
export function measureCore (series: Series): void {
  for (const [batch, name] of [[1, 'one proposal at a time'], [64, '64 proposals at a time']] as const) {
    const group = createGroup()
    group.elect()
    group.commit(COMMITS / 10, batch) // warm
    const startMs = performance.now()
    group.commit(COMMITS, batch)
    series.add('ours', `core alone, commits/s, ${name}`, COMMITS / (performance.now() - startMs) * 1000)
  }
}

function createGroup (): { elect: () => void, commit: (count: number, batch: number) => void } {
  const conf = { voters: IDS, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }
  const rafts = new Map(IDS.map((id) => [id, createRaft({
    id, electionTicks: 24, heartbeatTicks: 2, maxInflightMessages: 64, maxInflightBytes: 4 << 20, maxAppendBytes: 256 << 10, maxUncommittedBytes: 16 << 20, maxEntryBytes: 512 << 10, random: () => 0.5
  }, { hardState: { term: 1, votedFor: '', commit: 1 }, snapshot: { index: 1, term: 1, conf }, entries: [], applied: 1 })]))
  const leader = rafts.get('a') as Raft
  let committed = 0

  /** Every duty at once, until nothing is left to do. */
  function settle (): void {
    for (let isBusy = true; isBusy;) {
      isBusy = false
      for (const [id, raft] of rafts) {
        while (raft.hasReady()) {
          isBusy = true
          const ready = raft.ready()
          if (id === 'a') for (const entry of ready.committed) if (entry.kind === 'normal') committed++
          const messages: Message[] = ready.messages
          raft.advance(ready)
          for (const message of messages) rafts.get(message.to)?.step(message)
        }
      }
    }
  }

  return {
    elect () {
      leader.campaign()
      settle()
      if (leader.status().role !== 'leader') throw new Error('the core did not elect')
    },
    commit (count, batch) {
      const end = committed + count
      for (let next = committed + COMPACT_EVERY; committed < end;) {
        for (let i = 0; i < batch; i++) leader.propose(VALUE, NO_BYTES)
        settle()
        if (committed < next) continue
        next += COMPACT_EVERY
        for (const raft of rafts.values()) {
          const { applied, term } = raft.status()
          raft.snapshotted({ index: applied, term, conf })
          raft.compact(applied)
        }
      }
    }
  }
}
