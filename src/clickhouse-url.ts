import { hasControlCharacter, parseUrl } from './environment.ts';

/** Where a ClickHouse server is, over HTTP. */
export interface ClickhouseServer {
  readonly kind: 'clickhouse';
  /** Scheme, host and port, nothing secret. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly database: string;
  /** The cluster of one shard all of whose replicas hold the tables; null: this server alone. */
  readonly cluster: string | null;
}

export function isClickhouseUrl(text: string): boolean {
  return /^https?:/i.test(text);
}

/** What is wrong with it is told without a word of it: it may hold a password. */
export function parseClickhouseUrl(text: string): Omit<ClickhouseServer, 'cluster'> | { readonly wrong: string } {
  const url = parseUrl(text);
  const authority = /^https?:\/\/(?:[^/?#]*@)?([^/?#@]+)/i.exec(text)?.[1];
  if (url === null || authority === undefined) return wrong('is not usable');
  if (`${url.search}${url.hash}` !== '') return wrong('has a query or a fragment');
  const parts = [url.username, url.password, url.pathname.replace(/^\//, '').replace(/\/$/, '')].map(decoded);
  const fault = parts.includes(undefined) ? BAD_ESCAPE : faultOf(parts);
  if (fault !== null) return wrong(fault);
  const [username, password, database] = parts;
  return {
    kind: 'clickhouse',
    url: `${url.protocol}//${url.hostname}:${portOf(url, authority)}`,
    username: orDefault(username),
    password: password ?? '',
    database: orDefault(database),
  };
}

function orDefault(text = ''): string {
  return text === '' ? 'default' : text;
}

/** Ports that are the scheme's own are not in the URL any more. */
function portOf({ protocol }: URL, authority: string): string {
  return /:(\d+)$/.exec(authority)?.[1] ?? DEFAULT_PORTS[protocol] ?? '';
}

const BAD_ESCAPE = 'has a % that escapes nothing, to be written as %25';

function faultOf([username = '', password = '', database = '']: readonly (string | undefined)[]): string | null {
  if (hasControlCharacter(`${username}${password}`)) return 'holds a control character';
  // HTTP Basic joins the two with a colon.
  if (username.includes(':')) return "has a ':' in the user";
  return /^\w{0,64}$/.test(database) ? null : 'names a database with other characters than letters, digits and _';
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '8123', 'https:': '8443' };

function wrong(why: string): { readonly wrong: string } {
  return { wrong: `${why}; allowed is http[s]://[user:password@]host[:port][/database]` };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** It stands in statements. */
export function isClusterName(text: string): boolean {
  return /^[\w.-]{1,64}$/.test(text);
}
