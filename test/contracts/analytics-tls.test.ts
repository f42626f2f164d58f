import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createServer } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { start, type Scope } from '../../src/lifecycle.ts';
import { engineOf, openTestAnalytics } from '../support/analytics.ts';
import { openTempDir } from '../support/temp-dir.ts';
import { CERTIFICATE, KEY } from '../support/tls-certificate.ts';
import { tsCommand } from '../support/ts-child.ts';

const CHILD = new URL('./analytics-tls-child.ts', import.meta.url);

/** TLS in front of a port of this machine. */
async function openTls(scope: Scope, target: number): Promise<number> {
  const server = createServer({ cert: CERTIFICATE, key: KEY }, (socket) => {
    const behind = connect(target, '127.0.0.1');
    socket.pipe(behind).pipe(socket);
    socket.on('error', () => behind.destroy());
    behind.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.use({ value: null, stop: () => new Promise<void>((resolve) => server.close(() => resolve())) });
  return (server.address() as AddressInfo).port;
}

async function askOver(url: string, env: NodeJS.ProcessEnv): Promise<string> {
  const [command, ...args] = tsCommand(CHILD, [url]);
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  return text(child.stdout);
}

describe('ClickHouse over TLS', () => {
  it('is asked when its certificate is trusted, by NODE_EXTRA_CA_CERTS too, and not otherwise', async () => {
    const { stop } = await start(async (scope) => {
      const folder = scope.use(await openTempDir());
      const engine = engineOf(scope.use(await openTestAnalytics(folder)));
      const port = await openTls(scope, Number(new URL(engine.url).port));
      const authority = join(folder, 'ca.pem');
      await writeFile(authority, CERTIFICATE);
      const url = `https://default:${engine.password}@localhost:${String(port)}/default`;
      expect(await askOver(url, { NODE_EXTRA_CA_CERTS: authority })).toBe('[{"one":1}]');
      expect(await askOver(url, { NODE_EXTRA_CA_CERTS: '' })).toBe('unavailable');
    });
    await stop();
  });
});
