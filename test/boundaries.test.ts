import { readFile, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { importsOf, misnamed, violations } from './support/boundaries.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Files below `folder`, relative to it, with slashes. */
async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return files.map((file) => relative(join(ROOT, folder), file).split(sep).join('/'));
}

describe('the source', () => {
  it('imports in the directions of the design only', async () => {
    const files = (await filesIn('src')).filter((file) => file.endsWith('.ts'));
    const texts = await Promise.all(files.map((file) => readFile(join(ROOT, 'src', file), 'utf8')));
    expect(files.flatMap((file, index) => violations(file, texts[index] ?? ''))).toEqual([]);
    expect(files).toContain('events/event.ts');
  });

  it.each(['test', 'bench', 'scripts'])('has no catch-all folder and no barrel in %s', async (folder) => {
    expect((await filesIn(folder)).flatMap(misnamed)).toEqual([]);
  });

  it('needs no package that comes only with the development dependencies', async () => {
    const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
      readonly dependencies: Readonly<Record<string, string>>;
    };
    const files = (await filesIn('src')).filter((file) => file.endsWith('.ts'));
    const texts = await Promise.all(files.map((file) => readFile(join(ROOT, 'src', file), 'utf8')));
    const needed = texts.flatMap(importsOf).filter(({ typeOnly, lazy }) => !typeOnly && !lazy);
    const packages = needed.flatMap(({ specifier }) => /^(@[^/]+\/)?[^./][^/]*/.exec(specifier)?.[0] ?? []);
    expect(packages.filter((name) => !name.startsWith('node:') && !(name in dependencies))).toEqual([]);
    expect(packages).toContain('fastify');
  });
});

describe('the checker of boundaries', () => {
  it.each([
    ['events/a.ts', `import { x } from './event.ts'; import { createHash } from 'node:crypto';`],
    ['commands/a.ts', `import { x } from '../events/event.ts'; import { DomainError } from '../errors.ts';`],
    ['commands/a.ts', `import type { EventLog } from '../ports/event-log/event-log.ts';`],
    ['commands/handle.ts', `import { WrongExpectedVersion } from '../ports/event-log/event-log.ts';`],
    [
      'projections/a.ts',
      `import { START } from '../ports/event-log/event-log.ts'; import { x } from '../events/event.ts';`,
    ],
    [
      'senders/email-smtp.ts',
      `import { createTransport } from 'nodemailer'; import type { Outcome } from './outcome.ts';`,
    ],
    ['senders/push-fcm-answer.ts', `import x from 'firebase-admin/messaging';`],
    ['senders/render.ts', `import { Liquid } from 'liquidjs';`],
    ['ports/event-log/lmdb-append.ts', `import { open } from 'lmdb'; import { x } from './lmdb-codec.ts';`],
    ['ports/event-log/open.ts', `import type { Config } from '../../config.ts'; import { openLmdb } from './lmdb.ts';`],
    ['sandbox/smtp.ts', `import { SMTPServer } from 'smtp-server';`],
    ['api/a.ts', `import { Field } from 'type-graphql'; import { request } from '../commands/request.ts';`],
    ['app.ts', `import { open } from './ports/broker/open.ts'; import { state } from './ports/state/lmdb.ts';`],
    [
      'main.ts',
      `import { loadConfig } from './config.ts'; import { startApp } from './app.ts'; import pino from 'pino';`,
    ],
    ['ids.ts', `import { v7 } from 'uuid';`],
  ])('lets %s do %s', (file, text) => {
    expect(violations(file, text)).toEqual([]);
  });

  it.each([
    ['events/a.ts', `import { x } from '../errors.ts';`, /events must not import errors\.ts/],
    ['events/a.ts', `import type { x } from '../commands/a.ts';`, /events must not import commands\/a\.ts/],
    ['events/a.ts', `import fs from 'node:fs';`, /events must not import node:fs/],
    ['events/a.ts', `import { v7 } from 'uuid';`, /package uuid/],
    ['events/a.ts', `export * from '../log.ts';`, /events must not import log\.ts/],
    ['events/a.ts', `const x = await import('../log.ts');`, /events must not import log\.ts/],
    ['events/a.ts', `const x = await import(name);`, /package \(computed\)/],
    ['events/a.ts', `type X = import('../log.ts').Log;`, /events must not import log\.ts/],
    ['events/a.ts', `import log = require('../log.ts');`, /events must not import log\.ts/],
    ['commands/a.ts', `import { x } from '../ports/event-log/event-log.ts';`, /only types of it/],
    ['commands/a.ts', `import { type EventLog } from '../ports/event-log/event-log.ts';`, /only types of it/],
    ['commands/a.ts', `import { x } from '../projections/route.ts';`, /commands must not import projections/],
    ['commands/a.ts', `import { randomUUID } from 'node:crypto';`, /commands must not import node:crypto/],
    ['commands/handle.ts', `import { open } from '../ports/event-log/lmdb.ts';`, /only app\.ts imports the adapter/],
    ['projections/a.ts', `import type { x } from '../commands/a.ts';`, /projections must not import commands/],
    ['projections/a.ts', `import { x } from '../senders/worker.ts';`, /projections must not import senders/],
    ['projections/a.ts', `import { open } from 'lmdb';`, /package lmdb/],
    ['senders/worker.ts', `import { x } from '../commands/record.ts';`, /senders must not import commands/],
    ['senders/worker.ts', `import nodemailer from 'nodemailer';`, /package nodemailer/],
    ['senders/outcome.ts', `import type { x } from '@scope/name/deep';`, /package @scope\/name/],
    ['ports/broker/broker.ts', `import { open } from 'lmdb';`, /package lmdb/],
    [
      'ports/broker/in-process.ts',
      `import { x } from '../event-log/event-log.ts';`,
      /one port must not import another/,
    ],
    ['ports/broker/in-process.ts', `import { x } from '../../commands/a.ts';`, /ports must not import commands/],
    ['ports/broker/open.ts', `import { readConfig } from '../../config.ts';`, /only types of it/],
    ['api/a.ts', `import { x } from '../ports/broker/open.ts';`, /only app\.ts imports ports\/broker\/open\.ts/],
    ['api/a.ts', `import { x } from '../ports/broker/in-process.ts';`, /only app\.ts imports the adapter/],
    ['api/a.ts', `import { x } from '../senders/worker.ts';`, /api must not import senders/],
    ['api/a.ts', `import { startApp } from '../app.ts';`, /api must not import app\.ts/],
    ['api/a.ts', `import pino from 'pino';`, /package pino/],
    ['api/a.ts', `import { v7 } from 'uuid';`, /package uuid/],
    ['main.ts', `import { x } from './ports/broker/open.ts';`, /only app\.ts/],
    ['app.ts', `import './main.ts';`, /nobody imports main\.ts/],
    ['app.ts', `import { open } from 'lmdb';`, /package lmdb/],
    ['lifecycle.ts', `import { x } from './events/event.ts';`, /src must not import events/],
    ['lifecycle.ts', `import { v7 } from 'uuid';`, /package uuid/],
    ['inbox/a.ts', `export {};`, /no rule/],
    ['api/index.ts', `export {};`, /no barrels/],
    ['api/utils/a.ts', `export {};`, /a folder named utils/],
    ['commands/types/a.ts', `export {};`, /a folder named types/],
  ])('finds fault with %s doing %s', (file, text, fault) => {
    const found = violations(file, text);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(fault);
  });

  it('does not take comments and strings for imports', () => {
    expect(importsOf(`// import x from 'lmdb';\nconst text = "import x from 'lmdb'";`)).toEqual([]);
  });
});
