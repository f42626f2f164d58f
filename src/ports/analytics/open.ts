import type { Analytics } from './analytics.ts';
import { openChdb } from './chdb.ts';
import { openClickhouse, type ClickhouseAddress } from './clickhouse.ts';
import type { Started } from '../../lifecycle.ts';
import type { Log } from '../../log.ts';

export type AnalyticsChoice =
  | {
      readonly kind: 'chdb';
      /** The folder of the embedded engine. */
      readonly path: string;
      /** What the engine may use as a whole. */
      readonly memoryBytes: number;
    }
  | (ClickhouseAddress & { readonly kind: 'clickhouse'; readonly cluster: string | null });

/**
 * The column store that the configuration names. A server is asked nothing yet: whether it answers is no reason not to start.
 * @throws EngineMissing where the embedded engine has no build.
 */
export async function openAnalytics(choice: AnalyticsChoice, log: Log): Promise<Started<Analytics>> {
  if (choice.kind === 'clickhouse') return openClickhouse(choice, { cluster: choice.cluster });
  return openChdb({ path: choice.path, memoryBytes: choice.memoryBytes, log });
}
