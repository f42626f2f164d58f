import type { Analytics } from './analytics.ts';
import { openChdb } from './chdb.ts';
import type { Started } from '../../lifecycle.ts';
import type { Log } from '../../log.ts';

export interface AnalyticsChoice {
  readonly kind: 'chdb';
  /** The folder of the embedded engine. */
  readonly path: string;
  /** What the engine may use as a whole. */
  readonly memoryBytes: number;
}

/** The column store that the configuration names. @throws EngineMissing where the embedded engine has no build. */
export function openAnalytics(choice: AnalyticsChoice, log: Log): Promise<Started<Analytics>> {
  return openChdb({ path: choice.path, memoryBytes: choice.memoryBytes, log });
}
