import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Environment } from '../../src/environment.ts';

/** The part of a compose file that we use. */
export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

export interface ComposeService {
  readonly build?: string;
  readonly image: string;
  readonly hostname?: string;
  readonly profiles?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** As `address:host-port:container-port`. */
  readonly ports?: readonly string[];
  /** As `source:target[:mode]`. */
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly restart?: string;
  readonly stop_grace_period?: string;
  readonly read_only?: boolean;
  readonly security_opt?: readonly string[];
  readonly cap_drop?: readonly string[];
  readonly mem_limit?: string;
}

/** With anchors and merge keys resolved, as compose does; variables are left as they are. */
export function parseCompose(text: string): ComposeFile {
  return parse(text, { merge: true }) as ComposeFile;
}

/** Variables are filled in after the file was taken apart, as compose does: an empty one is an empty text. @throws as `interpolate` */
export function resolveCompose(text: string, variables: Environment): ComposeFile {
  return filledIn(parseCompose(text), variables) as ComposeFile;
}

function filledIn(value: unknown, variables: Environment): unknown {
  if (typeof value === 'string') return interpolate(value, variables);
  if (Array.isArray(value)) return value.map((each) => filledIn(each, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filledIn(each, variables)]));
}

/** A use of a variable: `${NAME}`, `${NAME:-default}` or `${NAME:?message}`, the forms that this project needs. */
const USE = /\$\{(\w+)(?:(:[-?])([^{}]*))?\}/g;

export interface VariableUse {
  readonly name: string;
  /** Compose refuses to start without it. */
  readonly required: boolean;
  readonly fallback: string;
}

export function usesIn(text: string): readonly VariableUse[] {
  return [...text.matchAll(USE)].map(([, name = '', operator, rest = '']) => ({
    name,
    required: operator === ':?',
    fallback: operator === ':-' ? rest : '',
  }));
}

/** @throws when a required variable is missing or empty, as compose does. */
export function interpolate(text: string, variables: Environment): string {
  const filled = text.replaceAll(USE, (use) => {
    const [{ name, required, fallback } = { name: '', required: false, fallback: '' }] = usesIn(use);
    const value = variables[name] ?? '';
    if (value === '' && required) throw new Error(`required variable ${name} is missing a value`);
    return value === '' ? fallback : value;
  });
  if (filled.includes('${')) throw new Error(`not a form that is known here: ${filled}`);
  return filled;
}

export interface EnvLine {
  readonly name: string;
  readonly value: string;
  /** Behind a `#`: to be uncommented by who needs it. */
  readonly commented: boolean;
}

export function parseEnvFile(text: string): readonly EnvLine[] {
  return text.split('\n').flatMap((line) => {
    const [, mark, name = '', value = ''] = /^(#?)([A-Z_]+)=(.*)$/.exec(line) ?? [];
    return name === '' ? [] : [{ name, value, commented: mark === '#' }];
  });
}

export interface Instruction {
  readonly name: string;
  readonly rest: string;
}

export interface Stage {
  readonly from: string;
  /** Undefined for one that nobody copies from. */
  readonly name: string | undefined;
  readonly instructions: readonly Instruction[];
}

/** Of a Dockerfile without heredocs and build arguments. */
export function parseDockerfile(text: string): readonly Stage[] {
  const lines = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n/g, ' ');
  const stages: (Stage & { readonly instructions: Instruction[] })[] = [];
  for (const line of lines.split('\n').filter((each) => each.trim() !== '')) {
    const [, name = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (name === '') throw new Error(`not an instruction: ${line}`);
    if (name === 'FROM') {
      const [from = '', , as] = rest.split(/\s+/);
      stages.push({ from, name: as, instructions: [] });
    } else {
      stages.at(-1)?.instructions.push({ name, rest: rest.replaceAll(/\s+/g, ' ').trim() });
    }
  }
  return stages;
}

export interface Element {
  readonly name: string;
  readonly attributes: string;
  readonly text: string;
  readonly children: readonly Element[];
}

interface Open extends Element {
  text: string;
  readonly children: Element[];
}

const TOKEN = /<(\/?)([a-z_]\w*)((?: [a-z_]+="[^"<]*")*) ?(\/?)>|[^<]+|</gi;

/** Of elements, attributes, text and comments. @throws when it is not well-formed. */
export function parseXml(source: string): Element {
  const document: Open = { name: '', attributes: '', text: '', children: [] };
  const open: Open[] = [document];
  for (const token of source.replaceAll(/<!--((?!--)[^])*-->/g, '').matchAll(TOKEN)) take(token, open);
  const [root, ...others] = document.children;
  if (open.length > 1 || others.length > 0 || root === undefined || document.text.trim() !== '') {
    throw new Error('not one element with everything in it');
  }
  return root;
}

function take([token, closing, name = '', attributes = '', single]: RegExpExecArray, open: Open[]): void {
  const inner = open.at(-1);
  if (inner === undefined || token === '<') throw new Error(`a tag that is none, in <${String(inner?.name)}>`);
  if (name === '') inner.text += token;
  else if (closing === '/') {
    if (open.pop()?.name !== name) throw new Error(`</${name}> ends <${inner.name}>`);
  } else {
    const element: Open = { name, attributes: attributes.trim(), text: '', children: [] };
    inner.children.push(element);
    if (single === '') open.push(element);
  }
}

/** Whether a .dockerignore with these lines keeps the path out. Patterns of this project: from the root, `*` within a name. */
export function isIgnored(lines: readonly string[], path: string): boolean {
  const patterns = lines.filter((line) => line !== '' && !line.startsWith('#'));
  return patterns.some((pattern) => {
    const expression = pattern.replaceAll(/[.+^$()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '[^/]*');
    return new RegExp(`^${expression}(/|$)`).test(path);
  });
}

export function linesOf(path: URL): readonly string[] {
  return readFileSync(path, 'utf8').split('\n');
}

/** Bytes of `512m`, `2g`. */
export function bytesOf(text: string): number {
  const [, amount, unit = ''] = /^(\d+)([mg])$/.exec(text) ?? [];
  return Number(amount) * (unit === 'g' ? 2 ** 30 : 2 ** 20);
}

/** Seconds of `20s`, `1m`. */
export function secondsOf(text: string): number {
  const [, amount, unit = ''] = /^(\d+)([sm])$/.exec(text) ?? [];
  return Number(amount) * (unit === 'm' ? 60 : 1);
}
