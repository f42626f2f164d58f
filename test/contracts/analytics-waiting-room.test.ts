import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { openWaitingRoom, type WaitingRoom } from '../../src/ports/analytics/waiting-room.ts';

function openRoom(places: number, maxWaiting = 10): WaitingRoom<number> {
  const numbers = Array.from({ length: places }, (_, index) => index);
  return openWaitingRoom(numbers, { maxWaiting, refusal: (why) => new Error(why) });
}

/** Work that ends when it is told to. */
function held(): { readonly work: () => Promise<void>; readonly end: () => void } {
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  return { work: () => ended, end: () => end() };
}

const nothing = (): Promise<void> => Promise.resolve();

describe('a waiting room', () => {
  it('runs as much at once as it has places, and the rest in the order of the calls', async () => {
    const { run } = openRoom(2);
    const [first, second] = [held(), held()];
    const order: number[] = [];
    const all = [run(first.work), run(second.work)];
    for (const call of [1, 2, 3]) all.push(run(async (place) => void order.push(call, await Promise.resolve(place))));
    expect(order).toEqual([]);
    second.end();
    await all[4];
    expect(order).toEqual([1, 0, 2, 0, 3, 0]);
    first.end();
    await Promise.all(all);
  });

  it('gives a place back when the work fails', async () => {
    const { run } = openRoom(1);
    await expect(run(() => Promise.reject(new Error('work')))).rejects.toThrow('work');
    await run(nothing);
  });

  it('turns away what is too many to wait', async () => {
    const { run } = openRoom(1, 1);
    const first = held();
    const all = [run(first.work), run(nothing)];
    await expect(run(nothing)).rejects.toThrow('full');
    first.end();
    await Promise.all(all);
  });

  it('runs nothing for a signal that came before, though a place is free', async () => {
    const { run } = openRoom(1);
    let ran = false;
    const work = (): Promise<void> => Promise.resolve(void (ran = true));
    await expect(run(work, AbortSignal.abort())).rejects.toThrow('gone');
    expect(ran).toBe(false);
  });

  it('lets go of who waits at his signal, and of the signal of who has waited', async () => {
    const { run } = openRoom(1);
    const first = held();
    const running = run(first.work);
    const [going, staying] = [new AbortController(), new AbortController()];
    const gone = run(nothing, going.signal);
    const stayed = run(nothing, staying.signal);
    going.abort();
    await expect(gone).rejects.toThrow('gone');
    first.end();
    await Promise.all([running, stayed]);
    for (const { signal } of [going, staying]) expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('closes when nothing runs any more, and turns away what waits and what comes', async () => {
    const { run, close } = openRoom(1);
    const first = held();
    const order: string[] = [];
    const running = run(first.work).then(() => order.push('work'));
    const waiting = run(nothing);
    const closed = close().then(() => order.push('closed'));
    await expect(waiting).rejects.toThrow('closed');
    await expect(run(nothing)).rejects.toThrow('closed');
    first.end();
    await Promise.all([running, closed]);
    expect(order).toEqual(['work', 'closed']);
  });
});
