import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adoptSecret, seedClient } from '../../src/commands/clients.ts';
import type { Caller, ClientCredentials } from '../../src/commands/commands.ts';
import { SCOPES } from '../../src/events/clients.ts';
import { looksLikeSecret } from '../../src/keys.ts';
import { CALLER } from '../support/pipeline.ts';
import { withWorld, type World } from '../support/world.ts';

const ACME: Caller = { tenant: 'acme', appKey: 'acme-admin', scopes: ['ADMIN', 'SEND'], correlationId: 'request-2' };
const CLIENT = { tenant: 'acme', name: 'shop', scopes: ['SEND'] } as const;

async function accepts({ queries }: World, { appKey, appSecret }: ClientCredentials): Promise<boolean> {
  return (await queries.authenticate(appKey, appSecret)) !== null;
}

describe('a registered client', () => {
  it('is known by its credentials, with its tenant and scopes', async () => {
    await withWorld(async ({ commands, queries }) => {
      const { appKey, appSecret } = await commands.registerClient(CALLER, {
        ...CLIENT,
        scopes: ['SEND', 'READ', 'SEND'],
      });
      const expected = { appKey, tenant: 'acme', name: 'shop', scopes: ['SEND', 'READ'], revoked: false };
      expect(await queries.authenticate(appKey, appSecret)).toMatchObject(expected);
    });
  });

  it('is not known by anything else', async () => {
    await withWorld(async ({ commands, queries }) => {
      const one = await commands.registerClient(CALLER, CLIENT);
      const two = await commands.registerClient(CALLER, CLIENT);
      const wrong = [one.appSecret.slice(1), '', `${one.appSecret} `, two.appSecret, '\ud800'];
      for (const appSecret of wrong) expect(await queries.authenticate(one.appKey, appSecret)).toBeNull();
      for (const appKey of ['nobody', '', '\ud800'])
        expect(await queries.authenticate(appKey, one.appSecret)).toBeNull();
    });
  });

  it('has a secret that scanners recognise', async () => {
    await withWorld(async ({ commands }) => {
      expect(looksLikeSecret((await commands.registerClient(CALLER, CLIENT)).appSecret)).toBe(true);
    });
  });

  it('leaves no trace of its secret on the disk', async () => {
    await withWorld(async (world) => {
      const { appKey, appSecret } = await world.commands.registerClient(CALLER, CLIENT);
      const rotated = await world.commands.rotateClientSecret(CALLER, appKey, 60);
      const folder = join(world.folder, 'log');
      const files = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name))));
      const holds = (text: string): boolean => files.some((file) => file.includes(text));
      expect(holds(appKey)).toBe(true);
      for (const secret of [appSecret, rotated.appSecret]) {
        expect([secret, Buffer.from(secret).toString('base64').slice(0, 40)].some(holds)).toBe(false);
      }
    });
  });
});

describe('rotating a secret', () => {
  it('lets both secrets work until the grace is over', async () => {
    await withWorld(async (world) => {
      const old = await world.commands.registerClient(CALLER, CLIENT);
      const fresh = await world.commands.rotateClientSecret(CALLER, old.appKey, 60);
      expect(fresh.appKey).toBe(old.appKey);
      world.clock.advance(59_999);
      expect([await accepts(world, old), await accepts(world, fresh)]).toEqual([true, true]);
      world.clock.advance(1);
      expect([await accepts(world, old), await accepts(world, fresh)]).toEqual([false, true]);
    });
  });

  it('without grace ends the old secret at once', async () => {
    await withWorld(async (world) => {
      const old = await world.commands.registerClient(CALLER, CLIENT);
      const fresh = await world.commands.rotateClientSecret(CALLER, old.appKey, 0);
      expect([await accepts(world, old), await accepts(world, fresh)]).toEqual([false, true]);
    });
  });

  it('again does not lengthen the grace of an older secret', async () => {
    await withWorld(async (world) => {
      const first = await world.commands.registerClient(CALLER, CLIENT);
      const second = await world.commands.rotateClientSecret(CALLER, first.appKey, 60);
      const third = await world.commands.rotateClientSecret(CALLER, first.appKey, 3_600);
      world.clock.advance(60_000);
      const accepted = [await accepts(world, first), await accepts(world, second), await accepts(world, third)];
      expect(accepted).toEqual([false, true, true]);
    });
  });

  it('without grace also ends older secrets that still had some', async () => {
    await withWorld(async (world) => {
      const first = await world.commands.registerClient(CALLER, CLIENT);
      await world.commands.rotateClientSecret(CALLER, first.appKey, 3_600);
      await world.commands.rotateClientSecret(CALLER, first.appKey, 0);
      expect(await accepts(world, first)).toBe(false);
    });
  });

  it.each([-1, 7_776_001, NaN])('refuses a grace of %d seconds', async (graceSeconds) => {
    await withWorld(async ({ commands, log }) => {
      const { appKey } = await commands.registerClient(CALLER, CLIENT);
      const head = await log.head();
      const rotated = commands.rotateClientSecret(CALLER, appKey, graceSeconds);
      await expect(rotated).rejects.toMatchObject({ code: 'INVALID_INPUT', field: 'graceSeconds' });
      expect(await log.head()).toBe(head);
    });
  });
});

describe('revoking a client', () => {
  it('ends all of its secrets for good', async () => {
    await withWorld(async (world) => {
      const old = await world.commands.registerClient(CALLER, CLIENT);
      const fresh = await world.commands.rotateClientSecret(CALLER, old.appKey, 60);
      expect(await world.commands.revokeClient(CALLER, old.appKey)).toBe(true);
      expect([await accepts(world, old), await accepts(world, fresh)]).toEqual([false, false]);
      const head = await world.log.head();
      expect(await world.commands.revokeClient(CALLER, old.appKey)).toBe(true);
      const rotated = world.commands.rotateClientSecret(CALLER, old.appKey, 60);
      await expect(rotated).rejects.toMatchObject({ code: 'CLIENT_NOT_FOUND' });
      expect(await world.log.head()).toBe(head);
    });
  });
});

describe('a client of another tenant than default', () => {
  it('registers, rotates and revokes within its own tenant', async () => {
    await withWorld(async (world) => {
      const { appKey } = await world.commands.registerClient(ACME, CLIENT);
      expect(await accepts(world, await world.commands.rotateClientSecret(ACME, appKey, 0))).toBe(true);
      expect(await world.commands.revokeClient(ACME, appKey)).toBe(true);
    });
  });

  it.each([
    ['name another tenant', { tenant: 'other' }, 'tenant'],
    ['name the tenant default', { tenant: 'default' }, 'tenant'],
    ['hand on a scope that it lacks', { scopes: ['SEND', 'READ'] as const }, 'scopes'],
  ])('may not %s', async (_, changes, field) => {
    await withWorld(async ({ commands, log }) => {
      const head = await log.head();
      await expect(commands.registerClient(ACME, { ...CLIENT, ...changes })).rejects.toMatchObject({
        code: 'FORBIDDEN',
        field,
      });
      expect(await log.head()).toBe(head);
    });
  });

  it('does not get the scopes that it lacks by rotating the secret of a client that has them', async () => {
    await withWorld(async ({ commands, log }) => {
      const { appKey } = await commands.registerClient(CALLER, { ...CLIENT, scopes: ['SEND', 'READ'] });
      const head = await log.head();
      const rotated = commands.rotateClientSecret(ACME, appKey, 0);
      await expect(rotated).rejects.toMatchObject({ code: 'FORBIDDEN', field: 'appKey' });
      expect(await log.head()).toBe(head);
    });
  });

  it('finds no client of another tenant, exactly as if there were none', async () => {
    await withWorld(async ({ commands, log }) => {
      const { appKey } = await commands.registerClient(CALLER, { ...CLIENT, tenant: 'other' });
      const head = await log.head();
      for (const act of [
        (key: string) => commands.rotateClientSecret(ACME, key, 60),
        (key: string) => commands.revokeClient(ACME, key),
      ]) {
        const [theirs, unknown] = await Promise.all([appKey, 'unknown'].map((key) => act(key).then(String, shown)));
        expect(theirs?.replaceAll(appKey, 'KEY')).toBe(unknown?.replaceAll('unknown', 'KEY'));
        expect(theirs).toContain('CLIENT_NOT_FOUND');
      }
      expect(await log.head()).toBe(head);
    });
  });
});

function shown(error: unknown): string {
  return JSON.stringify([error, error instanceof Error ? error.message : null]);
}

describe('the client that is configured', () => {
  const configured = { appKey: 'boot', appSecret: 'given by a person' };
  const seed = { ...configured, name: 'bootstrap', scopes: SCOPES };

  it('is recorded once, and a new secret replaces the old one at once', async () => {
    await withWorld(async (world) => {
      await seedClient(world.context, CALLER, seed);
      const head = await world.log.head();
      await seedClient(world.context, CALLER, seed);
      await adoptSecret(world.context, CALLER, configured);
      expect(await world.log.head()).toBe(head);
      expect(await accepts(world, configured)).toBe(true);
      const changed = { ...configured, appSecret: 'another one' };
      await adoptSecret(world.context, CALLER, changed);
      expect([await accepts(world, configured), await accepts(world, changed)]).toEqual([false, true]);
    });
  });

  it('stays revoked', async () => {
    await withWorld(async (world) => {
      await seedClient(world.context, CALLER, seed);
      await world.commands.revokeClient(CALLER, 'boot');
      await seedClient(world.context, CALLER, seed);
      await adoptSecret(world.context, CALLER, configured);
      expect(await accepts(world, configured)).toBe(false);
    });
  });
});

describe('registering a client', () => {
  it.each([
    ['without scopes', { scopes: [] }, 'scopes'],
    ['without a name', { name: ' ' }, 'name'],
    ['without a tenant', { tenant: '' }, 'tenant'],
    ['with a line break in its tenant', { tenant: 'a\nb' }, 'tenant'],
  ])('%s is refused, and nothing is appended', async (_, changes, field) => {
    await withWorld(async ({ commands, log }) => {
      const head = await log.head();
      await expect(commands.registerClient(CALLER, { ...CLIENT, ...changes })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        field,
      });
      expect(await log.head()).toBe(head);
    });
  });
});
