import type { Entry, ReceiptSchedule } from './receipts-index.ts';
import { dueEntries, entriesOf, foldReceipts, nextDue, nextTry, postpone } from './receipts-index.ts';
import { RECEIPT_SCHEDULE, RECEIPT_TYPES } from './receipts-index.ts';
import { ALWAYS_HELD, type Lease } from './lease.ts';
import type { ProjectionStatus } from './run.ts';
import { runProjection } from './run.ts';
import { wakeAt } from './wake.ts';
import type { Receipt } from '../events/outcome.ts';
import type { ReceiptEnding } from '../events/receipts.ts';
import type { Started } from '../lifecycle.ts';
import type { Log } from '../log.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';
import { exclusive, type Exclusive } from '../ports/state/exclusive.ts';
import type { State } from '../ports/state/state.ts';

export interface ReceiptsOptions {
  readonly log: EventLog;
  readonly state: State;
  readonly logger: Log;
  readonly now: () => number;
  readonly receipts: ParkedReceipts;
  readonly schedule?: ReceiptSchedule;
  /** Default: no other process tries them. */
  readonly lease?: Lease;
}

/** How parked receipts are tried again and ended. Both reject when the log does not answer. */
export interface ParkedReceipts {
  readonly retry: (receipt: Receipt) => Promise<'recorded' | 'unknown'>;
  readonly settle: (receipt: Receipt, outcome: ReceiptEnding) => Promise<void>;
}

/** Tries under way at once. */
const WINDOW = 32;
/** A log that answers nothing fails every try: one line a second tells it. */
const REPORT_MS = 1_000;

/**
 * Tries parked receipts again until their attempts are known or the schedule ends. No receipt is dropped without an
 * event that says so and a line for people, and none because the log did not answer. What falls due while no process
 * runs is tried once when one does again.
 */
export function startReceipts(options: ReceiptsOptions): Started<() => ProjectionStatus> {
  const { log, state, logger, schedule = RECEIPT_SCHEDULE, lease = ALWAYS_HELD } = options;
  const alone = exclusive();
  const tries = openTries({ ...options, schedule, alone, mayTry: () => projection.value().mayAct });
  /** Folded and not committed, and of the parked ones those from before the end of the log was reached. */
  const settled: string[] = [];
  const parked = new Set<string>();
  let acted = false;
  const projection = runProjection(
    {
      name: 'receipts',
      filter: { types: RECEIPT_TYPES },
      state,
      fold: (event, changes) => {
        const kind = foldReceipts(event, changes, schedule);
        if (kind === 'parked') parked.add(event.stream);
        if (kind === 'settled') settled.push(event.stream);
      },
      committed: (live) => {
        for (const stream of settled.splice(0)) tries.ended(stream);
        // Before the end of the log is reached, what looks parked may have been settled long ago.
        if (!live) return;
        const { mayAct } = projection.value();
        const isAsBefore = acted === mayAct;
        acted = mayAct;
        if (isAsBefore && parked.size === 0) return;
        // Whoever may act tells it; once is enough.
        for (const entry of mayAct ? entriesOf(state, parked) : []) {
          logger.error(namesOf(entry), 'a receipt for an unknown attempt was parked');
        }
        parked.clear();
        tries.wake();
      },
    },
    { log, logger, exclusive: alone, lease },
  );
  const stopListening = lease.onChange(tries.wake);
  return {
    value: projection.value,
    stop: async () => {
      stopListening();
      await projection.stop();
      await tries.stop();
    },
  };
}

interface TriesOptions extends ReceiptsOptions {
  readonly schedule: ReceiptSchedule;
  readonly alone: Exclusive;
  readonly mayTry: () => boolean;
}

/** An entry stays in flight until its ending comes back by the subscription, or the time of its next try is kept. */
function openTries(options: TriesOptions): {
  readonly wake: () => void;
  readonly ended: (stream: string) => void;
  readonly stop: () => Promise<void>;
} {
  const { state, now, alone } = options;
  const inFlight = new Set<string>();
  const tasks = new Set<Promise<void>>();
  const reportFault = faultReporter(options);
  const wake = wakeAt(() => {
    if (options.mayTry()) wake.at(tryDue());
  }, now);

  function tryDue(): number | null {
    // One time for both: what falls due between two looks at the clock would be in neither.
    const at = now();
    const found = dueEntries(state, at, inFlight.size + WINDOW);
    for (const entry of found.filter(({ stream }) => !inFlight.has(stream)).slice(0, WINDOW - tasks.size)) {
      inFlight.add(entry.stream);
      const task = tryOne(entry).finally(() => tasks.delete(task));
      tasks.add(task);
    }
    return nextDue(state, at);
  }

  async function tryOne(entry: Entry): Promise<void> {
    const { afterFault } = options.schedule;
    try {
      if ((await tryAgain(options, entry)) === 'open') inFlight.delete(entry.stream);
      wake.now();
    } catch (err) {
      reportFault(entry, err);
      await alone(() => postpone(state, entry, now() + afterFault)).catch((error: unknown) =>
        reportFault(entry, error),
      );
      inFlight.delete(entry.stream);
      wake.at(now() + afterFault);
    }
  }

  return {
    wake: wake.now,
    ended: (stream) => void inFlight.delete(stream),
    stop: async () => {
      wake.stop();
      await Promise.all(tasks);
    },
  };
}

/** One try, and what follows from it on record before it answers. */
async function tryAgain(options: TriesOptions, entry: Entry): Promise<'ended' | 'open'> {
  const { receipts, schedule, now, logger, state, alone } = options;
  const isLast = now() - entry.parkedAt >= schedule.until;
  if ((await receipts.retry(entry.receipt)) === 'recorded') {
    await receipts.settle(entry.receipt, 'RECORDED');
    return 'ended';
  }
  if (isLast) {
    await receipts.settle(entry.receipt, 'GIVEN_UP');
    logger.error(namesOf(entry), 'a receipt was given up: its attempt is still unknown');
    return 'ended';
  }
  const due = nextTry(schedule, entry.parkedAt, now());
  await alone(() => postpone(state, entry, due));
  return 'open';
}

function faultReporter({ logger, now }: ReceiptsOptions): (entry: Entry, error: unknown) => void {
  let reportedAt = -Infinity;
  return (entry, err) => {
    if (now() - reportedAt < REPORT_MS) return;
    reportedAt = now();
    logger.error({ ...namesOf(entry), err }, 'a parked receipt could not be tried again; trying later');
  };
}

/** For the log: never an address, nor what the provider said. */
function namesOf({ receipt, stream }: Entry): object {
  const { notificationId: notification, deliveryId: delivery, attempt, provider } = receipt;
  return { receipt: stream, notification, delivery, attempt, provider };
}
