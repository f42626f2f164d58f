import { StoreLost } from './analytics-watch.ts';
import type { IngestLimits } from './analytics.ts';
import type { Log } from '../log.ts';
import { AnalyticsError } from '../ports/analytics/analytics.ts';
import { WrongExpectedVersion } from '../ports/event-log/event-log.ts';

export interface Faults {
  /** Reports what has to be reported and answers for how long to wait, in milliseconds. */
  readonly met: (error: unknown) => number;
  /** Something went well again. */
  readonly over: () => void;
}

type Kind = 'rival' | 'lost' | 'refused' | 'too-heavy' | 'unavailable' | 'failed';

const MESSAGES: Readonly<Record<Kind, string>> = {
  rival: 'another process writes ClickHouse as well; waiting',
  lost: 'the tables of ClickHouse were removed or replaced',
  refused: 'ClickHouse refuses what is to be inserted; trying again',
  'too-heavy': 'the check whether the last batch is whole is too heavy for ClickHouse; trying again',
  unavailable: 'ClickHouse gives no answer; trying again',
  failed: 'ClickHouse cannot be written; trying again',
};

const NEEDS_A_PERSON: ReadonlySet<Kind> = new Set(['refused', 'too-heavy']);

/** A short failure is a warning; one that lasts, or cannot end by itself, is for people on call. */
export function openFaults(logger: Log, { pauseMs, longPauseMs, reportMs }: IngestLimits): Faults {
  const [shortest, longest] = pauseMs;
  const reportedAt = new Map<Kind, number>();
  let failures = 0;
  let since = 0;
  const report = (kind: Kind, err: unknown): void => {
    const now = performance.now();
    if (failures === 1) since = now;
    const lasts = failures > 1 && now - since >= reportMs;
    if (now - (reportedAt.get(kind) ?? -Infinity) < reportMs) return;
    reportedAt.set(kind, now);
    const level = NEEDS_A_PERSON.has(kind) || lasts ? 'error' : 'warn';
    logger[level]({ projection: 'analytics', failures, err }, MESSAGES[kind]);
  };
  return {
    met: (error) => {
      failures += 1;
      const kind = kindOf(error);
      report(kind, error);
      const pause = Math.min(shortest * 2 ** (failures - 1), longest);
      return kind === 'rival' || NEEDS_A_PERSON.has(kind) ? longPauseMs : pause;
    },
    over: () => {
      failures = 0;
    },
  };
}

function kindOf(error: unknown): Kind {
  if (error instanceof WrongExpectedVersion) return 'rival';
  if (error instanceof StoreLost) return 'lost';
  return error instanceof AnalyticsError ? error.kind : 'failed';
}
