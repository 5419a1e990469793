/**
 * Every error code a person can meet, with its exit code and the next step. One table: the CLI, the README and the tests read it.
 */
import { ConclaveError } from '../keys/conclave-error.ts'

export { ConclaveError }

/** Exit codes of the `conclave` command. */
export const EXIT = { ok: 0, failed: 1, usage: 2, input: 3, unreachable: 4, denied: 5, busy: 6, internal: 70, interrupted: 130 } as const

export type ExitClass = keyof typeof EXIT

export interface ErrorRow {
  readonly exit: ExitClass
  /** what it means, without the facts of the case */
  readonly meaning: string
  /** used where the error itself says nothing better */
  readonly next: string
}

const row = (exit: ExitClass, meaning: string, next: string): ErrorRow => ({ exit, meaning, next })

export const ERRORS: Readonly<Record<string, ErrorRow>> = {
  // the command line
  USAGE: row('usage', 'the command line cannot be understood', 'conclave --help'),
  NODE_TOO_OLD: row('usage', 'this Node is older than Conclave needs', 'install Node 24'),
  BAD_REQUEST: row('usage', 'the daemon could not understand a request', 'use the `conclave` command of the daemon\'s version'),
  BODY_TOO_LARGE: row('usage', 'one request holds more than the daemon takes', 'name fewer files, or submit several jobs'),
  NOT_FOUND: row('usage', 'the daemon has no such route', 'use the `conclave` command of the daemon\'s version'),
  ADDRESS_INVALID: row('usage', 'an address is no multiaddr', 'write it like /ip4/192.0.2.1/tcp/4001'),
  SANDBOX_SLOTS: row('usage', 'the number of slots is out of range', 'give --slots a number in the range that was told'),
  INVITE_LIMITS: row('usage', 'uses or lifetime of an invitation are out of range', 'conclave invite --help'),
  // what was given to work on
  JOB_NOT_FOUND: row('input', 'the job module cannot be read', 'check the path'),
  JOB_UNREADABLE: row('input', 'the job module cannot be read', 'check the permissions of the file'),
  JOB_TOO_LARGE: row('input', 'the job module is larger than 1 MiB', 'put data into inputs, not into the module'),
  JOB_THROWS_ON_LOAD: row('input', 'the job module throws when it is loaded', 'node FILE shows where'),
  JOB_EXPORTS_NOTHING: row('input', 'the job module exports no map', 'conclave run --help'),
  JOB_REFUSED: row('input', 'the network did not take the job', 'conclave jobs'),
  JOB_UNKNOWN: row('input', 'no job has this id', 'conclave jobs'),
  JOB_AMBIGUOUS: row('input', 'several jobs begin with this id', 'give more of the id: conclave jobs'),
  INPUT_NOT_FOUND: row('input', 'an input file does not exist', 'check the path; put patterns in quotes'),
  INPUT_NOT_A_FILE: row('input', 'an input is a pipe or a device, not a file', 'pipe it: … | conclave run JOB --input -'),
  INPUT_NO_MATCH: row('input', 'a pattern matches no file', 'check the pattern, and put it in quotes'),
  INPUT_UNREADABLE: row('input', 'an input cannot be read', 'check the permissions of the file'),
  INPUT_IS_DIRECTORY: row('input', 'an input is a directory', 'name the files in it with a pattern'),
  INPUT_TOO_MANY: row('input', 'the inputs are more files than a job takes', 'pack them, or submit several jobs'),
  INPUT_TOO_LARGE: row('input', 'the input does not fit into the splits of one job', 'raise --split, or submit several jobs'),
  INPUT_EMPTY: row('input', 'there is nothing to read on standard input', 'pipe something into the command'),
  INPUT_SPLIT_INVALID: row('input', 'the size of a split is out of range', 'give --split a size in the range that was told'),
  INPUT_RECORD_TOO_LONG: row('input', 'one line is longer than a record may be', 'split the line, or raise --split'),
  INPUT_NOT_UTF8: row('input', 'an input is not UTF-8', '--encoding latin1'),
  OUTPUT_FAILED: row('input', 'the output file cannot be written', 'check the path and the free space'),
  // somebody is not there (now)
  NOT_RUNNING: row('unreachable', 'no node runs on this data directory', 'conclave up'),
  DAEMON_LOST: row('unreachable', 'the daemon went away in the middle of an answer', 'conclave up'),
  DAEMON_STOPPING: row('unreachable', 'the daemon is stopping', 'conclave up'),
  DAEMON_UNREADABLE: row('unreachable', 'the daemon\'s answer cannot be understood', 'conclave down, then conclave up'),
  NO_QUORUM: row('unreachable', 'no majority of the voters can be reached', 'conclave peers'),
  NO_LEADER: row('unreachable', 'nobody leads at the moment', 'try again in a second; conclave status'),
  NOT_LEADER: row('unreachable', 'this member does not lead', 'try again in a second'),
  NO_ADDRESS: row('unreachable', 'there is no address to dial or to give out', 'conclave up --listen /ip4/0.0.0.0/tcp/4001'),
  PEER_UNREACHABLE: row('unreachable', 'a member is not connected', 'conclave peers'),
  PEER_SILENT: row('unreachable', 'a member stopped answering', 'conclave peers'),
  DIAL_FAILED: row('unreachable', 'no connection could be made', 'check that the other machine is up and its port open'),
  JOIN_TIMEOUT: row('unreachable', 'nobody let this node in in time', 'check that the inviting member is up, then conclave up again'),
  LISTEN_FAILED: row('unreachable', 'the listening address cannot be used', 'choose another one with --listen'),
  READ_TIMEOUT: row('unreachable', 'no leader confirmed a read in time', 'try again'),
  REQUEST_TIMEOUT: row('unreachable', 'a member did not answer in time', 'try again; conclave peers'),
  STREAM_CLOSED: row('unreachable', 'a connection to a member ended', 'try again; conclave peers'),
  PROTOCOL_UNSUPPORTED: row('unreachable', 'a member speaks another version', 'run the same version everywhere'),
  LEADERSHIP_LOST: row('unreachable', 'another leader was elected meanwhile', 'try again'),
  BLOCK_MISSING: row('unreachable', 'no member that is connected holds some data', 'start the members that hold it: conclave peers'),
  COPY_FAILED: row('unreachable', 'no other member could take a copy', 'conclave peers'),
  TRANSFER_FAILED: row('unreachable', 'leadership could not be handed over', 'try again'),
  SNAPSHOT_GONE: row('unreachable', 'a snapshot was replaced while it was read', 'try again'),
  // not allowed, not trusted
  TICKET_UNKNOWN: row('denied', 'this is no ticket', 'copy the whole ticket: it begins with conclave1'),
  TICKET_DAMAGED: row('denied', 'the ticket has a typing error', 'copy it again; the position is told'),
  TICKET_INVALID: row('denied', 'the ticket cannot be used', 'ask for a new one: conclave invite'),
  TICKET_EXPIRED: row('denied', 'the ticket is too old', 'ask for a new one: conclave invite'),
  OBSERVER_BEHIND: row('failed', 'an observer was so slow that results it had not seen were forgotten', 'observe again from the beginning of what is remembered'),
  MEMBER_UNKNOWN: row('usage', 'no such member', 'conclave peers'),
  GRANT_USED_UP: row('denied', 'the ticket has been used as often as it allows', 'ask for a new one: conclave invite'),
  GRANT_EXPIRED: row('denied', 'the ticket is too old', 'ask for a new one: conclave invite'),
  OTHER_NETWORK: row('denied', 'the data directory belongs to another network', 'conclave up --data-dir DIR -'),
  WRONG_NETWORK: row('denied', 'the other side belongs to another network', 'use a ticket of the network that you want'),
  FENCE_MISMATCH: row('denied', 'the other side belongs to another network', 'use a ticket of the network that you want'),
  PEER_MISMATCH: row('denied', 'another node answers at this address', 'ask for a new ticket: conclave invite'),
  PEER_REFUSED: row('denied', 'a member refused this node', 'conclave status on the member that refused'),
  NOT_ADMITTED: row('denied', 'the network did not admit this node', 'ask for a new ticket: conclave invite'),
  NOT_A_MEMBER: row('denied', 'this node is not a member', 'conclave up with a ticket'),
  NOT_ALLOWED: row('denied', 'the certificate lacks the capability', 'ask for a ticket with it: conclave invite --caps'),
  NOT_A_VOTER: row('denied', 'the other member keeps no log', 'conclave peers'),
  DENIED: row('denied', 'this is not allowed here', 'conclave status'),
  REVOKED: row('denied', 'this member was revoked', 'ask an issuer of the network'),
  INVITE_DENIED: row('denied', 'this node may not invite', 'ask a member that may'),
  INVITE_WIDENED: row('denied', 'a capability is granted that this node has not', 'leave it out of --caps'),
  KEY_FILE_OPEN: row('denied', 'other users can read the key file', 'chmod 600 on the file that was named'),
  KEY_FILE_CORRUPT: row('denied', 'the key file is damaged', 'restore it, or join anew with another --data-dir'),
  KEY_FILE_LOCKED: row('denied', 'the key file is encrypted', 'give its passphrase'),
  KEY_FILE_PASSPHRASE: row('denied', 'the passphrase is wrong', 'give the passphrase that it was made with'),
  KEY_FILE_UNREADABLE: row('denied', 'the key file cannot be read', 'check the permissions of the file'),
  KEY_FILE_UNWRITABLE: row('denied', 'the key file cannot be written', 'check the permissions and the free space'),
  NETWORK_FILE_CORRUPT: row('denied', 'the network file is damaged', 'join anew with another --data-dir'),
  // in use or full
  DATA_DIR_IN_USE: row('busy', 'another process runs a node on this data directory', 'conclave status, or another --data-dir'),
  DATA_DIR_UNUSABLE: row('busy', 'the data directory cannot be used', 'choose another --data-dir'),
  CONTROL_SOCKET_FAILED: row('busy', 'the control socket cannot be opened', 'choose another --data-dir'),
  BUSY: row('busy', 'a limit of waiting work is reached', 'try again in a moment'),
  BLOCKS_BUSY: row('busy', 'too many blocks wait already', 'try again in a moment'),
  BLOCKS_STALLED: row('busy', 'a transfer stood still', 'try again'),
  BLOCK_STORE_FULL: row('busy', 'the block store is full', 'wait for running jobs, or free its budget'),
  SANDBOX_BUSY: row('busy', 'too many tasks wait for a slot', 'try again when tasks have ended'),
  DISK_FULL: row('busy', 'the disk is full', 'free some space'),
  LOG_DISK_FULL: row('busy', 'the disk is full', 'free some space, then conclave up'),
  MEMBERS_LIMIT: row('busy', 'the network has as many members as it may', 'conclave revoke a member that is gone for good'),
  GRANTS_LIMIT: row('busy', 'as many tickets are in use as the network counts', 'try again when some of them have expired'),
  REVOKED_LIMIT: row('busy', 'the network has revoked as many members as it may', 'found another network'),
  PROPOSAL_DROPPED: row('busy', 'the leader took no more work', 'try again'),
  PUT_QUOTA: row('busy', 'a member keeps as much for this node as it will', 'try again when jobs have ended'),
  // it was tried, and failed
  JOB_FAILED: row('failed', 'the job failed', 'conclave jobs --json'),
  JOB_CANCELLED: row('failed', 'the job was cancelled', 'conclave jobs'),
  TASK_TIMEOUT: row('failed', 'a task ran longer than it may', 'raise --timeout'),
  TASK_MEMORY: row('failed', 'a task used more memory than it may', 'raise --memory'),
  TASK_OUTPUT: row('failed', 'a task wrote more than it may', 'emit less, or lower --split'),
  TASK_THROW: row('failed', 'the job\'s code threw, or gave what JSON cannot carry', 'the message names the record'),
  TASK_DENIED: row('failed', 'a task asked for more than a sandbox gives', 'a job has no imports, files or network; lower --memory or --split'),
  TASK_CODE: row('failed', 'the job module does not load, or lacks a function', 'conclave run --help'),
  TASK_CRASH: row('failed', 'an executor died under a task', 'conclave status'),
  TASK_ABANDONED: row('failed', 'a task was given out as often as it may and never finished', 'conclave jobs --json'),
  SUBMITTER_REVOKED: row('failed', 'who submitted the job is no longer a member', 'submit it from another member'),
  DEADLINE: row('failed', 'the job did not end by its deadline', 'raise --deadline'),
  OUTPUT_MALFORMED: row('failed', 'a result is no JSON', 'conclave status'),
  EVENTS_LOST: row('failed', 'this reader fell too far behind', 'conclave watch'),
  DEV_FAILED: row('failed', 'a node of conclave dev did not come up', 'see its message above'),
  ABORTED: row('failed', 'the operation was given up', ''),
  CLIENT_GONE: row('failed', 'the client went away', ''),
  STOP_TIMEOUT: row('failed', 'the node did not stop in time and was ended', 'nothing: its log survives that'),
  NODE_STOPPED: row('failed', 'the node is stopping', 'conclave up'),
  STOPPED: row('failed', 'the node is stopping', 'conclave up'),
  REQUEST_CANCELLED: row('failed', 'the requester gave up', ''),
  // our fault, or the disk's
  INTERNAL: row('internal', 'a bug of ours', 'please report it'),
  CONSENSUS_BROKEN: row('internal', 'this replica stopped rather than damage its log', 'conclave up; other members go on'),
  LOG_CORRUPT: row('internal', 'the consensus log is damaged in its middle', 'remove the data directory and join again'),
  LOG_FOREIGN: row('internal', 'the consensus log belongs to another node', 'give each node a --data-dir of its own'),
  LOG_IO_FAILED: row('internal', 'the disk failed under the consensus log', 'check the disk, then conclave up'),
  SNAPSHOT_CORRUPT: row('internal', 'a snapshot of the ledger is damaged', 'remove the data directory and join again'),
  PEER_STORE_FAILED: row('internal', 'the peer store is damaged', 'remove it: it is rebuilt from the network'),
  BLOCK_IO: row('internal', 'the disk failed under the block store', 'check the disk'),
  SANDBOX_SPAWN: row('internal', 'no executor process could be started', 'conclave status'),
  SANDBOX_STOPPED: row('internal', 'the sandbox was stopped', 'conclave up')
}

/**
 * Codes that come in families: a peer's bytes that were judged wrong, or a duty of ours that was not kept. A person meets them as the
 * cause of another failure, or in the log. The first prefix that fits.
 */
const FAMILIES: ReadonlyArray<readonly [prefix: string, row: ErrorRow]> = [
  ['CERT_', row('denied', 'a certificate was refused', 'ask for a new ticket: conclave invite')],
  ['ATTESTATION_', row('denied', 'a proof of admission was refused', 'ask for a new ticket: conclave invite')],
  ['ADMISSION_', row('unreachable', 'the network did not decide on an admission in time', 'check that most voters are up, then conclave up again')],
  ['HELLO_', row('denied', 'the handshake failed', 'run the same version on both sides')],
  ['HANDSHAKE_', row('denied', 'the handshake failed', 'try again; conclave status on both sides')],
  ['ISSUER_', row('denied', 'who issued the invitation may not', 'ask another member: conclave invite')],
  ['JOB_', row('input', 'the job cannot be run as it is', 'conclave run --help')],
  ['SPEC_', row('input', 'the job cannot be taken as it is', 'conclave run --help')],
  ['JOBS_', row('busy', 'the network holds as many jobs as it may', 'wait for jobs to end: conclave jobs')],
  ['INPUT_', row('input', 'an input cannot be used', 'conclave run --help')],
  ['SANDBOX_', row('internal', 'the sandbox failed', 'conclave status')],
  ['OUTBOX_', row('busy', 'the outbox of receipts failed or is full', 'check the disk, then conclave up')],
  ['LOG_', row('internal', 'the consensus log failed', 'check the disk, then conclave up')]
]

const UNKNOWN = row('failed', 'the operation failed', 'conclave status')

/** @returns the row of a code; every code has one */
export function explain (code: string): ErrorRow {
  const exact = Object.hasOwn(ERRORS, code) ? ERRORS[code] : undefined
  return exact ?? FAMILIES.find(([prefix]) => code.startsWith(prefix))?.[1] ?? UNKNOWN
}

/** @returns the exit code of the `conclave` command for this error code */
export const exitOf = (code: string): number => EXIT[explain(code).exit]

const HTTP: Readonly<Record<ExitClass, number>> = { ok: 200, failed: 422, usage: 400, input: 422, unreachable: 503, denied: 403, busy: 409, internal: 500, interrupted: 499 }

/** @returns the status with which the control API answers this error code */
export function httpStatusOf (code: string): number {
  if (code === 'BODY_TOO_LARGE') return 413
  return code === 'NOT_FOUND' || code === 'JOB_UNKNOWN' ? 404 : HTTP[explain(code).exit]
}
