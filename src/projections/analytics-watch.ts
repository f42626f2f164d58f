import type { IngestLimits } from './analytics.ts';
import { AnalyticsError, type Analytics } from '../ports/analytics/analytics.ts';

/** The tables are gone, or others stand in their place. */
export class StoreLost extends Error {
  override readonly name = 'StoreLost';
}

export interface Watch {
  /** Aborts with `StoreLost` as the reason. */
  readonly lost: AbortSignal;
  readonly stop: () => void;
}

/**
 * Looks now and then whether the store is still the one that is written. Where nothing happens, nobody would notice
 * otherwise, and figures would be of what is left. No answer is none: then it looks again.
 */
export function watchStore(analytics: Analytics, store: string, { watchMs }: Pick<IngestLimits, 'watchMs'>): Watch {
  const controller = new AbortController();
  let asking = false;
  const look = async (): Promise<void> => {
    if (asking) return;
    asking = true;
    if (!(await isStill(analytics, store))) controller.abort(new StoreLost('the tables are others than those written'));
    asking = false;
  };
  const timer = setInterval(() => void look(), watchMs);
  return { lost: controller.signal, stop: () => clearInterval(timer) };
}

async function isStill(analytics: Analytics, store: string): Promise<boolean> {
  try {
    const rows = await analytics.query('SELECT toString(id) AS text FROM store ORDER BY made_at, id LIMIT 1');
    return rows[0]?.['text'] === store;
  } catch (error) {
    return !(error instanceof AnalyticsError && error.refusal === 'missing');
  }
}
