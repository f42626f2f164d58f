import { parseUrl } from './environment.ts';

/** Where a RabbitMQ server is, and what our queues are called there. */
export interface RabbitMqServer {
  readonly kind: 'amqp';
  /** Holds a password. */
  readonly url: string;
  readonly prefix: string;
}

export function isAmqpUrl(text: string): boolean {
  return /^amqps?:/i.test(text);
}

/** What is wrong with it, without a word of it: it may hold a password. Null: nothing. */
export function faultOfAmqpUrl(text: string): string | null {
  const url = parseUrl(text);
  const allowed = 'allowed is amqp://user:password@host[:port][/virtual-host] or amqps://…';
  if (url === null || url.hostname === '') return `is not usable; ${allowed}`;
  if (`${url.search}${url.hash}` !== '') return `has a query or a fragment; ${allowed}`;
  if (url.pathname.split('/').length > 2) return `names a virtual host with a slash, to be written as %2F; ${allowed}`;
  const parts = [url.username, url.password, url.pathname];
  return parts.every(isDecodable) ? null : `has a % that escapes nothing, to be written as %25; ${allowed}`;
}

/** Where to connect to, of a URL that has no fault. A URL writes an IPv6 address in brackets, which are no part of it. */
export function addressOfAmqpUrl(text: string): { readonly host: string; readonly port: number } {
  const { hostname, port, protocol } = new URL(text);
  const usual = protocol === 'amqps:' ? 5_671 : 5_672;
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? usual : Number(port) };
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** Names of queues that begin with `amq.` belong to the server. */
export function isQueuePrefix(text: string): boolean {
  return /^(?!amq\.)[\w.-]{1,64}$/.test(text);
}
