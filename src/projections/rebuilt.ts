import { DISPATCH_TYPES, foldDispatch } from './dispatch-index.ts';
import { foldReceipts, RECEIPT_SCHEDULE, RECEIPT_TYPES } from './receipts-index.ts';
import { foldRoute, ROUTE_TYPES } from './route-pending.ts';
import { runProjection, type Projection, type ProjectionStatus } from './run.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { EventLog, RecordedEvent } from '../ports/event-log/event-log.ts';
import { exclusive } from '../ports/state/exclusive.ts';
import type { State } from '../ports/state/state.ts';

/** The projections that keep a local state. */
export const LOCAL = ['route', 'dispatch', 'receipts'] as const;
export type Local = (typeof LOCAL)[number];

const FOLDS: Readonly<Record<Local, Pick<Projection, 'filter' | 'fold'>>> = {
  route: { filter: { types: ROUTE_TYPES }, fold: foldRoute },
  dispatch: { filter: { types: DISPATCH_TYPES }, fold: foldDispatch },
  receipts: {
    filter: { types: RECEIPT_TYPES },
    fold: (event, changes) => void foldReceipts(event, changes, RECEIPT_SCHEDULE),
  },
};

export interface RefoldOptions {
  readonly log: EventLog;
  readonly state: State;
  readonly logger: Log;
  readonly folded: (event: RecordedEvent) => void;
  /** The end of the log was reached. */
  readonly live: () => void;
}

/** Folds the log into the state from where that is, and does nothing else of what the projection does. */
export function refold(name: Local, options: RefoldOptions): Started<() => ProjectionStatus> {
  const { filter, fold } = FOLDS[name];
  const { log, state, logger } = options;
  return runProjection(
    {
      name,
      filter,
      state,
      fold: (event, changes) => {
        fold(event, changes);
        options.folded(event);
      },
      committed: (live) => {
        if (live) options.live();
      },
    },
    { log, logger, exclusive: exclusive() },
  );
}
