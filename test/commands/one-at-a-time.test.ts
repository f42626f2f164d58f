import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openOneAtATime } from '../../src/commands/one-at-a-time.ts';

describe('tasks of one name', () => {
  it('run one after the other in the order of the calls, those of other names meanwhile, whichever fail', async () => {
    const calls = fc.array(fc.record({ name: fc.constantFrom('a', 'b', 'c'), fails: fc.boolean() }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), calls, async (scheduler, all) => {
        const oneAtATime = openOneAtATime();
        const running = new Set<string>();
        const ended: number[] = [];
        const answers = all.map(({ name, fails }, index) =>
          oneAtATime(name, async () => {
            expect(running.has(name)).toBe(false);
            running.add(name);
            await scheduler.schedule(Promise.resolve());
            running.delete(name);
            ended.push(index);
            if (fails) throw new Error(`failed ${String(index)}`);
            return index;
          }),
        );
        const settled = Promise.allSettled(answers);
        await scheduler.waitFor(settled);
        for (const name of ['a', 'b', 'c']) {
          const own = all.flatMap((each, index) => (each.name === name ? [index] : []));
          expect(ended.filter((index) => own.includes(index))).toEqual(own);
        }
        expect((await settled).map((each) => (each.status === 'fulfilled' ? each.value : String(each.reason)))).toEqual(
          all.map(({ fails }, index) => (fails ? `Error: failed ${String(index)}` : index)),
        );
      }),
    );
  });

  it('that hang hold up nobody of another name', async () => {
    const oneAtATime = openOneAtATime();
    void oneAtATime('stuck', () => new Promise(() => undefined));
    expect(await oneAtATime('free', () => Promise.resolve('done'))).toBe('done');
  });
});
