import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toTexts } from '../../src/ports/event-log/append-checks.ts';
import { encodeEvent, toPosition } from '../../src/ports/event-log/lmdb-codec.ts';
import { rememberRecent } from '../../src/ports/event-log/lmdb-recent.ts';
import { openTables, type Entry, type LogTables, type Row } from '../../src/ports/event-log/lmdb-tables.ts';
import { withTempDir } from '../support/temp-dir.ts';

const METADATA = { schemaVersion: 1, tenant: 't', occurredAt: '', correlationId: '', causationId: '' };

function rowOf(sequence: number, stream: string, version: number, bytes = 10): Row {
  const data = { text: 'x'.repeat(bytes), list: [-0.5, '世界 🛰', '\ud83d', null], absent: undefined };
  const event = { id: `id-${String(sequence)}`, type: 'Notée', data, metadata: METADATA };
  const [encoded] = toTexts([event]).map((texts) => encodeEvent(stream, texts));
  if (encoded === undefined) throw new Error('nothing was encoded');
  return { sequence, position: toPosition(sequence), stream, version, ...encoded };
}

async function withTables(work: (real: LogTables) => Promise<void>): Promise<void> {
  await withTempDir(async (path) => {
    const real = await openTables(path);
    await work(real).finally(() => real.close());
  });
}

/** All that is known of each of them. */
function saidBy(entries: Iterable<Entry>): readonly unknown[] {
  return [...entries].map(({ event, ...known }) => ({ ...known, event: event() }));
}

const STREAMS = ['a', 'ab', 'b', 'ü'];

/** Everything that can be asked of both, asked of both. */
function expectSame(known: LogTables, real: LogTables): void {
  expect(known.head()).toBe(real.head());
  for (const after of [0, Math.floor(real.head() / 2), real.head()]) {
    expect(saidBy(known.scan(after, 7))).toStrictEqual(saidBy(real.scan(after, 7)));
  }
  for (const stream of STREAMS) {
    expect(known.version(stream)).toBe(real.version(stream));
    for (const after of [0, 1, 3]) {
      expect(saidBy(known.readStream(stream, after))).toStrictEqual(saidBy(real.readStream(stream, after)));
    }
    expect(known.version(stream, 0)).toBe(real.version(stream));
    expect(known.entryAt(stream, 1)?.sequence).toBe(real.entryAt(stream, 1)?.sequence);
  }
}

interface Step {
  readonly streams: readonly string[];
  readonly bytes: number;
  /** What becomes of the commit: it is answered, it is not although it took place, or it did not take place. */
  readonly fate: 'answered' | 'lost' | 'failed';
  /** Read before it, and so perhaps kept. */
  readonly read: string;
}

const step = fc.record<Step>({
  streams: fc.array(fc.constantFrom(...STREAMS), { minLength: 1, maxLength: 6 }),
  bytes: fc.constantFrom(10, 200_000),
  fate: fc.constantFrom('answered', 'answered', 'answered', 'lost', 'failed'),
  read: fc.constantFrom(...STREAMS),
});

describe('what is remembered of the embedded log', () => {
  it('is what lies on the disk, whatever becomes of commits and however much is forgotten', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        await withTables(async (real) => {
          let fate: Step['fate'] = 'answered';
          const known = rememberRecent({
            ...real,
            commit: async (head, rows) => {
              if (fate !== 'failed') await real.commit(head, rows);
              if (fate !== 'answered') throw new Error(fate);
            },
          });
          for (const { streams, bytes, fate: next, read } of steps) {
            known.readStream(read, 0);
            fate = next;
            const versions = new Map(STREAMS.map((stream) => [stream, known.version(stream)]));
            const head = known.head();
            const rows = streams.map((stream, index) => {
              const version = (versions.get(stream) ?? 0) + 1;
              versions.set(stream, version);
              return rowOf(head + index + 1, stream, version, bytes);
            });
            const answer = await known.commit(head, rows).catch(String);
            expect(answer).toBe(next === 'answered' ? undefined : `Error: ${next}`);
            expectSame(known, real);
          }
        });
      }),
      { numRuns: 40 },
    );
  });

  it('does not count twice what is read between the commit and its answer', async () => {
    await withTables(async (real) => {
      const readers: LogTables[] = [];
      const slow = rememberRecent({
        ...real,
        commit: async (head, rows) => {
          await real.commit(head, rows);
          // It is on the disk, and nobody has been told.
          for (const reader of readers) reader.readStream('a', 0);
        },
      });
      await slow.commit(0, [rowOf(1, 'a', 1)]);
      readers.push(slow);
      await slow.commit(1, [rowOf(2, 'a', 2), rowOf(3, 'b', 1)]);
      expectSame(slow, real);
    });
  });

  it('is decoded once for all who read it', async () => {
    await withTables(async (real) => {
      const known = rememberRecent(real);
      await known.commit(0, [rowOf(1, 'a', 1)]);
      const [scanned] = [...known.scan(0, 1)];
      expect(scanned?.event()).toBe(known.readStream('a', 0)[0]?.event());
    });
  });
});
