import { setImmediate as nextTurn } from 'node:timers/promises';
import { changesTo } from './changes.ts';
import type { DispatchOptions } from './dispatch.ts';
import { fedBefore, fedInOtherSessions, moveToDue, type Entry } from './dispatch-index.ts';
import { QUEUES, type QueueDepth } from '../ports/broker/broker.ts';

/** Entries moved in one commit, and suspects fed again in one look at a queue. */
const BATCH = 500;
/** Published jobs that one look goes through for that, longest ago first. */
const MOST_LOOKED_AT = 10_000;
const GRACE_MS = 15_000;
/** The same delivery is suspected again after the grace times this, each time: a suspicion may be wrong, and a queue may be purged twice. */
const PATIENCE_GROWS = 4;
const MOST_PATIENCE_MS = 3_600_000;

/** What was published in an earlier session of the broker is gone with it: all of it is to be published again. */
export async function reclaim({ state, broker }: Pick<DispatchOptions, 'state' | 'broker'>): Promise<void> {
  for await (const lost of fedInOtherSessions(state, broker.session, BATCH)) {
    const changes = changesTo(state);
    for (const entry of lost) moveToDue(changes, entry);
    await state.commit(changes.list());
  }
}

/** Jobs that were published, lie unclaimed beyond the grace and cannot be in their queue any more are to be published again. */
export async function refeedSuspects({ state, broker, now, graceMs = GRACE_MS }: DispatchOptions): Promise<void> {
  const changes = changesTo(state);
  for (const queue of QUEUES) {
    const fed = fedBefore(state, { session: broker.session, queue, before: now() - graceMs }, BATCH);
    const suspects = await overdueOf(fed, (each) => isOverdue(each, graceMs, now()));
    if (suspects.length === 0) continue;
    await nextTurn();
    const depth = await broker.depth(queue);
    for (const entry of suspects.filter((each) => isMissing(each, depth, now()))) {
      moveToDue(changes, { ...entry, refeeds: entry.refeeds + 1 });
    }
  }
  await state.commit(changes.list());
}

async function overdueOf(
  pages: AsyncIterable<readonly Entry[]>,
  isOverdue: (entry: Entry) => boolean,
): Promise<readonly Entry[]> {
  const overdue: Entry[] = [];
  let looked = 0;
  for await (const page of pages) {
    overdue.push(...page.filter(isOverdue));
    looked += page.length;
    if (overdue.length >= BATCH || looked >= MOST_LOOKED_AT) break;
  }
  return overdue.slice(0, BATCH);
}

function isOverdue({ refeeds, fedAt }: Entry, graceMs: number, now: number): boolean {
  return now - (fedAt ?? 0) >= Math.min(graceMs * PATIENCE_GROWS ** refeeds, MOST_PATIENCE_MS);
}

/** Queues are served oldest first: a job older than the oldest that is ready there is not among them. */
function isMissing({ fedAt }: Entry, { depth, retrying, oldestSeconds }: QueueDepth, now: number): boolean {
  if (oldestSeconds !== null) return (fedAt ?? 0) < now - oldestSeconds * 1_000;
  if (depth === 0 && retrying === 0) return true;
  // Where no age is known, a busy queue would hide for ever what it lost; should it be there after all, it comes twice.
  return now - (fedAt ?? 0) >= MOST_PATIENCE_MS;
}
