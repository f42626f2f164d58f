import { ClickHouseError } from '@clickhouse/client';
import { AnalyticsError, type AnalyticsErrorKind } from './analytics.ts';

/** What the engine was doing; decides what its complaint means. */
export type Operation = 'query' | 'insert' | 'statement';

/** The query went over a limit that was set for it: rows, bytes, time, speed, memory, or the size of a set. */
const OVER_LIMIT = new Set(['158', '159', '160', '191', '241', '307', '396']);

/**
 * It cannot right now: too many queries, connections or parts; time, memory, disk or network gave out; shutting down,
 * cancelled, read-only, unsure, or without its coordinator.
 */
const NOT_NOW = new Set([
  ...['3', '202', '203', '209', '210', '225', '236', '242', '243', '252', '279', '319', '394', '439', '999'],
]);

/** Every failure as the port knows it. */
export function analyticsError(error: unknown, operation: Operation): AnalyticsError {
  if (error instanceof AnalyticsError) return error;
  const message = error instanceof Error && error.message !== '' ? error.message : String(error);
  return new AnalyticsError(kindOf(error, operation), `ClickHouse: ${message}`, { cause: error });
}

function kindOf(error: unknown, operation: Operation): AnalyticsErrorKind {
  // No connection, no answer in time, or an answer that does not come from ClickHouse.
  if (!(error instanceof ClickHouseError)) return 'unavailable';
  if (NOT_NOW.has(error.code) || error.message.includes('No space left on device')) return 'unavailable';
  if (!OVER_LIMIT.has(error.code)) return 'refused';
  // An insert has no limit of its own, and (total) is the memory of the whole engine.
  return operation === 'query' && !error.message.startsWith('(total)') ? 'too-heavy' : 'unavailable';
}
