import type { AppendFault, FaultList, Gate, ReadFault } from './faults.ts';
import type { EventStoreLog } from './log.ts';
import type { Address, Failure } from './wire.ts';

/** A call that is open, as the server can end it. */
export interface OpenCall {
  readonly end: () => void;
  readonly fail: (failure: Failure) => void;
}

/** Who leads the cluster: this node, another, or nobody for the moment. */
export type Leader = 'self' | 'nobody' | Address;

/** A member of the cluster, as gossip tells. */
export interface Member {
  readonly address: Address;
  readonly leads: boolean;
  readonly alive: boolean;
}

/** What the handlers of all calls share. */
export interface Node {
  readonly log: () => EventStoreLog;
  /** Bytes. */
  readonly maxAppendSize: number;
  /** Since 23.10. */
  readonly saysCaughtUp: boolean;
  /** Matters to calls that require the leader; others a follower serves, or passes on. */
  leader: Leader;
  members: () => readonly Member[];
  readonly appendFaults: FaultList<AppendFault>;
  readonly readFaults: FaultList<ReadFault>;
  readonly subscribeFaults: FaultList<ReadFault>;
  /** Subscriptions send through it. */
  readonly delivery: Gate;
  readonly subscriptions: Set<OpenCall>;
  readonly batchStreams: Set<OpenCall>;
  /** Reads and single appends under way. */
  readonly others: Set<OpenCall>;
  readonly counts: { appends: number; reads: number; subscribed: number; batchCalls: number };
  readonly dropConnections: () => void;
  /** Runs `work` after so many milliseconds, unless the server stops before. */
  readonly later: (ms: number, work: () => void) => void;
}
