import { parseUrl, quote, type Env } from './environment.ts';

/** Where spans go, over HTTP as OTLP's JSON. */
export interface TracesConfig {
  readonly url: string;
  /** May hold a secret. */
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  /** Of the requests that come without a trace of their own; from 0 to 1. */
  readonly ratio: number;
}

/** OpenTelemetry's own variables. Null: nothing is traced. */
export function readTraces(env: Env): TracesConfig | null {
  const base = readUrl(env, 'OTEL_EXPORTER_OTLP_ENDPOINT');
  const own = readUrl(env, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT');
  const headers = readHeaders(env);
  const serviceName = env.get('OTEL_SERVICE_NAME') ?? 'heliograph';
  const ratio = readRatio(env);
  const url = own ?? (base === null ? null : `${base.replace(/\/+$/, '')}/v1/traces`);
  return url === null ? null : { url, headers, serviceName, ratio };
}

function readUrl(env: Env, name: string): string | null {
  const text = env.get(name);
  if (text === undefined) return null;
  const url = parseUrl(text);
  if (url && /^https?:$/.test(url.protocol) && `${url.username}${url.password}${url.hash}` === '') return url.href;
  // It may hold a password.
  env.refuse(name, 'is not usable; allowed is http://host[:port][/path] or https://… without user or fragment');
  return null;
}

function readHeaders(env: Env): TracesConfig['headers'] {
  const pairs = (env.get('OTEL_EXPORTER_OTLP_HEADERS') ?? '').split(',').filter((pair) => pair.trim() !== '');
  const headers = pairs.map((pair) => /^\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*([!-~]*(?: [!-~]+)*)\s*$/.exec(pair));
  if (headers.includes(null)) {
    env.refuse(
      'OTEL_EXPORTER_OTLP_HEADERS',
      'is not usable; allowed is name=value,name=value with percent-encoded values',
    );
    return {};
  }
  return Object.fromEntries(headers.map((found) => [found?.[1] ?? '', decoded(found?.[2] ?? '')]));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readRatio(env: Env): number {
  const text = env.get('OTEL_TRACES_SAMPLER_ARG') ?? '1';
  const ratio = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (ratio <= 1) return ratio;
  env.refuse('OTEL_TRACES_SAMPLER_ARG', `is ${quote(text)}; allowed is a number from 0 to 1`);
  return 1;
}
