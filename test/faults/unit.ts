import { rm } from 'node:fs/promises';
import { start, type Started } from '../../src/lifecycle.ts';
import type { Role } from '../../src/roles.ts';
import { eventually } from '../support/eventually.ts';
import { startService, type Service } from '../support/service.ts';
import { openTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { openTempDir } from '../support/temp-dir.ts';

/** What a process talks to. */
export const LINKS = ['event store', 'RabbitMQ', 'ClickHouse', 'SMTP', 'FCM', 'Twilio'] as const;
export type LinkName = (typeof LINKS)[number];

/** Whether those roles, of which none is all, have that one among them. */
export function includesRole(roles: readonly Role[], role: Role): boolean {
  return roles.length === 0 || roles.includes(role);
}

/** One process that is killed and started again, with wires of its own to the servers. */
export interface Unit {
  readonly name: string;
  readonly roles: readonly Role[];
  readonly folder: string;
  /** Null where it goes to no such server. */
  readonly link: (name: LinkName) => TcpProxy | null;
  /** Null while it does not run. */
  readonly service: () => Service | null;
  /** Tries again when it does not start, as whatever watches over it would. */
  readonly start: () => Promise<void>;
  /** At once, as a machine that fails. `forgets`: the machine's disk is lost, too. */
  readonly kill: (how?: { readonly forgets: boolean }) => Promise<void>;
  /** How often it ended without being told to, once it had listened, with the last lines of its log. */
  readonly crashes: readonly string[];
}

export interface UnitOptions {
  readonly name: string;
  /** Empty: all. */
  readonly roles: readonly Role[];
  readonly settings: Readonly<Record<string, string>>;
  /** As of `startService`. */
  readonly within?: readonly string[];
  /** Settings that name servers, by link; what is left out has no proxy. */
  readonly servers: Partial<Readonly<Record<LinkName, Server>>>;
}

export interface Server {
  readonly variable: string;
  /** For the port of the proxy that stands before it. */
  readonly url: (port: number) => string;
  readonly port: () => number;
}

/** Not started yet. Whatever runs of it is killed in the end, and its folder goes. */
export function openUnit({ name, roles, settings, within = [], servers }: UnitOptions): Promise<Started<Unit>> {
  return start(async (scope) => {
    const folder = scope.use(await openTempDir());
    const proxies = new Map<string, TcpProxy>();
    const urls: Record<string, string> = {};
    for (const [link, { variable, url, port }] of Object.entries(servers)) {
      const proxy = scope.use(await openTcpProxy(port));
      proxies.set(link, proxy);
      urls[variable] = url(proxy.port);
    }
    const all = { ...settings, ...urls, ROLES: roles.length === 0 ? 'all' : roles.join(',') };
    const process = openProcess(() => startService(folder, all, within));
    scope.use({ value: undefined, stop: process.kill });
    const kill: Unit['kill'] = async ({ forgets } = { forgets: false }) => {
      await process.kill();
      if (forgets) await rm(folder, { recursive: true, force: true });
    };
    return { name, roles, folder, ...process, kill, link: (link) => proxies.get(link) ?? null };
  });
}

type Process = Pick<Unit, 'service' | 'start' | 'kill' | 'crashes'>;

const STARTED = { timeoutMs: 120_000, pauseMs: 250 };
const LAST_LINES = 5;

function openProcess(launch: () => Promise<Service>): Process {
  let service: Service | null = null;
  let wanted = 0;
  const crashes: string[] = [];
  const begin = async (): Promise<void> => {
    wanted += 1;
    const run = wanted;
    const begun = await eventually(launch, STARTED);
    service = begun;
    void begun.ended.then(({ code, signal }) => {
      service = null;
      if (run !== wanted) return;
      const last = begun.log().trimEnd().split('\n').slice(-LAST_LINES).join('\n');
      crashes.push(`ended with ${String(code ?? signal)}: ${last}`);
    });
  };
  const kill = async (): Promise<void> => {
    wanted += 1;
    const killed = service;
    killed?.child.kill('SIGKILL');
    await killed?.ended;
  };
  return { service: () => service, start: begin, kill, crashes };
}
