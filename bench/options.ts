import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Settings, Shape } from './cases.ts';

export const CASE_NAMES = [
  'limits',
  'peer',
  'embedded-push',
  'embedded-email',
  'rabbit-push',
  'rabbit-email',
  'esdb-push',
  'esdb-email',
] as const;
export type CaseName = (typeof CASE_NAMES)[number];

const SHAPES: readonly Shape[] = ['bulk', 'single', 'unloaded', 'noop'];

export interface Options extends Settings {
  readonly cases: readonly CaseName[];
}

const DEFAULTS = {
  seconds: '10',
  'warm-up': '4',
  users: '500',
  items: '100',
  'bulk-calls': '8',
  'single-calls': '64',
  'on-the-way': '2000',
  rate: '20',
  'peer-concurrency': '192',
  'peer-processes': '1',
} as const;

const HELP = `npm run bench -- [options]
  --quick              windows of 3 s after 2 s
  --only=a,b           cases: ${CASE_NAMES.join(', ')}; the beginning of a name stands for all of them
  --shape=x            of each service only ${SHAPES.join(', ')}
  --seconds=${DEFAULTS.seconds}         length of a window
  --warm-up=${DEFAULTS['warm-up']}          seconds before each window
  --users=${DEFAULTS.users}          that notifications go to
  --items=${DEFAULTS.items}          notifications of a bulk request
  --bulk-calls=${DEFAULTS['bulk-calls']}       bulk requests at once
  --single-calls=${DEFAULTS['single-calls']}    single requests at once
  --on-the-way=${DEFAULTS['on-the-way']}    notifications asked for and not received yet, at most
  --rate=${DEFAULTS.rate}            single requests a second, unloaded
  --peer-concurrency=${DEFAULTS['peer-concurrency']}
  --peer-processes=${DEFAULTS['peer-processes']}   1, or 2: intake and worker
  --set=NAME=value     a setting of the service; may be repeated
  --profile=folder     CPU profiles of the service go there (see profile.mjs)
The folder of all data is made in TMPDIR: that is the disk that is measured.`;

/** Ends the process when there is nothing to run. */
export function readOptions(args: readonly string[]): Options {
  try {
    return parse(args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    console.error(HELP);
    process.exit(1);
  }
}

function parse(args: readonly string[]): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      only: text,
      shape: text,
      profile: text,
      set: { type: 'string', multiple: true, default: [] },
      seconds: text,
      'warm-up': text,
      users: text,
      items: text,
      'bulk-calls': text,
      'single-calls': text,
      'on-the-way': text,
      rate: text,
      'peer-concurrency': text,
      'peer-processes': text,
    },
  });
  if (values.help) {
    console.log(HELP);
    process.exit(0);
  }
  const quick = values.quick ? { seconds: '3', 'warm-up': '2' } : {};
  const number = (name: keyof typeof DEFAULTS): number => {
    const value = Number(values[name] ?? { ...DEFAULTS, ...quick }[name]);
    if (!(value > 0)) throw new Error(`--${name} takes a number above 0`);
    return value;
  };
  const settings = values.set.map((each) => /^([A-Z_]+)=(.*)$/.exec(each) ?? [each, '', '']);
  const misset = settings.find(([, name]) => name === '');
  if (misset !== undefined) throw new Error(`--set takes NAME=value, not ${String(misset[0])}`);
  return {
    cases: casesOf(values.only),
    only: shapeOf(values.shape),
    windowMs: number('seconds') * 1_000,
    warmUpMs: number('warm-up') * 1_000,
    users: number('users'),
    bulkItems: number('items'),
    bulkConnections: number('bulk-calls'),
    singleConnections: number('single-calls'),
    onTheWay: number('on-the-way'),
    unloadedPerSecond: number('rate'),
    peerConcurrency: number('peer-concurrency'),
    peerProcesses: number('peer-processes'),
    profile: values.profile === undefined ? null : resolve(values.profile),
    serviceSettings: Object.fromEntries(settings.map(([, name = '', value = '']) => [name, value])),
  };
}

function casesOf(only: string | undefined): readonly CaseName[] {
  if (only === undefined) return CASE_NAMES;
  return only.split(',').flatMap((asked) => {
    const found = CASE_NAMES.filter((name) => name.startsWith(asked));
    if (found.length === 0) throw new Error(`there is no case ${asked}`);
    return found;
  });
}

function shapeOf(asked: string | undefined): Shape | null {
  if (asked === undefined) return null;
  const found = SHAPES.find((shape) => shape === asked);
  if (found === undefined) throw new Error(`there is no such shape: ${asked}`);
  return found;
}
