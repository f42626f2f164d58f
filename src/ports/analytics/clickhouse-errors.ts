import { ClickHouseError } from '@clickhouse/client';
import { AnalyticsError, type AnalyticsErrorKind, type Refusal } from './analytics.ts';

/** What the engine was doing; decides what its complaint means. */
export type Operation = 'query' | 'insert' | 'statement';

/** The query went over a limit that was set for it: rows, bytes, time, speed, memory, or the size of a set. */
const OVER_LIMIT = new Set(['158', '159', '160', '191', '241', '307', '396']);

/**
 * It cannot right now: too many queries, connections or parts; time, memory, disk or network gave out; shutting down,
 * cancelled, read-only, unsure, or without its coordinator; too few replicas, one that lags, or another insert that is not
 * on enough of them yet.
 */
const NOT_NOW = new Set([
  ...['3', '202', '203', '209', '210', '225', '236', '242', '243', '252', '279', '319', '341', '394', '439', '999'],
  ...['285', '286', '289'],
]);

/** No such table, no such database; who asks is unknown, or has not the rights. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  ...{ 60: 'missing', 81: 'missing' },
  ...{ 164: 'denied', 192: 'denied', 193: 'denied', 194: 'denied', 195: 'denied', 497: 'denied', 516: 'denied' },
};

/**
 * Whatever stands between may answer 200 to anything. The client believes that, and takes what it cannot read for no rows.
 * @throws AnalyticsError when the answer is not ClickHouse's, which names the query in each.
 */
export function checkIsClickhouse(headers: Readonly<Record<string, string | readonly string[] | undefined>>): void {
  if (headers['x-clickhouse-query-id'] !== undefined) return;
  throw new AnalyticsError('unavailable', 'something that is not ClickHouse answers at ANALYTICS_URL');
}

/** Every failure as the port knows it. */
export function analyticsError(error: unknown, operation: Operation): AnalyticsError {
  if (error instanceof AnalyticsError) return error;
  const message = error instanceof Error && error.message !== '' ? error.message : String(error);
  const kind = kindOf(error, operation);
  return new AnalyticsError(kind, `ClickHouse: ${message}`, { cause: error, refusal: refusalOf(error, kind) });
}

function refusalOf(error: unknown, kind: AnalyticsErrorKind): Refusal | null {
  if (kind !== 'refused' || !(error instanceof ClickHouseError)) return null;
  return REFUSALS[error.code] ?? null;
}

function kindOf(error: unknown, operation: Operation): AnalyticsErrorKind {
  // No connection, no answer in time, or an answer that does not come from ClickHouse.
  if (!(error instanceof ClickHouseError)) return 'unavailable';
  if (NOT_NOW.has(error.code) || error.message.includes('No space left on device')) return 'unavailable';
  if (!OVER_LIMIT.has(error.code)) return 'refused';
  // An insert has no limit of its own, and (total) is the memory of the whole engine.
  return operation === 'query' && !error.message.startsWith('(total)') ? 'too-heavy' : 'unavailable';
}
