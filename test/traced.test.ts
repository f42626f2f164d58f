import { describe, expect, it } from 'vitest';
import { WrongExpectedVersion, type EventLog } from '../src/ports/event-log/event-log.ts';
import { tracedLog } from '../src/traced.ts';
import type { Tracer } from '../src/traces.ts';
import * as given from './support/given.ts';

/** A log whose appends go as `append` does, and the spans that were ended: of what, and what of it failed. */
function traced(append: () => Promise<never>): { readonly log: EventLog; readonly ended: readonly unknown[] } {
  const ended: unknown[] = [];
  const tracer: Tracer = {
    start: (name) => ({ traceparent: 'any', end: (_, failed) => void ended.push([name, failed]) }),
  };
  return { log: tracedLog({ append } as unknown as EventLog, tracer), ended };
}

describe('the span of a recording', () => {
  it('tells of a failure, and nothing where somebody else was quicker', async () => {
    const away = traced(() => Promise.reject(new TypeError('away')));
    await expect(away.log.append('notification-1', [given.stored(given.routed(), 1)], 1)).rejects.toThrow('away');
    expect(away.ended).toEqual([['route', 'TypeError']]);
    const late = traced(() => Promise.reject(new WrongExpectedVersion('notification-1', 1, 2)));
    await expect(late.log.append('notification-1', [given.stored(given.routed(), 1)], 1)).rejects.toThrow(
      WrongExpectedVersion,
    );
    expect(late.ended).toEqual([]);
  });
});
