import { describe, expect, it } from 'vitest';
import { decode, upcast, type Upcasters } from '../../src/events/codec.ts';
import { SCHEMA_VERSION } from '../../src/events/event.ts';
import { requested, stored } from '../support/given.ts';

interface Names {
  readonly names: readonly string[];
}

/** Notes who lifted it. */
function noting(name: string): (data: unknown) => Names {
  return (data) => ({ names: [...(data as Names).names, name] });
}

const UPCASTERS: Upcasters = {
  Renamed: { 1: noting('1 to 2'), 2: noting('2 to 3'), 4: noting('4 to 5') },
  Other: { 1: noting('never') },
};

function lift(type: string, schemaVersion: number, to: number): unknown {
  const { metadata } = stored(requested());
  return upcast({ type, data: { names: [] }, metadata: { ...metadata, schemaVersion } }, UPCASTERS, to);
}

describe('an event of an older version', () => {
  it('is lifted step by step, in order', () => {
    expect(lift('Renamed', 1, 3)).toEqual({ names: ['1 to 2', '2 to 3'] });
    expect(lift('Renamed', 2, 3)).toEqual({ names: ['2 to 3'] });
    expect(lift('Renamed', 1, 2)).toEqual({ names: ['1 to 2'] });
  });

  it('passes versions in which its type did not change', () => {
    expect(lift('Renamed', 1, 5)).toEqual({ names: ['1 to 2', '2 to 3', '4 to 5'] });
    expect(lift('Unchanged', 1, 5)).toEqual({ names: [] });
  });

  it('is not lifted by what was meant for names that every object has', () => {
    for (const type of ['constructor', '__proto__', 'toString']) expect(lift(type, 1, 3)).toEqual({ names: [] });
  });
});

describe('an event of today’s or a newer version', () => {
  it('keeps its shape', () => {
    expect(lift('Renamed', 3, 3)).toEqual({ names: [] });
    expect(lift('Renamed', 9, 3)).toEqual({ names: [] });
    const event = stored(requested());
    const newer = { ...event, metadata: { ...event.metadata, schemaVersion: SCHEMA_VERSION + 1 } };
    expect(decode(newer)).toEqual({ type: event.type, data: event.data });
  });
});
