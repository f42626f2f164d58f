import { afterEach, describe, expect, it } from 'vitest';
import { tokenHint } from '../../src/events/users.ts';
import type { State } from '../../src/ports/state/state.ts';
import { openOutbox, type OutboxEntry } from '../../src/sandbox/outbox.ts';
import { openTempState } from '../support/temp-state.ts';

function entry(address: string, text = 'hi'): Omit<OutboxEntry, 'id'> {
  return {
    channel: 'EMAIL',
    platform: null,
    address,
    title: null,
    text,
    html: null,
    headers: {},
    receivedAt: '2026-03-01T12:30:00.000Z',
  };
}

const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function state(): Promise<State> {
  const { value, stop } = await openTempState();
  stops.push(stop);
  return value;
}

describe('the outbox', () => {
  it('lists the newest first, each under an id of its own', async () => {
    const outbox = openOutbox(await state());
    const added = await Promise.all(
      ['a@x.example', 'b@x.example', 'a@x.example'].map((address) => outbox.add(entry(address))),
    );
    expect(outbox.list()).toEqual(added.toReversed());
    expect(new Set(added.map(({ id }) => id)).size).toBe(3);
  });

  it('finds the messages to one address, whatever its case', async () => {
    const outbox = openOutbox(await state());
    for (const address of ['Anna@x.example', 'banna@x.example', 'anna@X.example']) await outbox.add(entry(address));
    expect(outbox.list({ address: 'anna@x.example' }).map(({ address }) => address)).toEqual([
      'anna@X.example',
      'Anna@x.example',
    ]);
  });

  it('shows of a push token what deliveries show of it, and nothing more', async () => {
    const kept = await state();
    const outbox = openOutbox(kept);
    const token = 'dQw4w9WgXcQ:APA91bHun4MxP5egoKMwt2KZFBaFUH';
    const push = { ...entry(token), channel: 'PUSH', platform: 'IOS', headers: { ttl: '3600' } } as const;
    const shown = { ...push, id: expect.any(String) as string, address: tokenHint(token) };
    expect(await outbox.add(push)).toEqual(shown);
    for (const each of [outbox, openOutbox(kept)]) {
      expect(each.list()).toEqual([shown]);
      expect(JSON.stringify(each.list())).not.toContain(token.slice(0, -6));
    }
  });

  it('finds the messages to one device by its whole token and by what is shown of it', async () => {
    const kept = await state();
    const outbox = openOutbox(kept);
    const tokens = ['first-token-abcdef', 'second-token-abcdef', 'third-token-uvwxyz'];
    for (const token of tokens) await outbox.add({ ...entry(token, token), channel: 'PUSH', platform: 'WEB' });
    await outbox.add({ ...entry('+12025550123'), channel: 'SMS' });
    for (const each of [outbox, openOutbox(kept)]) {
      const found = (address: string): readonly (string | null)[] => each.list({ address }).map(({ text }) => text);
      expect(found('second-token-abcdef')).toEqual(['second-token-abcdef']);
      expect(found('abcdef')).toEqual(['second-token-abcdef', 'first-token-abcdef']);
      expect(found('token-abcdef')).toEqual([]);
      expect(found('+12025550123')).toEqual(['hi']);
    }
  });

  it('knows no platform of the messages that version 1 kept', async () => {
    const kept = await state();
    const { platform: _, ...before } = { id: 'a', ...entry('anna@x.example') };
    await kept.commit([{ put: ['message', 1], value: before }]);
    expect(openOutbox(kept).list()).toEqual([{ ...before, platform: null }]);
  });

  it('forgets the oldest when it is full, for good', async () => {
    const kept = await state();
    const outbox = openOutbox(kept, 3);
    for (const address of ['a', 'b', 'c', 'd', 'e']) await outbox.add(entry(address));
    expect(outbox.list().map(({ address }) => address)).toEqual(['e', 'd', 'c']);
    expect(
      openOutbox(kept)
        .list()
        .map(({ address }) => address),
    ).toEqual(['e', 'd', 'c']);
  });

  it('is the same after a restart, and goes on', async () => {
    const kept = await state();
    const before = openOutbox(kept);
    await Promise.all(Array.from({ length: 2_100 }, (_, index) => before.add(entry(String(index)))));
    const after = openOutbox(kept);
    expect(after.list()).toEqual(before.list());
    expect(after.revision()).toBe(before.revision());
    await after.add(entry('one more'));
    expect(
      openOutbox(kept)
        .list()
        .slice(0, 2)
        .map(({ address }) => address),
    ).toEqual(['one more', '2099']);
  });

  it('keeps its memory in bounds when the messages are large', async () => {
    const outbox = openOutbox(await state());
    for (let index = 0; index < 100; index++) await outbox.add(entry(String(index), 'x'.repeat(1024 * 1024)));
    const kept = outbox.list();
    expect(kept[0]?.address).toBe('99');
    expect(kept.length).toBeLessThanOrEqual(64);
  });

  it('hands out lists that later messages do not change, and says when there is something new', async () => {
    const outbox = openOutbox(await state());
    const before = outbox.list();
    const revision = outbox.revision();
    await outbox.add(entry('a'));
    expect(before).toEqual([]);
    expect(outbox.revision()).not.toBe(revision);
  });
});
