/** Takes a data folder when told to, and says what came of it; for tests that kill its holder. */
import { openDataDir } from '../../src/data-dir.ts';

process.on('message', (path: string) => {
  openDataDir(path).then(
    () => process.send?.('held'),
    (error: unknown) => process.send?.(error instanceof Error ? error.name : String(error)),
  );
});
process.send?.('ready');
