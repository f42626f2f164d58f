import type { Started } from '../../lifecycle.ts';
import { checkAppend, checkKeep, checkName, checkVersion, toTexts } from './append-checks.ts';
import { LogClosed, type EventLog } from './event-log.ts';
import { openAppender } from './lmdb-append.ts';
import { encodeEvent, toPosition } from './lmdb-codec.ts';
import { subscribe, type Feed } from './lmdb-subscribe.ts';
import { rememberRecent } from './lmdb-recent.ts';
import { openTables, type LogTables } from './lmdb-tables.ts';

/**
 * The event log embedded in this process: an LMDB environment in the directory `path`, made when it is not there.
 *
 * - An answered append is on the disk (fdatasync), not merely with the operating system; subscribers see nothing sooner.
 * - One process is the writer. A second one is refused on opening; should both get through, a commit that does not
 *   extend the head it was decided on is refused by LMDB, so that the log stays whole.
 * - After an I/O error (disk full) the appends of that commit reject and the next ones are tried afresh.
 * - The file grows as needed and never shrinks: nothing is ever removed.
 */
export async function openLmdbEventLog(path: string): Promise<Started<EventLog>> {
  const tables = rememberRecent(await openTables(path));
  const log = createLog(tables);
  return { value: log, stop: () => log.close() };
}

function createLog(tables: LogTables): EventLog {
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const release of waiting) release();
  };
  const appender = openAppender(tables, wake);
  let closed = false;
  const feed: Feed = { tables, head: appender.head, closed: () => closed, waiting };
  const refuseClosed = (): void => {
    if (closed) throw new LogClosed();
  };
  const whileOpen = <T>(work: () => T): Promise<T> =>
    new Promise((resolve) => {
      refuseClosed();
      resolve(work());
    });
  const close = async (): Promise<void> => {
    closed = true;
    wake();
    await appender.idle();
    await tables.close();
  };
  let closing: Promise<void> | undefined;

  return {
    id: tables.id,
    append: (stream, events, expectedVersion) =>
      new Promise((resolve, reject) => {
        refuseClosed();
        checkAppend(stream, events, expectedVersion);
        const encoded = toTexts(events).map((texts) => encodeEvent(stream, texts));
        appender.append({ stream, events: encoded, expectedVersion, resolve, reject });
      }),
    read: (stream, after = 0) =>
      whileOpen(() => {
        checkName('stream', stream);
        checkVersion(after);
        return tables.readStream(stream, after).map(({ event }) => event());
      }),
    last: (stream) =>
      whileOpen(() => {
        checkName('stream', stream);
        const [newest] = tables.readStream(stream, Math.max(tables.version(stream) - 1, 0));
        return newest ? newest.event() : null;
      }),
    keepNewest: (stream, count) =>
      whileOpen(() => {
        checkKeep(stream, count);
      }),
    subscribe: (after, filter, signal) => subscribe(feed, after, filter, signal),
    head: () => whileOpen(() => toPosition(appender.head())),
    close: () => (closing ??= close()),
  };
}
