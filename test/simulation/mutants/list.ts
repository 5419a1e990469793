/**
 * Classic mistakes, one edit of the core each. `find` stands exactly once in the file, so that no refactoring disables a mutant in
 * silence. A mutant of kind `safety` must be caught by the simulation; one of kind `liveness` by it or by a unit test.
 */
export interface Mutant {
  /** what the mutated core does */
  name: string
  kind: 'safety' | 'liveness'
  /** the rule that it breaks */
  breaks: string
  /** why the simulation cannot catch it, though it is against safety: no honest peer brings it about */
  onlyUnit?: string
  /** in src/consensus */
  file: string
  find: string
  replace: string
}

export const MUTANTS: readonly Mutant[] = [
  // elections
  {
    name: 'counts votes of strangers and learners', kind: 'safety', breaks: 'Raft §5.2', file: 'quorum.ts',
    find: 'for (const id of voters) {', replace: 'for (const id of [...voters, ...\'abcdefg\'].filter((id, i) => i < voters.length || vote(id) === true)) {'
  },
  {
    name: 'is elected by half of the voters', kind: 'safety', breaks: 'Raft §5.2', file: 'quorum.ts',
    find: 'const needed = majority(voters.length)', replace: 'const needed = Math.ceil(voters.length / 2)'
  },
  {
    name: 'forgets its vote when it hears of a leader of the same term', kind: 'safety', breaks: 'Raft §5.2', file: 'role.ts',
    find: '  if (term !== core.term) {\n    core.term = term\n    core.votedFor = \'\'\n  }', replace: '  core.term = term\n  core.votedFor = \'\''
  },
  {
    name: 'gives a second vote in a term', kind: 'safety', breaks: 'Raft §5.2', file: 'election.ts',
    find: '(core.votedFor === \'\' && core.leader === \'\') ||', replace: 'core.leader === \'\' ||'
  },
  {
    name: 'does not persist its vote', kind: 'safety', breaks: 'Raft §5.1', file: 'ready.ts',
    find: 'mustSync: isVoteNew || entries.length > 0', replace: 'mustSync: entries.length > 0'
  },
  {
    name: 'does not persist a new vote in a known term', kind: 'safety', breaks: 'Raft §5.1', file: 'ready.ts',
    find: 'const isVoteNew = core.lastHard.term !== core.term || core.lastHard.votedFor !== core.votedFor', replace: 'const isVoteNew = core.lastHard.term !== core.term'
  },
  {
    name: 'forgets its vote over a restart', kind: 'safety', breaks: 'Raft §5.1', file: 'core.ts',
    find: 'votedFor: hard.votedFor,', replace: 'votedFor: \'\','
  },
  {
    name: 'sends votes before they are on disk', kind: 'safety', breaks: 'Raft §5.1', file: 'ready.ts',
    find: 'return message.type === \'append\' || message.type === \'heartbeat\'', replace: 'return message.type !== \'appendReply\''
  },
  {
    name: 'sends acknowledgements before the entries are on disk', kind: 'safety', breaks: 'Raft §5.3', file: 'ready.ts',
    find: 'return message.type === \'append\' || message.type === \'heartbeat\'', replace: 'return message.type === \'append\' || message.type === \'heartbeat\' || message.type === \'appendReply\''
  },
  {
    name: 'counts its own vote before it is on disk', kind: 'safety', breaks: 'Raft §5.1', file: 'election.ts',
    find: '  core.forced = forced\n', replace: '  core.forced = forced\n  core.votes.set(core.id, true)\n'
  },
  {
    name: 'votes for a candidate with a shorter log', kind: 'safety', breaks: 'Raft §5.4.1', file: 'log.ts',
    find: '(term === this.lastTerm && index >= this.lastIndex)', replace: 'term === this.lastTerm'
  },
  {
    name: 'votes for a longer log of an earlier term', kind: 'safety', breaks: 'Raft §5.4.1', file: 'log.ts',
    find: 'return term > this.lastTerm || (term === this.lastTerm && index >= this.lastIndex)', replace: 'return index >= this.lastIndex'
  },
  {
    name: 'votes for anybody whom leadership is handed to', kind: 'safety', breaks: 'thesis §3.10', file: 'election.ts',
    find: 'const granted = isFree && core.log.isUpToDate(message.index, message.logTerm)', replace: 'const granted = isFree && (message.force || core.log.isUpToDate(message.index, message.logTerm))'
  },
  {
    name: 'takes a pre-vote for a vote', kind: 'safety', breaks: 'thesis §9.6', file: 'election.ts',
    find: '  if (core.role !== (isPreVote ? \'preCandidate\' : \'candidate\')) return\n  if (isPreVote && !message.reject && message.term !== core.term + 1) return\n',
    replace: '  if (core.role !== \'preCandidate\' && core.role !== \'candidate\') return\n'
  },
  {
    name: 'takes a vote of an earlier term', kind: 'safety', breaks: 'Raft §5.1', file: 'step.ts',
    find: 'if (message.term < core.term) return answerStale(core, message)', replace: 'if (message.term < core.term && message.type !== \'voteReply\') return answerStale(core, message)'
  },
  {
    name: 'campaigns in the same term', kind: 'safety', breaks: 'Raft §5.2', file: 'role.ts',
    find: 'reset(core, core.term + 1)', replace: 'reset(core, core.votedFor === \'\' ? core.term : core.term + 1)'
  },
  {
    name: 'a learner campaigns', kind: 'safety', breaks: 'thesis §4.2.1', file: 'core.ts',
    find: 'return isVoter(core.conf, core.id) && core.log.pendingSnapshot === undefined', replace: 'return (isVoter(core.conf, core.id) || core.conf.learners.includes(core.id)) && core.log.pendingSnapshot === undefined'
  },
  // pre-vote, check-quorum, leases
  {
    name: 'drops a pre-vote of an earlier term without an answer', kind: 'liveness', breaks: 'etcd 8501, openraft 1796', file: 'step.ts',
    find: 'else if (message.type === \'preVote\' || message.type === \'vote\') refuseVote(core, message)', replace: 'else if (message.type === \'vote\') refuseVote(core, message)'
  },
  {
    name: 'a pre-vote that it grants resets its timer', kind: 'liveness', breaks: 'thesis §9.6', file: 'election.ts',
    find: '  if (isPreVote) return\n', replace: '  if (isPreVote) {\n    core.electionElapsed = 0\n    return\n  }\n'
  },
  {
    name: 'takes over the term of a pre-vote', kind: 'liveness', breaks: 'thesis §9.6', file: 'step.ts',
    find: 'if (message.term > core.term && message.type === \'vote\') becomeFollower(core, message.term, \'\')', replace: 'if (message.term > core.term) becomeFollower(core, message.term, \'\')'
  },
  {
    name: 'campaigns without a pre-vote', kind: 'liveness', breaks: 'thesis §9.6', file: 'election.ts',
    find: '  becomePreCandidate(core)\n  core.votes.set(core.id, true)\n  if (!tally(core)) requestVotes(core)', replace: '  if (core.conf.voters.length > 0) return startElection(core, false)\n  becomePreCandidate(core)'
  },
  {
    name: 'votes while its leader is alive', kind: 'liveness', breaks: 'thesis §4.2.3', file: 'step.ts',
    find: 'if (message.term > core.term && !message.force && isInLease(core)) return DONE', replace: ''
  },
  {
    name: 'keeps its lease when the connection to its leader closes', kind: 'liveness', breaks: 'fast failover', file: 'raft.ts',
    find: 'else if (core.leader === id) core.leader = \'\'', replace: ''
  },
  {
    name: 'leads on without hearing a quorum', kind: 'liveness', breaks: 'thesis §6.2', file: 'leader.ts',
    find: 'if (!hasActiveQuorum(core)) {', replace: 'if (core.config.electionTicks === 0 && !hasActiveQuorum(core)) {'
  },
  {
    name: 'counts learners in its check of the quorum', kind: 'liveness', breaks: 'thesis §6.2', file: 'leader.ts',
    find: 'const result = jointVote(core.conf, id =>', replace: 'const result = jointVote({ ...core.conf, voters: [...core.conf.voters, ...core.conf.learners] }, id =>'
  },
  {
    name: 'waits equally long as all others', kind: 'liveness', breaks: 'Raft §5.2', file: 'core.ts',
    find: 'electionTicks + Math.min(Math.floor(random() * electionTicks), electionTicks - 1)', replace: 'electionTicks + Math.min(Math.floor(random() * electionTicks), 0)'
  },
  {
    name: 'never asks again for a vote', kind: 'liveness', breaks: 'Raft §5.3', file: 'election.ts',
    find: '  } else if (core.role !== \'follower\' && core.electionElapsed % core.config.heartbeatTicks === 0) {\n    requestVotes(core)\n  }', replace: '  }'
  },
  {
    name: 'a promoted learner that does not know it refuses to vote', kind: 'liveness', breaks: 'etcd 10998, 12359', file: 'election.ts',
    find: 'const granted = isFree &&', replace: 'const granted = isFree && isVoter(core.conf, core.id) &&'
  },
  {
    name: 'a refused vote does not tell what is committed', kind: 'liveness', breaks: 'found by this simulation', file: 'election.ts',
    find: 'if (message.reject && core.role !== \'leader\') learnCommit(core, message)', replace: ''
  },
  {
    name: 'believes a commit index of which it holds another entry', kind: 'safety', breaks: 'Raft §5.3', file: 'election.ts',
    find: 'if (core.log.term(message.index) !== message.logTerm || !core.log.commitTo(message.index)) return', replace: 'if (!core.log.commitTo(Math.min(message.index, core.log.lastIndex))) return'
  },
  {
    name: 'a deposed leader is not told', kind: 'liveness', breaks: 'Raft §5.1', file: 'step.ts',
    find: 'if (isFromLeader(message.type)) send(core, \'appendReply\', message.from, { reject: true })\n  else if', replace: 'if'
  },
  // log replication
  {
    name: 'commits entries of an earlier term by counting', kind: 'safety', breaks: 'Raft §5.4.2, figure 8', file: 'replication.ts',
    find: 'if (index <= before || core.log.term(index) !== core.term) return false', replace: 'if (index <= before) return false'
  },
  {
    name: 'commits what half of the voters hold', kind: 'safety', breaks: 'Raft §5.3', file: 'quorum.ts',
    find: 'return sorted[majority(voters.length) - 1]!', replace: 'return sorted[Math.ceil(voters.length / 2) - 1]!'
  },
  {
    name: 'counts learners when it commits', kind: 'safety', breaks: 'thesis §4.2.1', file: 'replication.ts',
    find: 'const index = Math.min(jointIndex(core.conf,', replace: 'const index = Math.min(jointIndex({ ...core.conf, voters: [...core.conf.voters, ...core.conf.learners] },'
  },
  {
    name: 'counts its own entries before they are on disk', kind: 'safety', breaks: 'Raft §5.3', file: 'replication.ts',
    find: 'noteMatch(own, core.log.stable)', replace: 'noteMatch(own, core.log.lastIndex)'
  },
  {
    name: 'counts what was truncated as on disk', kind: 'safety', breaks: 'thesis §10.2.1', file: 'log.ts',
    find: '    this.#stable = Math.min(this.#stable, first.index - 1)\n', replace: ''
  },
  {
    name: 'does not write again what was replaced while it was written', kind: 'safety', breaks: 'thesis §10.2.1', file: 'log.ts',
    find: 'if (index > this.#offset && this.term(index) === term) {', replace: 'if (index > this.#offset && index <= this.lastIndex) {'
  },
  {
    name: 'appends without a look at the entry before', kind: 'safety', breaks: 'Raft §5.3', file: 'follower.ts',
    find: 'if (core.log.term(index) !== message.logTerm) {', replace: 'if (core.log.term(index) === undefined) {'
  },
  {
    name: 'truncates a suffix that matches', kind: 'safety', breaks: 'Raft §5.3', file: 'follower.ts',
    find: 'const conflict = core.log.findConflict(entries)', replace: 'const conflict = core.log.findConflict(entries) ?? entries.find(entry => entry.index > core.log.commit)'
  },
  {
    name: 'keeps its own entry where the leader has another', kind: 'safety', breaks: 'Raft §5.3', file: 'log.ts',
    find: 'entry.index > this.#offset && this.term(entry.index) !== entry.term', replace: 'entry.index > this.lastIndex'
  },
  {
    name: 'commits beyond the matched prefix', kind: 'safety', breaks: 'Raft §5.3', file: 'follower.ts',
    find: 'core.log.commitTo(Math.min(message.commit, last))', replace: 'core.log.commitTo(Math.min(message.commit, core.log.lastIndex))'
  },
  {
    name: 'acknowledges beyond the matched prefix', kind: 'safety', breaks: 'Raft §5.3', file: 'follower.ts',
    find: 'send(core, \'appendReply\', from, { index: last })', replace: 'send(core, \'appendReply\', from, { index: core.log.lastIndex })'
  },
  {
    name: 'a heartbeat commits what its receiver may not hold', kind: 'safety', breaks: 'Raft §5.3', file: 'replication.ts',
    find: 'commit: Math.min(progress.match, core.log.commit)', replace: 'commit: core.log.commit'
  },
  {
    name: 'takes a refusal for an acknowledgement', kind: 'safety', breaks: 'Raft §5.3', file: 'replication.ts',
    find: '    noteReject(progress, message.index, Math.max(hint, 0))\n', replace: '    noteReject(progress, message.index, Math.max(hint, 0))\n    noteMatch(progress, message.index)\n'
  },
  {
    name: 'keeps what followers matched in an earlier term of its own', kind: 'safety', breaks: 'Raft §5.3', file: 'step.ts',
    find: 'if (message.term < core.term) return answerStale(core, message)', replace: 'if (message.term < core.term && message.type !== \'appendReply\') return answerStale(core, message)'
  },
  {
    name: 'starts a term without an empty entry', kind: 'liveness', breaks: 'Raft §8', file: 'role.ts',
    find: '  appendOwn(core, \'empty\', new Uint8Array(0))\n', replace: ''
  },
  {
    name: 'a follower ignores a later leader of its own term while candidate', kind: 'liveness', breaks: 'Raft §5.2', file: 'step.ts',
    find: 'if (core.role !== \'follower\') becomeFollower(core, core.term, message.from)', replace: 'if (core.role !== \'follower\') return DONE'
  },
  {
    name: 'never repairs a lost append', kind: 'liveness', breaks: 'Raft §5.3', file: 'replication.ts',
    find: 'if (progress.state !== \'snapshot\' && (progress.match < core.log.lastIndex || progress.state === \'probe\')) {', replace: 'if (progress.state === \'probe\') {'
  },
  {
    name: 'never goes back after a refusal', kind: 'liveness', breaks: 'Raft §5.3', file: 'progress.ts',
    find: 'progress.next = Math.max(Math.min(rejected, hint + 1), progress.match + 1)', replace: 'progress.next = Math.max(rejected, progress.match + 1)'
  },
  {
    name: 'never frees what is in flight', kind: 'liveness', breaks: 'flow control', file: 'replication.ts',
    find: 'if (progress.state === \'replicate\') progress.inflight.freeUpTo(message.index)\n  else if', replace: 'if'
  },
  {
    name: 'the quota of uncommitted bytes is never given back', kind: 'liveness', breaks: 'flow control', file: 'replication.ts',
    find: '  for (const entry of core.log.slice(before + 1, index, Infinity)) core.uncommittedBytes -= entryBytes(entry)\n', replace: ''
  },
  {
    name: 'hands out committed entries twice', kind: 'safety', breaks: 'Raft §5.3', file: 'log.ts',
    find: '    this.#handedOut = entries.at(-1)!.index\n', replace: '    this.#handedOut = Math.max(this.#handedOut, entries.at(-1)!.index - 1)\n'
  },
  {
    name: 'applies again after a restart what was applied', kind: 'safety', breaks: 'Raft §5.3', file: 'log.ts',
    find: 'this.applied = this.#handedOut = applied', replace: 'this.applied = applied\n    this.#handedOut = Math.max(applied - 1, this.#offset)'
  },
  // membership
  {
    name: 'commits in a joint configuration by the incoming half only', kind: 'safety', breaks: 'Raft §6', file: 'quorum.ts',
    find: 'return Math.min(majorityIndex(electorate.voters, acknowledged), majorityIndex(electorate.votersOutgoing, acknowledged))', replace: 'return majorityIndex(electorate.voters, acknowledged)'
  },
  {
    name: 'commits in a joint configuration by the outgoing half only', kind: 'safety', breaks: 'Raft §6', file: 'quorum.ts',
    find: 'return Math.min(majorityIndex(electorate.voters, acknowledged), majorityIndex(electorate.votersOutgoing, acknowledged))',
    replace: 'return majorityIndex(electorate.votersOutgoing.length > 0 ? electorate.votersOutgoing : electorate.voters, acknowledged)'
  },
  {
    name: 'is elected in a joint configuration by one half', kind: 'safety', breaks: 'Raft §6', file: 'quorum.ts',
    find: '  if (incoming === outgoing) return incoming\n', replace: '  if (incoming === outgoing || incoming === \'won\') return incoming\n'
  },
  {
    name: 'campaigns with a committed change that it has not applied', kind: 'safety', breaks: 'etcd 7625', file: 'election.ts',
    find: 'return !core.log.hasUnappliedConf()', replace: 'return true'
  },
  {
    name: 'a refusal that brings a committed change does not end the campaign', kind: 'safety', breaks: 'etcd 7625', file: 'election.ts',
    find: '  if (core.log.hasUnappliedConf()) becomeFollower(core, core.term, \'\')\n', replace: ''
  },
  {
    name: 'forgets after a restart what it knew to be committed', kind: 'safety', breaks: 'thesis §4.1', file: 'raft.ts',
    find: 'const commit = Math.max(Math.min(hardState.commit, last.index), applied, snapshot.index)', replace: 'const commit = Math.max(applied, snapshot.index)'
  },
  {
    name: 'proposes a change while one is pending', kind: 'safety', breaks: 'thesis §4.1', file: 'membership.ts',
    find: 'if (core.pendingConfIndex > core.log.applied) return dropProposal(core, context, \'confPending\')', replace: ''
  },
  {
    name: 'a new leader proposes a change over one in its log', kind: 'safety', breaks: 'thesis §4.1', file: 'role.ts',
    find: '  core.pendingConfIndex = lastIndex\n', replace: ''
  },
  {
    name: 'changes more than one voter in a simple step', kind: 'safety', breaks: 'thesis §4.1', file: 'conf-change.ts',
    find: 'if (differing > 1) return', replace: 'if (differing > 2) return'
  },
  {
    name: 'leaves a joint configuration twice', kind: 'safety', breaks: 'etcd 12582', file: 'membership.ts',
    find: 'core.pendingConfIndex > core.log.applied || core.transferee', replace: 'core.transferee'
  },
  {
    name: 'never leaves a joint configuration', kind: 'liveness', breaks: 'Raft §6', file: 'membership.ts',
    find: 'if (core.role !== \'leader\' || !isJoint(core.conf) || !core.conf.autoLeave) return', replace: 'if (core.conf.autoLeave || core.role !== \'leader\' || !isJoint(core.conf)) return'
  },
  {
    name: 'a removed leader goes on leading', kind: 'safety', breaks: 'Raft §6, etcd 11038', file: 'membership.ts',
    find: 'if (!isVoter(conf, core.id)) {', replace: 'if (conf.voters.length === 0) {'
  },
  {
    name: 'leaves the outgoing voters in force', kind: 'liveness', breaks: 'Raft §6', file: 'conf-change.ts',
    find: '    voters: conf.voters,\n    votersOutgoing: [],', replace: '    voters: sorted([...conf.voters, ...conf.votersOutgoing.filter(id => !conf.learnersNext.includes(id))]),\n    votersOutgoing: [],'
  },
  {
    name: 'a newcomer costs the leader its quorum', kind: 'liveness', breaks: 'thesis §4.1', file: 'membership.ts',
    find: '    progress.recentActive = true\n', replace: ''
  },
  // snapshots
  {
    name: 'restores a snapshot of what it holds, and loses what follows it', kind: 'safety', breaks: 'Raft §7', file: 'follower.ts',
    find: 'if (core.log.term(snapshot.index) === snapshot.term) {', replace: 'if (snapshot.index <= core.log.commit) {'
  },
  {
    name: 'keeps the old configuration with a snapshot', kind: 'safety', breaks: 'Raft §7', file: 'follower.ts',
    find: '      core.conf = conf.value\n', replace: ''
  },
  {
    name: 'campaigns while it restores a snapshot', kind: 'safety', breaks: 'Raft §7', file: 'core.ts',
    find: 'return isVoter(core.conf, core.id) && core.log.pendingSnapshot === undefined', replace: 'return isVoter(core.conf, core.id)'
  },
  {
    name: 'acknowledges a snapshot beyond what it holds', kind: 'safety', breaks: 'Raft §7', file: 'follower.ts',
    onlyUnit: 'a leader sends no snapshot to who holds all of it and a suffix of another history',
    find: 'send(core, \'appendReply\', message.from, { index: core.log.commit })', replace: 'send(core, \'appendReply\', message.from, { index: core.log.lastIndex })'
  },
  {
    name: 'does not sync a snapshot', kind: 'safety', breaks: 'Raft §7', file: 'ready.ts',
    find: ' || entries.length > 0 || snapshot !== undefined', replace: ' || entries.length > 0'
  },
  {
    name: 'waits for ever for the report on a snapshot', kind: 'liveness', breaks: 'dgraph 2707', file: 'leader.ts',
    find: 'if (progress.state === \'snapshot\' && ++progress.snapshotElapsed >= core.config.snapshotTicks) reportSnapshot(core, id, false)',
    replace: 'if (progress.state === \'snapshot\' && core.config.snapshotTicks < 0) reportSnapshot(core, id, false)'
  },
  {
    name: 'takes a reported snapshot for one that has arrived', kind: 'safety', breaks: 'Raft §7', file: 'replication.ts',
    find: '  if (!ok) progress.pendingSnapshot = 0\n', replace: '  if (!ok) progress.pendingSnapshot = 0\n  progress.match = Math.max(progress.match, progress.pendingSnapshot)\n'
  },
  // reads
  {
    name: 'answers reads without asking whether it still leads', kind: 'safety', breaks: 'thesis §6.4', file: 'reads.ts',
    find: 'const pending = core.reads.findIndex(read => read.seq > confirmed)', replace: 'const pending = core.reads.findIndex(read => read.seq > confirmed + Infinity)'
  },
  {
    name: 'answers reads before a commit in its term', kind: 'safety', breaks: 'thesis §6.4, etcd-io/raft 105', file: 'reads.ts',
    find: 'else if (core.log.term(core.log.commit) !== core.term) core.earlyReads.push({ from, context })\n', replace: ''
  },
  {
    name: 'one voter answers reads before a commit in its term', kind: 'safety', breaks: 'etcd-io/raft 105', file: 'reads.ts',
    find: 'else if (core.log.term(core.log.commit) !== core.term)', replace: 'else if (core.conf.voters.length > 1 && core.log.term(core.log.commit) !== core.term)'
  },
  {
    name: 'an answer to an earlier heartbeat confirms a read', kind: 'safety', breaks: 'thesis §6.4', file: 'replication.ts',
    find: 'ackRead(core, progress, message.index)', replace: 'ackRead(core, progress, core.readSeq)'
  },
  {
    name: 'learners confirm reads', kind: 'safety', breaks: 'thesis §6.4', file: 'reads.ts',
    find: 'const confirmed = jointIndex(core.conf,', replace: 'const confirmed = jointIndex({ ...core.conf, voters: [...core.conf.voters, ...core.conf.learners] },'
  },
  {
    name: 'reads see the log as of the time they were confirmed at a node that lags', kind: 'safety', breaks: 'thesis §6.4', file: 'reads.ts',
    find: 'else send(core, \'readIndexReply\', from, { index, context })\n  }\n}', replace: 'else send(core, \'readIndexReply\', from, { index: 0, context })\n  }\n}'
  },
  {
    name: 'a follower answers reads by itself', kind: 'safety', breaks: 'thesis §6.4', file: 'reads.ts',
    find: 'else if (core.leader !== \'\') send(core, \'readIndex\', core.leader, { context })', replace: 'else if (core.leader !== \'\') core.readStates.push({ index: core.log.commit, context })'
  },
  // handing over
  {
    name: 'hands over to a voter that lacks entries', kind: 'liveness', breaks: 'thesis §3.10', file: 'replication.ts',
    find: 'if (core.progress.get(core.transferee)?.match === core.log.lastIndex) send', replace: 'send'
  },
  {
    name: 'never gives up a transfer', kind: 'liveness', breaks: 'thesis §3.10', file: 'leader.ts',
    find: 'if (core.transferee !== \'\' && ++core.transferElapsed >= core.config.electionTicks) core.transferee = \'\'', replace: ''
  },
  {
    name: 'a transfer does not go past leases', kind: 'liveness', breaks: 'thesis §3.10', file: 'election.ts',
    find: '  core.forced = forced\n', replace: ''
  }
]
