import type { Log } from '../log.ts';
import { AnalyticsError, type Analytics, type QueryParams, type ResultRow } from '../ports/analytics/analytics.ts';
import type { Position } from '../ports/event-log/event-log.ts';
import type { Ingest } from './analytics.ts';
import type { LiveLimits } from './live-limits.ts';
import { eventOver, isAfter, isWithin, markAt } from './live-story.ts';
import type { Interest, Mark, Reference, Stretch } from './live-story.ts';
import { limited } from './turns.ts';

/** As a page, before the deliveries are known. */
export interface References {
  readonly references: readonly Reference[];
  readonly upTo: Mark;
}

export interface RowOptions {
  readonly analytics: Analytics;
  readonly ingest: Pick<Ingest, 'watermark'>;
  readonly logger: Log;
  readonly limits: Pick<LiveLimits, 'queryMs'>;
}

/** At most that many updates of a stretch. */
export type RowSource = (stretch: Stretch, most: number) => Promise<References | null>;

/** After ClickHouse gave no answer it is left alone for this long; milliseconds. */
const REST_MS = 10_000;
const NO_DELIVERY = '00000000-0000-0000-0000-000000000000';

/**
 * Where the updates of a stretch are to be found, as ClickHouse knows; null when it does not know, or gives no answer:
 * then the log has to be read.
 */
export function openRowSource(options: RowOptions): RowSource {
  const { analytics, ingest, logger, limits } = options;
  /** What subscribers asked for that ClickHouse would not answer: they go on without it, and all others with it. */
  const refused = new WeakSet<object>();
  let restingUntil = -Infinity;
  const failed = ({ filter }: Stretch, err: unknown): void => {
    if (err instanceof AnalyticsError && err.kind !== 'unavailable') refused.add(filter);
    else restingUntil = performance.now() + REST_MS;
    logger.warn({ projection: 'live', err }, 'ClickHouse gives no answer to a subscriber; reading the log instead');
  };
  return async (stretch, most) => {
    const to = end(stretch.to, ingest.watermark()?.position);
    if (to === null || !isAfter(to, stretch.after)) return null;
    if (performance.now() < restingUntil || refused.has(stretch.filter)) return null;
    try {
      const rows = await limited(limits.queryMs, null, () => query(analytics, { ...stretch, to }, most));
      // Emptied meanwhile: what was there to be found is not known.
      const stillThere = end(to, ingest.watermark()?.position) === to;
      return rows && stillThere ? referencesIn(rows, { ...stretch, to }, most) : null;
    } catch (err) {
      failed(stretch, err);
      return null;
    }
  };
}

/** As far as both reach; `to` itself where it is the nearer one. */
function end(to: Mark, watermark: Position | undefined): Mark | null {
  if (watermark === undefined) return null;
  return isAfter(to, eventOver(watermark)) ? eventOver(watermark) : to;
}

function query(analytics: Analytics, stretch: Stretch, most: number): Promise<readonly ResultRow[]> {
  const { conditions, params } = conditionsOf(stretch);
  // No DISTINCT and no LIMIT BY, which would sort everything: repeated rows stand next to each other and are passed over here.
  const sql = `
    SELECT toString(notification_id) AS notification_id, position, update_index
    FROM delivery_events
    WHERE ${conditions.join(' AND ')}
    ORDER BY position, update_index
    LIMIT {most:UInt32}`;
  const { after, to } = stretch;
  return analytics.query(sql, { ...params, after: after.position, to: to.position, most });
}

/** `after` is the end of an event here, and `to` may be in the middle of one: what lies beyond it is left out later. */
function conditionsOf({ tenant, filter }: Interest): {
  readonly conditions: readonly string[];
  readonly params: QueryParams;
} {
  const { userId, campaign, channels } = filter;
  const conditions = [
    'tenant = {tenant:String}',
    'position > {after:String} AND position <= {to:String}',
    'delivery_id != {none:UUID}',
    ...(userId === null ? [] : ['user_id = {userId:String}']),
    ...(campaign === null ? [] : ['campaign = {campaign:String}']),
    ...(channels === null ? [] : ['channel IN {channels:Array(String)}']),
  ];
  const params = {
    tenant,
    none: NO_DELIVERY,
    ...(userId === null ? {} : { userId }),
    ...(campaign === null ? {} : { campaign }),
    ...(channels === null ? {} : { channels }),
  };
  return { conditions, params };
}

function referencesIn(rows: readonly ResultRow[], stretch: Stretch, most: number): References {
  const references: Reference[] = [];
  for (const reference of rows.map(referenceOf)) {
    const last = references.at(-1);
    const again = last?.position === reference.position && last.index === reference.index;
    if (!again && isWithin(stretch, reference)) references.push(reference);
  }
  const [last, lastRow] = [references.at(-1), rows.at(-1)];
  const cutOff = rows.length >= most && last && lastRow && isWithin(stretch, referenceOf(lastRow));
  return { references, upTo: cutOff ? markAt(last) : stretch.to };
}

function referenceOf(row: ResultRow): Reference {
  return {
    notificationId: String(row['notification_id']),
    position: String(row['position']) as Position,
    index: Number(row['update_index']),
  };
}
