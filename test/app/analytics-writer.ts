/**
 * Appends stories to the log in the folder given, or to the one that the settings name, and writes ClickHouse from it,
 * until somebody kills it. Says in a line of JSON what it did. `analytics-kill.test.ts` starts it.
 */
import { EventEmitter, once } from 'node:events';
import { readConfig } from '../../src/config.ts';
import { updatesOf } from '../../src/events/updates.ts';
import { streamOf, systemIds } from '../../src/ids.ts';
import type { EventLog } from '../../src/ports/event-log/event-log.ts';
import type { Analytics } from '../../src/ports/analytics/analytics.ts';
import { openEventLog } from '../../src/ports/event-log/open.ts';
import { startAnalytics } from '../../src/projections/analytics.ts';
import { openTestAnalytics } from '../support/analytics.ts';
import { SILENT } from '../support/pipeline.ts';
import { LIMITS, type Line } from './analytics-limits.ts';
import { appendStory, storyOf } from './analytics-stories.ts';

const HANDS = 8;
/** Updates in the log that ClickHouse may lack before appending waits for it. */
const LEAD = 600;

const [folder = '', seed = '', today = '', settings = '{}'] = process.argv.slice(2);
const inserts = new EventEmitter();
let lead = 0;

// The helpers of adapters.ts run below vitest only.
const { eventLog } = readConfig({ DATA_DIR: folder, ...(JSON.parse(settings) as Readonly<Record<string, string>>) });
const { value: log } = await openEventLog(eventLog, SILENT);
const { value: engine } = await openTestAnalytics(`${folder}/analytics`);
const parts = { logger: SILENT, ids: systemIds, now: Date.now, limits: LIMITS };
startAnalytics({ ...parts, log: tellingPlans(log), analytics: tellingInserts(engine) });
let next = await firstUnfinished();
await Promise.all(Array.from({ length: HANDS }, appendForEver));

function tellingPlans(real: EventLog): EventLog {
  return {
    ...real,
    append: async (stream, events, version) => {
      const appended = await real.append(stream, events, version);
      if (stream === streamOf.ingest) say('planned');
      return appended;
    },
  };
}

function tellingInserts(real: Analytics): Analytics {
  return {
    ...real,
    insert: async (batch) => {
      await real.insert(batch);
      lead -= batch.rows.length;
      say('inserted');
      inserts.emit('inserted');
    },
  };
}

async function firstUnfinished(): Promise<number> {
  for (let index = 0; ; index += 1) {
    const { stream, events } = storyOf(Number(seed), index, Number(today));
    if ((await log.read(stream)).length < events.length) return index;
  }
}

async function appendForEver(): Promise<never> {
  for (;;) {
    while (lead > LEAD) await once(inserts, 'inserted');
    const story = storyOf(Number(seed), next, Number(today));
    next += 1;
    lead += story.events.flatMap(({ data }) => updatesOf(data)).length;
    await appendStory(log, story);
  }
}

/** Pipes are written synchronously on POSIX, so what was said is out when this process dies. */
function say(kind: Line['kind']): void {
  const line: Line = { kind, engine: engine.engine()?.pid ?? null };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
