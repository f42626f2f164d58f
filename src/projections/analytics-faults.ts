import { StoreLost } from './analytics-watch.ts';
import type { IngestLimits } from './analytics.ts';
import type { Log } from '../log.ts';
import { AnalyticsError, type AnalyticsErrorKind, type Refusal } from '../ports/analytics/analytics.ts';
import { LogUnavailable, WrongExpectedVersion } from '../ports/event-log/event-log.ts';

export interface Faults {
  /** Reports what has to be reported and answers for how long to wait, in milliseconds. */
  readonly met: (error: unknown) => number;
  /** Something went well again. */
  readonly over: () => void;
}

type Kind = 'rival' | 'log' | 'lost' | AnalyticsErrorKind | Refusal | 'failed';

const MESSAGES: Readonly<Record<Kind, string>> = {
  rival: 'another process writes ClickHouse as well; waiting',
  log: 'the event log gives no answer; trying again',
  lost: 'the tables of ClickHouse were removed or replaced',
  refused: 'ClickHouse refuses what is to be inserted; trying again',
  missing: 'a database or a table is not there in ClickHouse (ANALYTICS_URL); trying again',
  denied:
    'ClickHouse does not let the user of ANALYTICS_URL in, or do what is needed: look at name, password and rights; trying again',
  foreign:
    'the tables at ANALYTICS_URL belong to another event log; waiting for another database, or for these to be dropped',
  'too-heavy': 'the check whether the last batch is whole is too heavy for ClickHouse; trying again',
  unavailable: 'ClickHouse gives no answer; trying again',
  failed: 'ClickHouse cannot be written; trying again',
};

const NEEDS_A_PERSON: ReadonlySet<Kind> = new Set(['refused', 'missing', 'denied', 'foreign', 'too-heavy']);

/** Tables that are lost again within this time, in milliseconds, are taken away by something that does not end by itself. */
const SOON_MS = 60_000;
const MANY_LOSSES = 5;

/** A short failure is a warning; one that lasts, or cannot end by itself, is for people on call. */
export function openFaults(logger: Log, { pauseMs, longPauseMs, reportMs }: IngestLimits): Faults {
  const [shortest, longest] = pauseMs;
  const reportedAt = new Map<Kind, number>();
  let failures = 0;
  let since = 0;
  const losses = openLosses();
  const report = (kind: Kind, err: unknown): void => {
    const now = performance.now();
    if (failures === 1) since = now;
    const lasts = (failures > 1 && now - since >= reportMs) || (kind === 'lost' && losses.number() >= MANY_LOSSES);
    if (now - (reportedAt.get(kind) ?? -Infinity) < reportMs) return;
    reportedAt.set(kind, now);
    const level = NEEDS_A_PERSON.has(kind) || lasts ? 'error' : 'warn';
    logger[level]({ projection: 'analytics', failures, err }, MESSAGES[kind]);
  };
  return {
    met: (error) => {
      failures += 1;
      const kind = kindOf(error);
      if (kind === 'lost') losses.add();
      report(kind, error);
      // What is filled goes well for a moment each time, which is no end of losses.
      const times = kind === 'lost' ? Math.max(failures, losses.number()) : failures;
      const most = kind === 'lost' ? longPauseMs : longest;
      const pause = Math.min(shortest * 2 ** (times - 1), most);
      return kind === 'rival' || NEEDS_A_PERSON.has(kind) ? longPauseMs : pause;
    },
    over: () => {
      failures = 0;
    },
  };
}

interface Losses {
  readonly add: () => void;
  /** How many there were, each soon after the one before. */
  readonly number: () => number;
}

function openLosses(): Losses {
  let number = 0;
  let at = -Infinity;
  return {
    add: () => {
      const now = performance.now();
      number = now - at < SOON_MS ? number + 1 : 1;
      at = now;
    },
    number: () => number,
  };
}

function kindOf(error: unknown): Kind {
  if (error instanceof WrongExpectedVersion) return 'rival';
  if (error instanceof StoreLost) return 'lost';
  if (error instanceof LogUnavailable) return 'log';
  return error instanceof AnalyticsError ? (error.refusal ?? error.kind) : 'failed';
}
