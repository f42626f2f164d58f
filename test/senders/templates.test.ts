import { setImmediate as otherWork } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { TemplateVariant } from '../../src/events/templates.ts';
import { liquidTemplates } from '../../src/senders/templates.ts';
import { openTurns } from '../../src/senders/turns.ts';

const { tryRender } = liquidTemplates;
const ATTACKS: readonly (readonly [string, string])[] = [
  ['loops around tags that do nothing', '{% for i in (1..24000) %}{% if false %}{% endif %}{% endfor %}x'],
  ['searches of a long list', '{% for i in l %}{% if l contains "zz" %}a{% endif %}{% endfor %}'],
];
const TOO_LONG = 'the templates of this call take too long to render';

describe('trying templates', () => {
  it('accepts what renders, and says what is wrong with the rest', async () => {
    const budget = { tenant: 'default', leftMs: 60_000 };
    const variants = [variant('Hello {{ name }}', 'EMAIL')];
    expect(await tryRender(variants, 'EMAIL', { name: 'Ada' }, budget)).toBeNull();
    expect(await tryRender(variants, 'SMS', {}, budget)).toMatchObject({ kind: 'no-variant' });
    expect(await tryRender(variants, 'EMAIL', {}, budget)).toMatchObject({
      kind: 'missing-variable',
      variable: 'name',
    });
    expect(budget.leftMs).toBeLessThan(60_000);
  });

  it('accepts an ordinary bulk call of 1,000 items within its budget', async () => {
    const budget = { tenant: 'default', leftMs: 1_000 };
    const items = Array.from({ length: 1_000 }, (_, at) =>
      tryRender([variant('Hello {{ name }}, order {{ id }}')], 'EMAIL', { name: 'Ada', id: at }, budget),
    );
    expect((await Promise.all(items)).filter((problem) => problem !== null)).toEqual([]);
  });

  it.each(ATTACKS)('stops a bulk call of 1,000 items once its budget is used up: %s', async (_what, text) => {
    const budget = { tenant: 'default', leftMs: 100 };
    const l = Array.from({ length: 9_000 }, () => 'a');
    const heart = startHeart();
    const items = Array.from({ length: 1_000 }, () => tryRender([variant(text)], 'EMAIL', { l }, budget));
    const problems = await Promise.all(items);
    const beats = await heart.stop();
    const unrendered = problems.filter((problem) => problem?.message === TOO_LONG);
    expect(problems.every((problem) => problem?.kind === 'unrenderable')).toBe(true);
    expect(unrendered.length).toBeGreaterThan(0);
    expect(problems.slice(-unrendered.length)).toEqual(unrendered);
    expect(budget.leftMs).toBeLessThanOrEqual(0);
    expect(beats).toBeGreaterThan(0);
  });

  it('does not render without a budget', async () => {
    expect(await tryRender([variant('{{ missing }}')], 'EMAIL', {}, { tenant: 'default', leftMs: 0 })).toEqual({
      kind: 'unrenderable',
      variable: null,
      message: TOO_LONG,
    });
  });

  it('tries once more what the clock stopped, because the process may have stood still', async () => {
    const twice = [variant('{{ user.name }}{{ user.name }}')];
    expect(await tryRender(twice, 'EMAIL', { user: heldUp(1) }, { tenant: 'default', leftMs: 60_000 })).toBeNull();
    const problem = await tryRender(twice, 'EMAIL', { user: heldUp(2) }, { tenant: 'default', leftMs: 60_000 });
    expect(problem).toMatchObject({ kind: 'unrenderable', message: expect.stringContaining('limit') as string });
  });
});

describe('turns', () => {
  it('lets other work run whenever a slice is used up, and keeps the order', async () => {
    const inTurn = openTurns(0);
    const order: number[] = [];
    const heart = startHeart();
    const tasks = Array.from({ length: 50 }, (_, at) => inTurn('one', () => order.push(at)));
    await Promise.all(tasks);
    expect(await heart.stop()).toBeGreaterThanOrEqual(49);
    expect(order).toEqual(Array.from({ length: 50 }, (_, at) => at));
  });

  it('does not interrupt what takes no time', async () => {
    const inTurn = openTurns(60_000);
    let interrupted = false;
    const other = otherWork().then(() => (interrupted = true));
    const seen = await Promise.all(Array.from({ length: 50 }, () => inTurn('one', () => interrupted)));
    expect(seen).not.toContain(true);
    await other;
  });

  it('go round between owners, whoever asked for how much', async () => {
    const inTurn = openTurns(60_000);
    const order: string[] = [];
    const ask = (owner: string, count: number): Promise<number>[] =>
      Array.from({ length: count }, () => inTurn(owner, () => order.push(owner)));
    await Promise.all([...ask('greedy', 4), ...ask('modest', 2), ...ask('late', 1)]);
    expect(order).toEqual(['greedy', 'modest', 'late', 'greedy', 'modest', 'greedy', 'greedy']);
  });

  it('go on after a task that threw', async () => {
    const inTurn = openTurns();
    const failed = inTurn('one', () => {
      throw new Error('broken');
    });
    const next = inTurn('one', () => 'done');
    await expect(failed).rejects.toThrow('broken');
    expect(await next).toBe('done');
  });
});

function variant(body: string, channel: TemplateVariant['channel'] = null): TemplateVariant {
  return { channel, locale: null, title: null, body, html: null };
}

/** Stands still over the time limit of a render, the first `times` times that its name is read. */
function heldUp(times: number): { readonly name: string } {
  let left = times;
  return {
    get name(): string {
      const until = performance.now() + (left > 0 ? 110 : 0);
      left -= 1;
      while (performance.now() < until);
      return 'Ada';
    },
  };
}

/** Counts how often the event loop comes round; `stop` answers the count. */
function startHeart(): { stop: () => Promise<number> } {
  let beats = 0;
  const stopped = new AbortController();
  const beat = async (): Promise<number> => {
    await otherWork();
    if (stopped.signal.aborted) return beats;
    beats += 1;
    return beat();
  };
  const beating = beat();
  return {
    stop: () => {
      stopped.abort();
      return beating;
    },
  };
}
