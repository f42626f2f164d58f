import { isAbsolute, resolve } from 'node:path';

/** An EventStoreDB or KurrentDB, and how to reach it. */
export interface EventStoreDBServer {
  readonly kind: 'eventstoredb';
  /** Who is asked for the leader: nobody (one node, or one that knows it), the seeds listed, or the nodes behind a DNS name. */
  readonly discovery: 'none' | 'seeds' | 'dns';
  /** At least one. IPv6 addresses in brackets. */
  readonly hosts: readonly { readonly address: string; readonly port: number }[];
  /** Never sent over a connection without TLS. */
  readonly credentials: { readonly username: string; readonly password: string } | null;
  /** Null: no TLS. Paths of PEM files. */
  readonly tls: { readonly caFile?: string; readonly userCertFile?: string; readonly userKeyFile?: string } | null;
  /** Numbers as the vendor's client takes them. */
  readonly tuning: Readonly<Partial<Record<NumberOption, number>>>;
  readonly connectionName: string;
}

type NumberOption = (typeof NUMBERS)[number];

const NUMBERS = [
  'maxDiscoverAttempts',
  'discoveryInterval',
  'gossipTimeout',
  'keepAliveInterval',
  'keepAliveTimeout',
] as const;

/** -1 switches keepalive off; without an attempt, or time for it, nothing is ever found. */
const LEAST: Readonly<Record<NumberOption, number>> = {
  maxDiscoverAttempts: 1,
  discoveryInterval: 0,
  gossipTimeout: 1,
  keepAliveInterval: -1,
  keepAliveTimeout: -1,
};

const FILES = ['tlsCAFile', 'userCertFile', 'userKeyFile'] as const;

const DEFAULT_PORT = 2113;

/** Whether a URL names such a server, usable or not. */
export function isEsdbUrl(text: string): boolean {
  return /^(esdb|kurrentdb)(\+discover)?:/i.test(text);
}

/**
 * Reads the vendor's connection strings ourselves: its client prints them, password and all, when a part is wrong or
 * DEBUG=esdb:* is set. What is wrong with the text is told without showing any of it.
 */
export function parseEsdbUrl(text: string): EventStoreDBServer | { readonly wrong: string } {
  const [, scheme, user, password, hostList = '', query = ''] =
    /^((?:esdb|kurrentdb)(?:\+discover)?):\/\/(?:([^:@/?]+):([^@/?]*)@)?([^@/?]+)\/?(?:\?(.*))?$/.exec(text) ?? [];
  if (scheme === undefined) return wrong(`is not of the form ${FORM}`);
  const hosts = hostList.split(',').map(parseHost);
  const options = parseOptions(query);
  if (typeof options === 'string') return wrong(options);
  const usable = hosts.filter((host) => host !== null);
  if (usable.length < hosts.length) return wrong('names a host that is not host[:port]');
  const credentials = user === undefined ? null : decodeCredentials(user, password ?? '');
  if (credentials === undefined) return wrong('has credentials that are not percent-encoded');
  return {
    kind: 'eventstoredb',
    discovery: scheme.endsWith('+discover') ? 'dns' : hosts.length > 1 ? 'seeds' : 'none',
    hosts: usable,
    credentials,
    ...options,
  };
}

const FORM = 'esdb[+discover]://[user:password@]host[:port][,host[:port]…][?option=value&…]';

function wrong(why: string): { readonly wrong: string } {
  return { wrong: why };
}

function parseHost(text: string): { readonly address: string; readonly port: number } | null {
  const [, address, digits] = /^([a-z\d._-]+|\[[a-f\d:.]+\])(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  return address !== undefined && port >= 1 && port <= 65_535 ? { address, port } : null;
}

/** Undefined when they cannot be decoded. */
function decodeCredentials(user: string, secret: string): EventStoreDBServer['credentials'] | undefined {
  try {
    return { username: decodeURIComponent(user), password: decodeURIComponent(secret) };
  } catch {
    return undefined;
  }
}

type Options = Pick<EventStoreDBServer, 'tls' | 'tuning' | 'connectionName'>;

/** What is wrong, or the options. */
function parseOptions(query: string): Options | string {
  const given = new Map<string, string>();
  for (const pair of query === '' ? [] : query.split('&')) {
    const [key = '', value = ''] = pair.split('=', 2);
    given.set(key.toLowerCase().replaceAll(/[_-]/g, ''), value);
  }
  const take = (name: string): string | undefined => {
    const key = name.toLowerCase();
    const value = given.get(key);
    given.delete(key);
    return value;
  };
  const flags = readFlags(take);
  const tuning = readNumbers(take);
  const files = readFiles(take);
  const connectionName = take('connectionName') ?? 'heliograph';
  if (given.size > 0) return `has an option that is not known here; known are ${KNOWN.join(', ')}`;
  if (typeof flags === 'string') return flags;
  if (typeof tuning === 'string') return tuning;
  if (typeof files === 'string') return files;
  return { tls: flags.tls ? files : null, tuning, connectionName };
}

const KNOWN = ['tls', 'tlsVerifyCert', ...FILES, 'nodePreference', 'connectionName', ...NUMBERS];

type Take = (name: string) => string | undefined;

function readFlags(take: Take): { readonly tls: boolean } | string {
  const tls = take('tls') ?? 'true';
  if (tls !== 'true' && tls !== 'false') return 'has an option tls that is neither true nor false';
  if ((take('tlsVerifyCert') ?? 'true') !== 'true') {
    return 'asks for tlsVerifyCert=false, which the client cannot do; give tlsCAFile';
  }
  // A follower lags behind what was answered, and commands fold what they read.
  if ((take('nodePreference') ?? 'leader').toLowerCase() !== 'leader') {
    return 'asks for another nodePreference than leader; everything is read from the leader';
  }
  return { tls: tls === 'true' };
}

function readNumbers(take: Take): EventStoreDBServer['tuning'] | string {
  const numbers: Partial<Record<NumberOption, number>> = {};
  for (const name of NUMBERS) {
    const text = take(name);
    if (text === undefined) continue;
    if (!/^(-1|\d{1,9})$/.test(text)) return `has an option ${name} that is not a whole number`;
    numbers[name] = Number(text);
    if (numbers[name] < LEAST[name]) return `has an option ${name} that is less than ${String(LEAST[name])}`;
  }
  return numbers;
}

function readFiles(take: Take): NonNullable<EventStoreDBServer['tls']> | string {
  const [caFile, userCertFile, userKeyFile] = FILES.map(take).map((text) => text && resolvePath(text));
  if ((userCertFile === undefined) !== (userKeyFile === undefined)) {
    return 'has one of userCertFile and userKeyFile; they are given together or not at all';
  }
  return { ...(caFile && { caFile }), ...(userCertFile && { userCertFile }), ...(userKeyFile && { userKeyFile }) };
}

function resolvePath(text: string): string {
  const path = decodePath(text);
  return isAbsolute(path) ? path : resolve(path);
}

function decodePath(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
