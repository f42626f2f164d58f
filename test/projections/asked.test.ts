import { describe, expect, it } from 'vitest';
import { openAsked, type Asked } from '../../src/projections/asked.ts';

const DONE = { done: true, value: undefined };

function openCounted(): { readonly asked: Asked<string>; readonly ends: () => number } {
  let ends = 0;
  const asked = openAsked<string>({ onAsk: () => undefined, onEnd: () => void (ends += 1) });
  return { asked, ends: () => ends };
}

describe('values for whoever asks', () => {
  it('go to the question that waits longest, and are not kept for nobody', async () => {
    const { asked } = openCounted();
    asked.give('lost');
    const answers = [asked.iterator.next(), asked.iterator.next()];
    asked.give('first');
    asked.give('second');
    expect(await Promise.all(answers)).toEqual(['first', 'second'].map((value) => ({ done: false, value })));
    expect(asked.size()).toBe(0);
  });

  it('end with an error for the first question and none for the others', async () => {
    const { asked, ends } = openCounted();
    const answers = [asked.iterator.next(), asked.iterator.next()];
    asked.fail(new Error('broken'));
    await expect(answers[0]).rejects.toThrow('broken');
    expect(await answers[1]).toEqual(DONE);
    expect(await asked.iterator.next()).toEqual(DONE);
    expect(ends()).toBe(1);
  });

  it('end with an error for the next question where nobody asks just then', async () => {
    const { asked } = openCounted();
    asked.fail(new Error('broken'));
    asked.fail(new Error('again'));
    await expect(asked.iterator.next()).rejects.toThrow('broken');
    expect(await asked.iterator.next()).toEqual(DONE);
  });

  it('are over for good after return(), which settles every question, and tells nobody of an error any more', async () => {
    const { asked, ends } = openCounted();
    const answers = [asked.iterator.next(), asked.iterator.next()];
    expect(await asked.iterator.return?.()).toEqual(DONE);
    expect(await Promise.all(answers)).toEqual([DONE, DONE]);
    asked.fail(new Error('late'));
    asked.end();
    expect(await asked.iterator.next()).toEqual(DONE);
    const failed = openCounted();
    failed.asked.fail(new Error('unread'));
    await failed.asked.iterator.return?.();
    expect(await failed.asked.iterator.next()).toEqual(DONE);
    expect([ends(), failed.ends()]).toEqual([1, 1]);
  });
});
