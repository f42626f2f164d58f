import { beforeAll, describe, expect, it } from 'vitest';
import type { RecordedEvent } from '../../src/ports/event-log/event-log.ts';
import { toldTables } from '../app/analytics-tables.ts';
import { eventually } from '../support/eventually.ts';
import { CALLER, requestFor, startPipeline } from '../support/pipeline.ts';
import { ACCEPT, scriptedProvider } from '../support/provider.ts';
import { openTally, type Copies } from '../support/tally.ts';
import { withTempDir } from '../support/temp-dir.ts';
import { everything } from '../support/world.ts';
import { openCursors } from '../../src/ids.ts';
import { openKeys } from '../../src/keys.ts';
import { updatesIn, type Seen } from './follower.ts';
import type { Wish } from './load.ts';
import { judge, judgeSeen, judgeTables, type Evidence } from './verdict.ts';
import type { Tables } from '../app/analytics-tables.ts';

/** Two requests, each with one mail that is sent at once, as they really are. */
interface Given extends Evidence {
  readonly ids: readonly string[];
  readonly tables: Tables;
  readonly updates: readonly Seen[];
}

async function twoSent(): Promise<Given> {
  return withTempDir(async (folder) => {
    const provider = scriptedProvider(() => ACCEPT);
    const { value: pipeline, stop } = await startPipeline(folder, { sender: provider.sender });
    const { log, commands } = pipeline;
    await commands.registerUser(CALLER, { id: 'ada', email: 'ada@example.com' });
    const ids: string[] = [];
    for (const idempotencyKey of ['one', 'other']) {
      ids.push(
        (await commands.requestNotification(CALLER, requestFor('ada', { idempotencyKey }))).notification.state.id,
      );
    }
    const events = await eventually(async () => {
      const found = await everything({ log });
      expect(found.filter(({ type }) => type === 'DeliverySent').length).toBe(2);
      return found;
    });
    const tables = await toldTables(log);
    const updates = updatesIn(events, openCursors(log.id, openKeys('0'.repeat(32)).mac));
    await stop();
    const acknowledged = new Map(ids.map((id): [string, Wish] => [id, 'now']));
    const { copies, add } = openTally();
    for (const { deliveryId } of provider.accepted) add(deliveryId);
    return { ids, events, tables, updates, acknowledged, copies: new Map([['EMAIL', copies]]) };
  });
}

describe('the verdict over a run with faults', () => {
  let given: Given;
  beforeAll(async () => {
    given = await twoSent();
  });

  const problemsWith = (changes: Partial<Evidence>): string => judge({ ...given, ...changes }).problems.join('\n');
  const without = (unwanted: (event: RecordedEvent) => boolean): readonly RecordedEvent[] =>
    given.events.filter((event) => !unwanted(event));
  const isOf = (event: RecordedEvent, id: string | undefined): boolean => event.metadata.notification?.id === id;

  const mails = (): Copies => given.copies.get('EMAIL') ?? new Map();
  const mailed = (copies: Copies): Partial<Evidence> => ({ copies: new Map([['EMAIL', copies]]) });

  it('finds nothing wrong with what went well', () => {
    const counted = { deliveries: 2, doubts: 0, duplicates: 0 };
    expect(judge(given)).toEqual({
      problems: [],
      figures: { notifications: 2, ...counted, channels: new Map([['EMAIL', counted]]) },
    });
    expect(judgeTables(given.tables, given.tables)).toEqual([]);
    expect(judgeSeen(given.updates, given.updates)).toEqual([]);
  });

  it('finds a request that was acknowledged and is lost', () => {
    const events = without((event) => isOf(event, given.ids[0]));
    expect(problemsWith({ events })).toContain('acknowledged, and not in the log');
  });

  it('finds a request without an outcome', () => {
    const events = without((event) => isOf(event, given.ids[0]) && event.type === 'DeliverySent');
    expect(problemsWith({ events })).toContain('not over: 1');
  });

  it('finds a mail that is recorded as sent and never arrived', () => {
    expect(problemsWith(mailed(new Map([...mails()].slice(1))))).toContain('is SENT after 0 copies');
  });

  it('finds a second copy of which the log says nothing, and lets one pass that it was in doubt about', () => {
    const twice = mailed(new Map([...mails()].map(([id]) => [id, 2])));
    expect(problemsWith(twice)).toContain('sent too often: 2');
    const doubts = given.events.flatMap((event) =>
      event.type === 'DeliveryAttempted' ? [{ ...event, type: 'DeliveryOutcomeUnknown', data: doubtful(event) }] : [],
    );
    const events = without(({ type }) => type === 'DeliverySent');
    const sent = given.events.filter(({ type }) => type === 'DeliverySent');
    const counted = { deliveries: 2, doubts: 2, duplicates: 2 };
    expect(judge({ ...given, ...twice, events: [...events, ...doubts, ...sent] })).toEqual({
      problems: [],
      figures: { notifications: 2, ...counted, channels: new Map([['EMAIL', counted]]) },
    });
  });

  it('finds a mail that nobody asked for, and a second routing', () => {
    expect(problemsWith(mailed(new Map([...mails(), ['of somebody else', 1]])))).toContain('sent by nobody: 1');
    const routed = given.events.filter(({ type }) => type === 'NotificationRouted');
    expect(problemsWith({ events: [...given.events, ...routed] })).toContain('not routed once: 2');
  });

  it('judges each channel by what its own provider got', () => {
    const [first, second] = [...mails().keys()];
    if (first === undefined || second === undefined) throw new Error('no mails');
    const events = given.events.map((event) => (tells(event, first) ? { ...event, data: texted(event) } : event));
    const got = (sms: number): Partial<Evidence> => ({
      events,
      copies: new Map([
        ['SMS', new Map([[first, sms]])],
        ['EMAIL', new Map([[second, 1]])],
      ]),
    });
    const counted = { deliveries: 1, doubts: 0, duplicates: 0 };
    const { problems, figures } = judge({ ...given, ...got(1) });
    expect(problems).toEqual([]);
    expect([...figures.channels]).toEqual([
      ['SMS', counted],
      ['EMAIL', counted],
    ]);
    expect(problemsWith(got(2))).toContain(`sent too often: 1, such as SMS ${first}`);
    expect(judge({ ...given, ...got(2) }).figures.channels.get('SMS')).toEqual({ ...counted, duplicates: 1 });
    const asMails = problemsWith({ events });
    expect(asMails).toContain(`SMS ${first} of a request that is to be sent now is SENT after 0 copies`);
    expect(asMails).toContain(`sent by nobody: 1, such as EMAIL ${first}`);
  });

  it('finds a channel that was asked for, and that nothing is sent on', () => {
    const events = given.events.map((event) =>
      event.type === 'NotificationRequested'
        ? { ...event, data: { ...(event.data as object), channels: ['EMAIL', 'PUSH'] } }
        : event,
    );
    expect(problemsWith({ events })).toMatch(/not to be sent as asked: 2, such as .* on PUSH/);
  });

  it('finds rows and updates that are missing, there twice or in another order', () => {
    const { tables, updates } = given;
    const [first, second, ...rest] = updates;
    if (first === undefined || second === undefined) throw new Error('no updates');
    for (const seen of [rest, [first, ...updates], [second, first, ...rest]]) {
      expect(judgeSeen(seen, updates)).toHaveLength(1);
    }
    const again = { ...tables, deliveryEvents: [...tables.deliveryEvents, ...tables.deliveryEvents] };
    expect(judgeTables(again, tables)).toHaveLength(1);
    expect(judgeTables({ ...tables, activityHourly: [] }, tables)).toHaveLength(1);
  });
});

function doubtful({ data }: RecordedEvent): object {
  return { ...(data as object), reason: 'NO_ANSWER', raw: null, retryAt: null };
}

interface Routed {
  readonly decisions: readonly { readonly deliveryId: string }[];
}

/** Whether it is the routing of that delivery. */
function tells({ type, data }: RecordedEvent, deliveryId: string): boolean {
  return type === 'NotificationRouted' && (data as Routed).decisions.some((each) => each.deliveryId === deliveryId);
}

/** The same routing, to a phone. */
function texted({ data }: RecordedEvent): object {
  return { decisions: (data as Routed).decisions.map((decision) => ({ ...decision, channel: 'SMS' })) };
}
