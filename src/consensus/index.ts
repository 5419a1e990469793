/**
 * Consensus as the rest of Conclave, and users of `conclave/consensus`, see it: the pure core, and the driver that gives it a disk, a clock
 * and a network. See README.md.
 */
export * from './types.ts'
export * from './consensus.ts'
export { createRaft, mayPrecedeSync, type Raft } from './raft.ts'
export { createConsensus } from './driver.ts'
export { nextConfChange, type AutopilotInput } from './autopilot.ts'
