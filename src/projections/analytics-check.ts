import type { Batch } from './analytics-batch.ts';
import { COLUMNS, type Row } from './analytics-rows.ts';
import type { AnalyticsBatchPlanned } from '../events/ingest.ts';
import { AnalyticsError, type Analytics, type QueryParams } from '../ports/analytics/analytics.ts';

const DAY_MS = 24 * 3_600_000;

/** Rows recorded longer ago than this, and deliveries of older requests, may be on their way out of the tables. */
const KEPT_MS = { events: 90 * DAY_MS, deliveries: 360 * DAY_MS };

/**
 * Whether a batch that was inserted once more is in all tables, once. Deduplication is not to be relied on where the
 * engine was killed: ClickHouse notes a token before the rows are in place and does not flush the note to the disk. Killed
 * in between, it takes the repetition for a duplicate of rows that it does not have; after a power cut it may take
 * rows that it has for new ones.
 * @throws AnalyticsError `too-heavy` when not even the rows of one moment can be looked for.
 */
export async function isWhole(
  analytics: Analytics,
  batch: Batch,
  { total }: AnalyticsBatchPlanned,
  now: number,
): Promise<boolean> {
  if ((await numberFrom(analytics, UPDATES)) !== total) return false;
  const recordedAfter = timeOf(now - KEPT_MS.events);
  const kept = batch.rows.filter((row) => String(row[RECORDED_AT]) > recordedAfter);
  const common = { from: batch.from, to: batch.to, recordedAfter, requestedAfter: timeOf(now - KEPT_MS.deliveries) };
  for (const window of weeksOf(kept)) {
    if (!(await isWindowWhole(analytics, window, common))) return false;
  }
  return true;
}

/** Rows of a stretch of request times, in their order, and no row of these times is elsewhere. Never empty. */
type Window = readonly Row[];

const REQUESTED_AT = COLUMNS.indexOf('requested_at');
const RECORDED_AT = COLUMNS.indexOf('recorded_at');

function requestedAt(row: Row | undefined): string {
  return String(row?.[REQUESTED_AT]);
}

/** A question about many days at once would open all their parts. */
function weeksOf(rows: readonly Row[]): readonly Window[] {
  const weeks = new Map<number, Row[]>();
  for (const row of rows.toSorted((a, b) => (requestedAt(a) < requestedAt(b) ? -1 : 1))) {
    const week = Math.floor(Date.parse(`${requestedAt(row).replace(' ', 'T')}Z`) / (7 * DAY_MS));
    const own = weeks.get(week) ?? [];
    own.push(row);
    weeks.set(week, own);
  }
  return [...weeks.values()];
}

async function isWindowWhole(analytics: Analytics, window: Window, common: QueryParams): Promise<boolean> {
  try {
    const params = { ...common, first: requestedAt(window[0]), last: requestedAt(window.at(-1)) };
    return (
      (await numberFrom(analytics, ROWS, params)) === window.length &&
      (await numberFrom(analytics, UNTOLD_DELIVERIES, params)) === 0
    );
  } catch (error) {
    const halves = error instanceof AnalyticsError && error.kind === 'too-heavy' ? halvesOf(window) : null;
    if (!halves) throw error;
    const [early, late] = halves;
    return (await isWindowWhole(analytics, early, common)) && (await isWindowWhole(analytics, late, common));
  }
}

/** Null where all rows are of one moment. */
function halvesOf(window: Window): readonly [Window, Window] | null {
  const middle = requestedAt(window[Math.floor(window.length / 2)]);
  const from = window.findIndex((row) => requestedAt(row) === middle);
  const cut = from > 0 ? from : window.findIndex((row) => requestedAt(row) > middle);
  return cut > 0 ? [window.slice(0, cut), window.slice(cut)] : null;
}

/** Of all batches together: each hour has some of every one. */
const UPDATES = 'SELECT sum(updates) AS number FROM activity_hourly';

const REQUESTED = `requested_at BETWEEN {first:DateTime64(3, 'UTC')} AND {last:DateTime64(3, 'UTC')}`;
const BATCH = `FROM delivery_events WHERE ${REQUESTED} AND position > {from:String} AND position <= {to:String}
  AND recorded_at > {recordedAfter:DateTime64(3, 'UTC')}`;
const ROWS = `SELECT count() AS number ${BATCH}`;

const NOTIFICATION = 'tenant, requested_at, notification_id';
const DELIVERY = `${NOTIFICATION}, delivery_id`;
const LARGEST = ['user_id', 'channel', 'platform', 'provider', 'campaign', 'category', 'template', 'template_version'];
const OFFSETS = ['queued', 'sent', 'delivered', 'opened', 'clicked', 'converted'];
const EACH_LARGEST = LARGEST.map((column) => `max(e.${column}) AS ${column}`).join(', ');

/**
 * Deliveries of the batch that are not there, or that do not know all that it says of them. Those of which it says
 * nothing are not looked at, and nor is what a delivery knows beyond it. `deliveries` is put together by hand: FINAL would
 * merge whole days, this takes from them what the batch is about.
 */
const UNTOLD_DELIVERIES = `
  WITH
    told AS
    (
      SELECT ${DELIVERY}, groupBitOr(e.steps) AS steps, ${EACH_LARGEST},
        ${OFFSETS.map((stage, index) => `minIf(offset, bitTest(e.steps, ${String(index + 1)})) AS ${stage}`).join(', ')}
      FROM
      (
        SELECT *, toUInt64(greatest(0, dateDiff('millisecond', requested_at, occurred_at))) AS offset ${BATCH}
      ) AS e
      WHERE requested_at > {requestedAfter:DateTime64(3, 'UTC')}
      GROUP BY ${DELIVERY}
    ),
    known AS
    (
      SELECT ${DELIVERY}, count() AS here, groupBitOr(e.steps) AS steps, ${EACH_LARGEST},
        ${OFFSETS.map((stage) => `min(e.${stage}_ms) AS ${stage}_ms`).join(', ')}
      FROM deliveries AS e
      WHERE ${REQUESTED} AND (${NOTIFICATION}) IN (SELECT ${NOTIFICATION} ${BATCH})
      GROUP BY ${DELIVERY}
    )
  SELECT count() AS number FROM told LEFT JOIN known USING (${DELIVERY})
  WHERE known.here = 0
    OR bitAnd(known.steps, told.steps) != told.steps
    OR ${LARGEST.map((column) => `known.${column} < told.${column}`).join(' OR ')}
    OR ${OFFSETS.map((stage, index) => `(bitTest(told.steps, ${String(index + 1)}) AND known.${stage}_ms > told.${stage})`).join(' OR ')}`;

async function numberFrom(analytics: Analytics, sql: string, params: QueryParams = {}): Promise<number> {
  const [row] = await analytics.query(sql, params);
  return Number(row?.['number']);
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, -1).replace('T', ' ');
}
