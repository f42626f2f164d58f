import type { Ingest, Watermark } from './analytics.ts';
import type { FunnelDimensionValue, FunnelGroup, Funnels, FunnelStageCount } from './funnel-figures.ts';
import { checkFunnel, FUNNEL_LIMITS, type FunnelDimension, type FunnelInput } from './funnel-input.ts';
import { funnelQuery, MAX_GROUPS, type FunnelQuery } from './funnel-sql.ts';
import { DomainError } from '../errors.ts';
import type { Cursors } from '../ids.ts';
import { AnalyticsError, type Analytics, type ResultRow } from '../ports/analytics/analytics.ts';

export interface FunnelSources {
  readonly analytics: Pick<Analytics, 'query'>;
  readonly ingest: Pick<Ingest, 'watermark' | 'progress'>;
  readonly cursors: Pick<Cursors, 'of'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export function createFunnels({ analytics, ingest, cursors, now }: FunnelSources): Funnels {
  const ask = (query: FunnelQuery): Promise<readonly ResultRow[]> =>
    analytics.query(query.sql, query.params).catch((error: unknown) => {
      throw asRefusal(error);
    });
  const checkTimeZone = timeZonesOf(ask);
  return {
    read: async (tenant, input) => {
      const checked = checkFunnel(input);
      checkAge(checked, now());
      // Before the rows: they hold at least what it says, whatever is committed meanwhile.
      const { position, at } = caughtUp(ingest);
      await checkTimeZone(checked.timeZone);
      const rows = await ask(funnelQuery(tenant, checked));
      if (rows.length > MAX_GROUPS) throw tooManyGroups();
      const cursor = cursors.of(tenant, { position, index: 0, at, notificationId: null });
      return { groups: rows.map((row) => groupOf(row, checked)), cursor };
    },
  };
}

function caughtUp({ watermark, progress }: FunnelSources['ingest']): Watermark {
  const upTo = watermark();
  if (upTo !== null) return upTo;
  throw new DomainError('ANALYTICS_UNAVAILABLE', `the figures are being brought up to date: ${progress()}`);
}

/** Figures of which a part is gone already would be wrong. */
function checkAge({ from }: FunnelInput, now: number): void {
  const { ageDays } = FUNNEL_LIMITS;
  if (from.getTime() >= now - ageDays * 86_400_000) return;
  throw new DomainError('INVALID_FUNNEL', `from is over ${String(ageDays)} days ago`, 'from');
}

function tooManyGroups(): DomainError {
  const message = `the funnel falls into more than ${String(MAX_GROUPS)} groups`;
  return new DomainError('TOO_MANY_GROUPS', message, 'groupBy');
}

/** A query that ClickHouse refuses is a mistake of ours and no answer to the caller. */
function asRefusal(error: unknown): unknown {
  if (!(error instanceof AnalyticsError)) return error;
  switch (error.kind) {
    case 'too-heavy':
      return new DomainError('FUNNEL_TOO_EXPENSIVE', 'the funnel needs more time or memory than one query may use');
    case 'unavailable':
      return new DomainError('ANALYTICS_UNAVAILABLE', 'ClickHouse gives no answer now');
    case 'refused':
      return error;
  }
}

/** ClickHouse's list of time zones may be older than Node's. It is asked once for each of the few hundred names. */
function timeZonesOf(ask: (query: FunnelQuery) => Promise<readonly ResultRow[]>): (name: string) => Promise<void> {
  const known = new Set(['UTC']);
  const sql = 'SELECT time_zone FROM system.time_zones WHERE time_zone = {name:String}';
  return async (name) => {
    if (known.has(name)) return;
    const found = await ask({ sql, params: { name } });
    if (found.length === 0) throw new DomainError('INVALID_FUNNEL', 'ClickHouse has no such time zone', 'timeZone');
    known.add(name);
  };
}

function groupOf(row: ResultRow, { groupBy, stages }: FunnelInput): FunnelGroup {
  const dimensions = groupBy.map((dimension, index) => dimensionValue(row, dimension, `d${String(index)}`));
  const counts = stages.map((_, index) => numberIn(row, `count${String(index)}`));
  return {
    key: keyOf(dimensions),
    dimensions,
    stages: stages.map((stage, index): FunnelStageCount => {
      const count = counts[index] ?? 0;
      const isFirst = index === 0;
      return {
        stage,
        count,
        fromPrevious: isFirst ? null : ratio(count, counts[index - 1]),
        fromFirst: ratio(count, counts[0]),
        medianSecondsFromPrevious: isFirst || count === 0 ? null : numberIn(row, `median${String(index)}`) / 1_000,
      };
    }),
  };
}

function ratio(part: number, whole = 0): number | null {
  return whole === 0 ? null : part / whole;
}

function keyOf(dimensions: readonly FunnelDimensionValue[]): string | null {
  const [first, ...others] = dimensions.map(({ value }) => value ?? '');
  if (first === undefined) return null;
  return others.length === 0 ? first : [first, ...others].map(encodeURIComponent).join('/');
}

function dimensionValue(row: ResultRow, dimension: FunnelDimension, name: string): FunnelDimensionValue {
  if (dimension === 'HOUR') {
    return { dimension, value: hourText(numberIn(row, name), numberIn(row, `${name}_offset`)) };
  }
  const value = row[name];
  if (typeof value !== 'string') throw new TypeError(`ClickHouse gave no text for ${dimension}`);
  return { dimension, value: value === '' ? null : value };
}

/** Of a beginning in seconds since the epoch, and what the clock was ahead of UTC then, in seconds. */
function hourText(start: number, offset: number): string {
  const clock = new Date((start + offset) * 1_000).toISOString().slice(0, 'YYYY-MM-DDThh:mm:ss'.length);
  const minutes = Math.abs(offset) / 60;
  const parts = [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0'));
  return `${clock}${offset < 0 ? '-' : '+'}${parts.join(':')}`;
}

function numberIn(row: ResultRow, name: string): number {
  const value = row[name];
  if (typeof value !== 'number') throw new TypeError(`ClickHouse gave no number for ${name}`);
  return value;
}
