import { decode } from './codec.ts';
import type { DomainEvent, Metadata } from './event.ts';

/** What happens to the stream of a role in which only one process acts at a time. */
export type LeaseEvent =
  DomainEvent<'LeaseTaken', Tenure> | DomainEvent<'LeaseRenewed', Tenure> | DomainEvent<'LeaseReleased', Tenure>;

/** From the moment a process takes the lease until another does, or until it is given back. */
export interface Tenure {
  /** Outlives a restart: two processes with the same one never run at the same time. */
  readonly holder: string;
  /** Another one after each start. */
  readonly process: string;
  /** Higher than all before: the version of the stream with its LeaseTaken. */
  readonly term: number;
}

interface Newest {
  readonly type: string;
  readonly data: unknown;
  readonly metadata: Metadata;
}

/** Nobody that we know, who does something that we do not know: a newer version of this service. */
const STRANGER: Tenure = { holder: '', process: '', term: 0 };

/** Who may hold the lease; null when nobody does. `newest` is the last event of the stream. */
export function foldLease(newest: Newest | null): Tenure | null {
  const event = newest && decode(newest);
  switch (event?.type) {
    case undefined:
    case 'LeaseReleased':
      return null;
    case 'LeaseTaken':
    case 'LeaseRenewed':
      return event.data;
    default:
      return STRANGER;
  }
}
