import { describe, expect, it } from 'vitest';
import { openScope, start, type Started } from '../src/lifecycle.ts';

/** A log of what was stopped, and things that write to it. */
function recording() {
  const stopped: string[] = [];
  const thing = (name: string): Started<string> => ({
    value: name,
    stop: async () => {
      await Promise.resolve();
      stopped.push(name);
    },
  });
  const broken = (name: string): Started<string> => ({
    value: name,
    stop: () => {
      stopped.push(name);
      return Promise.reject(new Error(`${name} did not stop`));
    },
  });
  return { stopped, thing, broken };
}

describe('a scope', () => {
  it('hands out what was started', () => {
    expect(openScope().use(recording().thing('log'))).toBe('log');
  });

  it('stops last in, first out, one after the other', async () => {
    const { stopped, thing } = recording();
    const scope = openScope();
    for (const name of ['log', 'broker', 'api']) scope.use(thing(name));
    await scope.stop();
    expect(stopped).toEqual(['api', 'broker', 'log']);
  });

  it('waits for one to have stopped before it stops the next', async () => {
    const { stopped, thing } = recording();
    const scope = openScope();
    scope.use(thing('log'));
    let release: () => void = () => undefined;
    const drained = new Promise<void>((resolve) => (release = resolve));
    scope.use({ value: 'worker', stop: () => drained });
    const done = scope.stop();
    await new Promise(setImmediate);
    expect(stopped).toEqual([]);
    release();
    await done;
    expect(stopped).toEqual(['log']);
  });

  it('stops everything although some fail, and tells of the first failure', async () => {
    const { stopped, thing, broken } = recording();
    const scope = openScope();
    for (const started of [thing('log'), broken('broker'), broken('api')]) scope.use(started);
    await expect(scope.stop()).rejects.toThrow('api did not stop');
    expect(stopped).toEqual(['api', 'broker', 'log']);
  });

  it('stops once, however often it is asked', async () => {
    const { stopped, thing } = recording();
    const scope = openScope();
    scope.use(thing('log'));
    await Promise.all([scope.stop(), scope.stop()]);
    await scope.stop();
    expect(stopped).toEqual(['log']);
  });
});

describe('start', () => {
  it('gives the value and stops what was opened on the way', async () => {
    const { stopped, thing } = recording();
    const app = await start((scope) => Promise.resolve(scope.use(thing('log')).length));
    expect(app.value).toBe(3);
    await app.stop();
    expect(stopped).toEqual(['log']);
  });

  it('closes what was opened when opening fails, and tells why it failed', async () => {
    const { stopped, thing, broken } = recording();
    const opening = start((scope) => {
      scope.use(thing('log'));
      scope.use(broken('broker'));
      return Promise.reject(new Error('the port is taken'));
    });
    await expect(opening).rejects.toThrow('the port is taken');
    expect(stopped).toEqual(['broker', 'log']);
  });

  it('nests: what was started inside is stopped from outside', async () => {
    const { stopped, thing } = recording();
    const inner = await start((scope) => Promise.resolve(scope.use(thing('inner'))));
    const outer = await start((scope) => {
      scope.use(thing('outer'));
      return Promise.resolve(scope.use(inner));
    });
    await outer.stop();
    expect(stopped).toEqual(['inner', 'outer']);
  });
});
