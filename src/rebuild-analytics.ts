import type { Started } from './lifecycle.ts';
import type { Ingest } from './projections/analytics.ts';
import { unlessStopped } from './projections/signals.ts';
import { startProgress, type Screen } from './rebuild-progress.ts';

/** Waits until ClickHouse holds everything again. An interrupted one goes on at the next start of the service. */
export async function rebuildAnalytics(
  { value: ingest, stop }: Started<Ingest>,
  { screen, signal }: { readonly screen: Screen; readonly signal: AbortSignal },
): Promise<void> {
  const begun = screen.now();
  const progress = startProgress(screen, () => `analytics: ${ingest.progress()}`);
  let last = 'analytics: not done; the next start of the service goes on';
  try {
    const upTo = await unlessStopped(signal, untilComplete(ingest, signal));
    const seconds = ((screen.now() - begun) / 1_000).toFixed(1);
    last = `analytics: done, ${ingest.progress()} in ${seconds} s, complete up to ${new Date(upTo).toISOString()}`;
  } finally {
    await stop();
    progress.end(last);
  }
}

const LOOK_MS = 100;

/** There is a watermark again once everything of the log is in. */
function untilComplete({ watermark }: Ingest, signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    const look = setInterval(() => {
      const reached = watermark();
      if (reached !== null) resolve(reached.at);
      if (reached !== null || signal.aborted) clearInterval(look);
    }, LOOK_MS);
  });
}
