/**
 * Appends to the embedded log in the directory given, from many hands at once, until somebody kills it. Says in a line of
 * JSON what it is about to append, and again when that is acknowledged. `event-log-kill.test.ts` starts it.
 */
import { randomInt, randomUUID } from 'node:crypto';

import { openLmdbEventLog } from '../../src/ports/event-log/lmdb.ts';
import { newEvent } from './event-log.reading.ts';

/** What the child says; `kind` is 'trying' before an append and 'acknowledged' after it. */
export interface Line {
  readonly kind: 'trying' | 'acknowledged';
  readonly stream: string;
  readonly expectedVersion: number;
  readonly ids: readonly string[];
  /** Length of the text in each event. */
  readonly length: number;
}

const HANDS = 24;
const APPENDS_A_STREAM = 10;

const [directory = ''] = process.argv.slice(2);
const { value: log } = await openLmdbEventLog(directory);
await Promise.all(Array.from({ length: HANDS }, appendForEver));

async function appendForEver(): Promise<never> {
  for (;;) {
    const stream = `order-${randomUUID()}`;
    let version = 0;
    for (let count = 0; count < APPENDS_A_STREAM; count++) version = await appendSome(stream, version);
  }
}

async function appendSome(stream: string, expectedVersion: number): Promise<number> {
  const length = randomInt(8) === 0 ? randomInt(20_000) : randomInt(500);
  const events = Array.from({ length: randomInt(1, 6) }, () => newEvent({ data: 'x'.repeat(length) }));
  const line = { stream, expectedVersion, ids: events.map(({ id }) => id), length };
  say({ kind: 'trying', ...line });
  const { version } = await log.append(stream, events, expectedVersion);
  say({ kind: 'acknowledged', ...line });
  return version;
}

/** Pipes are written synchronously on POSIX, so what was said is out when the child dies. */
function say(line: Line): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
