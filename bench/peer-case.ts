import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openScope, type Scope } from '../src/lifecycle.ts';
import { freePort } from '../test/support/free-port.ts';
import { orderOf, perform, PEER, type Load, type Measured, type Settings, type Shape } from './cases.ts';
import { firstMessage, startProgram, startScript } from './processes.ts';

/** Why it cannot be measured here; null when it can. */
export function lacksRedis(): string | null {
  const isThere = (process.env['PATH'] ?? '').split(':').some((each) => existsSync(join(each, 'redis-server')));
  return isThere ? null : 'the peer; Redis is not installed (Debian: apt-get install redis-server)';
}

/** Every answer is on the disk, as ours is. */
async function openRedis(scope: Scope): Promise<number> {
  const port = await freePort();
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    dir: await mkdtemp(join(tmpdir(), 'redis-')),
    appendonly: 'yes',
    appendfsync: 'always',
    save: '',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  scope.use(await startProgram(['redis-server', ...args], {}, /(Ready to accept connections)/));
  return port;
}

/** In one process or two. */
async function openPeer(scope: Scope, load: Load, { peerConcurrency, peerProcesses }: Settings): Promise<string> {
  const args = [await openRedis(scope), load.pushPort, peerConcurrency].map(String);
  const ports: number[] = [];
  for (const role of peerProcesses === 1 ? ['both'] : ['worker', 'intake']) {
    const child = scope.use(startScript('./peer.ts', role, ...args));
    ports.push((await firstMessage<{ readonly port: number }>(child)).port);
  }
  return `http://127.0.0.1:${String(Math.max(...ports))}/`;
}

export async function measurePeer(
  load: Load,
  settings: Settings,
  shapes: readonly Shape[],
): Promise<readonly Measured[]> {
  const scope = openScope();
  try {
    const url = await openPeer(scope, load, settings);
    const measured: Measured[] = [];
    for (const shape of shapes) {
      const order = orderOf(shape, settings, { url, headers: {}, channel: 'PUSH' });
      const result = await perform(load, { ...order, language: 'json' });
      measured.push({ ...result, who: PEER, channel: 'PUSH', shape });
    }
    return measured;
  } finally {
    await scope.stop();
  }
}
