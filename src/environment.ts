/** How variables are read, whichever they are: mistakes are noted one by one and told all at once. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** The environment cannot be used. The message lists every mistake, a line each, and shows no secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly problems: readonly string[]) {
    super(['The settings in the environment cannot be used:', ...problems.map((problem) => `  ${problem}`)].join('\n'));
  }
}

export interface Env {
  readonly get: (name: string) => string | undefined;
  /** Notes a mistake; reading goes on, so that all are told at once. */
  readonly refuse: (name: string, why: string) => void;
  readonly problems: readonly string[];
}

export function openEnv(environment: Environment): Env {
  const problems: string[] = [];
  return {
    get: (name) => (environment[name] === '' ? undefined : environment[name]),
    refuse: (name, why) => problems.push(`${name} ${why}.`),
    problems,
  };
}

interface Range {
  readonly least: number;
  readonly most: number;
  readonly fallback: number;
}

export function readInteger(env: Env, name: string, { least, most, fallback }: Range): number {
  const text = env.get(name);
  if (text === undefined) return fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  env.refuse(name, `is ${quote(text)}; allowed is a whole number from ${String(least)} to ${String(most)}`);
  return fallback;
}

export function readChoice<T extends string>(env: Env, name: string, choices: readonly T[], fallback: T): T {
  const text = env.get(name);
  if (text === undefined) return fallback;
  const choice = choices.find((candidate) => candidate === text);
  if (choice === undefined) env.refuse(name, `is ${quote(text)}; allowed are ${choices.join(', ')}`);
  return choice ?? fallback;
}

interface Scheme {
  readonly url: string;
  readonly allowed: string;
  readonly planned: RegExp;
}

/** Shows the scheme only: the rest of a URL may hold a password. */
export function refuseScheme(env: Env, name: string, { url, allowed, planned }: Scheme): void {
  const scheme = /^([a-z][a-z\d+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  const known = scheme !== undefined && planned.test(scheme);
  if (known)
    env.refuse(name, `has the scheme ${scheme}:, which is not yet supported in this version; allowed is ${allowed}`);
  else if (scheme === undefined) env.refuse(name, `has no scheme; allowed is ${allowed}`);
  else env.refuse(name, `cannot be used with the scheme ${scheme}:; allowed is ${allowed}`);
}

interface FolderUrl {
  readonly scheme: string;
  /** Other forms that are allowed, to be told after `<scheme>:<folder>`. */
  readonly others?: string;
  readonly planned: RegExp;
}

/** The folder of an embedded adapter, from `<scheme>:<folder>`. */
export function readFolder(env: Env, name: string, { scheme, others = '', planned }: FolderUrl): string | null {
  const url = env.get(name);
  if (url === undefined) return null;
  const allowed = `${scheme}:<folder>${others}`;
  const [start, ...rest] = url.split(':');
  const path = start === scheme && rest.length > 0 ? rest.join(':').replace(/^\/\//, '') : null;
  if (path === '') env.refuse(name, `names no folder; allowed is ${allowed}`);
  if (path === null) refuseScheme(env, name, { url, allowed, planned });
  return path;
}

export function bothOrNeither(env: Env, one: string, other: string): boolean {
  const missing = [one, other].filter((name) => env.get(name) === undefined);
  const [name] = missing;
  if (name === undefined || missing.length === 2) return true;
  env.refuse(name, `is missing; ${one} and ${other} are given together or not at all`);
  return false;
}

export function hasControlCharacter(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

export function parseUrl(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}

export function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

const DAY_MS = 86_400_000;

/** NaN when it is no duration from 100 ms to 24 h, or to another longest one. */
export function milliseconds(text: string, longestMs = DAY_MS): number {
  const [, amount, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  const value = Number(amount) * (UNITS[unit ?? ''] ?? Number.NaN);
  return value >= 100 && value <= longestMs ? value : Number.NaN;
}
