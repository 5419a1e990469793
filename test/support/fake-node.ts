/** A node without a network: what the daemon and the command line are tested against. The test decides how far a job gets. */
import type { CommittedResult, ConclaveNode, InviteOptions, JobEvent, JobHandle, JobInfo, JobRequest, NodeEvent, NodeStatus, PeerInfo } from '../../src/api.ts'
import { ConclaveError } from '../../src/errors.ts'

export const PEER = '12D3KooWFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFa'

/** One job: `push` records and facts, then `end` it. */
export class FakeJob implements JobHandle {
  readonly id: string
  readonly request: JobRequest
  state: JobInfo
  #records: unknown[] = []
  #facts: JobEvent[] = []
  #changed = Promise.withResolvers<void>()
  /** streams that somebody reads now */
  readers = 0
  cancels = 0

  constructor (id: string, request: JobRequest) {
    this.id = id
    this.request = request
    this.state = {
      id, name: request.name ?? 'job', status: 'running', submitter: PEER, submittedAt: 1_760_000_000_000,
      stages: [{ kind: 'map', total: 2, done: 0, running: 1, pending: 1 }], participants: []
    }
  }

  info (): JobInfo { return structuredClone(this.state) }

  push (records: unknown[], facts: JobEvent[] = []): void {
    this.#records.push(...records)
    this.#facts.push(...facts)
    this.#wake()
  }

  end (status: JobInfo['status'], code?: string, reason?: string): void {
    this.state = { ...this.state, status, ...(code === undefined ? {} : { code }), ...(reason === undefined ? {} : { reason }) }
    this.#wake()
  }

  #wake (): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  async #change (signal: AbortSignal | undefined): Promise<void> {
    const gone = Promise.withResolvers<never>()
    const abort = (): void => gone.reject(signal?.reason)
    signal?.throwIfAborted()
    signal?.addEventListener('abort', abort, { once: true })
    try {
      await Promise.race([this.#changed.promise, gone.promise])
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  async * #tail<T> (list: T[], signal: AbortSignal | undefined): AsyncGenerator<T> {
    this.readers++
    try {
      for (let at = 0; ;) {
        while (at < list.length) yield list[at++] as T
        if (this.state.status !== 'running') return
        await this.#change(signal)
      }
    } finally {
      this.readers--
      this.#wake()
    }
  }

  /** Resolves when nobody reads a stream of this job. */
  async unread (): Promise<void> {
    while (this.readers > 0) await this.#changed.promise
  }

  async * results (options: { signal?: AbortSignal } = {}): AsyncGenerator<unknown> {
    yield * this.#tail(this.#records, options.signal)
    if (this.state.status === 'succeeded') return
    throw new ConclaveError(this.state.code ?? 'JOB_CANCELLED', this.state.reason ?? 'the job did not succeed')
  }

  events (options: { signal?: AbortSignal } = {}): AsyncGenerator<JobEvent> { return this.#tail(this.#facts, options.signal) }

  async cancel (): Promise<void> {
    this.cancels++
    if (this.state.status === 'running') this.end('cancelled', 'JOB_CANCELLED', 'somebody asked for it')
  }

  async done (options: { signal?: AbortSignal } = {}): Promise<JobInfo> {
    while (this.state.status === 'running') await this.#change(options.signal)
    return this.info()
  }
}

export class FakeNode implements ConclaveNode {
  readonly peerId = PEER
  readonly network = PEER
  readonly dataDir: string
  readonly submitted: FakeJob[] = []
  readonly invites: InviteOptions[] = []
  readonly revoked: string[] = []
  readonly listeners = new Set<(event: NodeEvent) => void>()
  stops = 0
  /** called for each job that was submitted, before the submitter hears of it */
  onSubmit: (job: FakeJob) => void = () => {}
  /** awaited in `submit` */
  submitting: Promise<void> = Promise.resolve()
  /** awaited in `stop` */
  stopping: Promise<void> = Promise.resolve()

  constructor (dataDir: string) { this.dataDir = dataDir }

  addrs (): string[] { return [`/ip4/127.0.0.1/tcp/4001/p2p/${PEER}`] }

  status (): NodeStatus {
    return {
      peerId: PEER, network: PEER, role: 'leader', term: 3, leader: PEER, voters: [PEER], members: 1, commitIndex: 12, appliedIndex: 12,
      jobs: { running: this.submitted.length, finished: 0, failed: 0, cancelled: 0 }, sandbox: { layers: ['process', 'isolate'] },
      slots: { total: 1, busy: 0 }, blocks: { bytes: 10, maxBytes: 2048, count: 1 }, waiting: [{ what: 'job j1', why: 'no participant', next: 'conclave peers' }]
    }
  }

  peers (): PeerInfo[] {
    return [{ peerId: PEER, connected: true, addrs: this.addrs(), rttMs: null, capabilities: ['vote', 'work'], voter: true, leader: true, notAfter: 1_760_000_000_000 }]
  }

  jobs (): JobInfo[] { return this.submitted.map((job) => job.info()).reverse() }

  async invite (options: InviteOptions = {}): Promise<string> {
    this.invites.push(options)
    return 'conclave1fakefakefake'
  }

  async revoke (peerId: string): Promise<void> { this.revoked.push(peerId) }

  async submit (request: JobRequest): Promise<JobHandle> {
    await this.submitting
    const job = new FakeJob(`jfake${this.submitted.length + 1}`, request)
    this.submitted.push(job)
    this.onSubmit(job)
    return job
  }

  job (id: string): JobHandle {
    const job = id === 'last' ? this.submitted.at(-1) : this.submitted.find((each) => each.id.startsWith(id))
    if (job === undefined) throw new ConclaveError('JOB_UNKNOWN', `no job ${id} is known here`, { next: 'conclave jobs' })
    return job
  }

  async * observe (): AsyncGenerator<CommittedResult> {}

  on (listener: (event: NodeEvent) => void): () => void {
    this.listeners.add(listener)
    return () => { this.listeners.delete(listener) }
  }

  emit (event: NodeEvent): void { for (const listener of this.listeners) listener(event) }

  async stop (): Promise<void> {
    this.stops++
    await this.stopping
  }

  async [Symbol.asyncDispose] (): Promise<void> { await this.stop() }
}
