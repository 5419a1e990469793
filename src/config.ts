/**
 * Every interval and limit of a node, with its default. Nothing here is read from the environment.
 * Units are in the names; what happens at a limit is said beside it.
 */
export interface NodeConfig {
  raft: {
    /** one Raft tick */
    tickMs: number
    /** a leader speaks at least this often */
    heartbeatTicks: number
    /** silence after which a follower starts a pre-vote: between one and two times this; a closed connection starts it at once */
    electionTicks: number
    /** voters that the autopilot aims at; the largest odd number of stable members with `vote` up to this */
    targetVoters: number
    /** entries applied between two snapshots; the log before a snapshot is dropped */
    snapshotEntries: number
    snapshotBytes: number
    /** proposals waiting at a leader; past it: BUSY */
    maxPendingProposals: number
  }
  leader: {
    /** the plan is made anew at least this often, and at every commit */
    planMs: number
    /** a participant that lost its connection keeps its attempts for this long */
    goneGraceMs: number
    /** a participant that did not advertise for this long counts as gone */
    silentMs: number
    /** an attempt that is neither running nor reported ends after its time limit and this */
    leaseSlackMs: number
    /** the leader's head goes out at least this often */
    headMs: number
    /** a change of voters is considered this often */
    autopilotMs: number
  }
  participant: {
    advertiseMs: number
    /** a receipt that nobody acknowledged is sent again after this */
    resendMs: number
    /** receipts that wait in the outbox; past it no new task starts */
    maxOutbox: number
    /** a block that no holder gives for this long is reported missing */
    fetchTimeoutMs: number
  }
  follow: {
    /** how long a hole may stay before it is asked for */
    repairMs: number
    /** with no word from a leader for this long, any voter is asked */
    silentMs: number
    /** entries buffered beyond a hole; past it they are dropped and asked for later */
    maxBuffered: number
  }
  request: {
    /** one request to one peer */
    timeoutMs: number
    /** one request to whoever leads, tries included; past it: NO_QUORUM */
    deadlineMs: number
    /** first and longest pause between two tries */
    retryMs: number
    maxRetryMs: number
  }
  join: {
    /** a joiner tries its ticket's addresses for this long */
    deadlineMs: number
    /** a member that vouches for a joiner waits for the leader's word for this long, within the handshake */
    admitMs: number
  }
  blocks: {
    maxBytes: number
    /** members that hold a job's inputs, code and results before they are acknowledged, the author included */
    copies: number
  }
  /** time given to a node to stop before it is ended */
  stopMs: number
}

export const DEFAULTS: NodeConfig = {
  raft: { tickMs: 50, heartbeatTicks: 2, electionTicks: 24, targetVoters: 5, snapshotEntries: 10_000, snapshotBytes: 16 << 20, maxPendingProposals: 4096 },
  leader: { planMs: 250, goneGraceMs: 500, silentMs: 5000, leaseSlackMs: 15_000, headMs: 500, autopilotMs: 500 },
  participant: { advertiseMs: 1000, resendMs: 2000, maxOutbox: 1024, fetchTimeoutMs: 15_000 },
  follow: { repairMs: 150, silentMs: 2000, maxBuffered: 4096 },
  request: { timeoutMs: 5000, deadlineMs: 30_000, retryMs: 50, maxRetryMs: 1000 },
  join: { deadlineMs: 60_000, admitMs: 3000 },
  blocks: { maxBytes: 8 * 2 ** 30, copies: 2 },
  stopMs: 8000
}

/** Protocol ids of the requests between members; the rest stand in `protocols/README.md`. */
export const PROTOCOL = {
  job: '/conclave/job/1',
  member: '/conclave/member/1',
  work: '/conclave/work/1',
  sync: '/conclave/ledger/1',
  raft: '/conclave/raft/1',
  snapshot: '/conclave/raft-snapshot/1'
} as const
