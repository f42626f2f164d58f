import { execFileSync } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { PEER, type Measured } from './cases.ts';
import type { Options } from './options.ts';

/** Notifications a second: the everyday peak, and sixteen million in one hour. */
const GOALS = [1_850, 4_444] as const;
/** Milliseconds, unloaded. */
const GOAL_P99 = 100;

export interface Findings {
  readonly measured: readonly Measured[];
  /** What the parts of the machine do at most, a second. */
  readonly limits: ReadonlyMap<string, number>;
  readonly skipped: readonly string[];
}

export function report({ measured, limits, skipped }: Findings, facts: string): string {
  const loaded = measured.filter(({ shape }) => shape === 'bulk' || shape === 'single');
  const peers = new Map(loaded.filter(({ who }) => who === PEER).map((each) => [each.shape, each.sentPerSecond]));
  const sections = [
    facts,
    ...skipped.map((why) => `SKIPPED: ${why}`),
    table(
      [
        '',
        'sent a second',
        `of ${whole(GOALS[0])}`,
        `of ${whole(GOALS[1])}`,
        'of the peer',
        ...WAYS,
        'lost',
        'copies',
        'refused',
      ],
      loaded.map((each) => [
        titleOf(each),
        whole(each.sentPerSecond),
        ...GOALS.map((goal) => ratio(each.sentPerSecond, goal)),
        each.channel === 'PUSH' && each.who !== PEER ? ratio(each.sentPerSecond, peers.get(each.shape)) : '',
        ...waysOf(each),
        whole(each.lost),
        whole(each.copies),
        refusalsOf(each),
      ]),
    ),
    table(
      ['unloaded', ...WAYS, `p99 of ${whole(GOAL_P99)} ms`],
      measured
        .filter(({ shape }) => shape === 'unloaded')
        .map((each) => [titleOf(each), ...waysOf(each), ratio(each.latency.p99, GOAL_P99)]),
    ),
    cpuTable(loaded),
    limitTable(limits, loaded),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

const WAYS = ['request to provider p50, p95, p99 ms', 'answer to provider p99', 'request to answer p50, p99'];

function waysOf({ latency, sinceAnswer, answer }: Measured): readonly string[] {
  const list = (...values: readonly number[]): string => values.map(ms).join(', ');
  return [list(latency.p50, latency.p95, latency.p99), ms(sinceAnswer.p99), list(answer.p50, answer.p99)];
}

function refusalsOf({ refused }: Measured): string {
  const codes = Object.entries(refused).map(([code, count]) => `${whole(count)} ${code}`);
  return codes.length === 0 ? '0' : codes.join(', ');
}

function titleOf({ who, channel, shape }: Measured): string {
  return [who, channel === 'PUSH' ? 'push' : 'e-mail', ...(shape === 'unloaded' ? [] : [shape])].join(', ');
}

function cpuTable(loaded: readonly Measured[]): string {
  const parts = [...new Set(loaded.flatMap(({ cpu }) => [...cpu.keys()]))];
  const cell = (each: Measured, part: string): string => {
    const [cpu, cores, memory] = [each.cpu.get(part), each.cores.get(part), each.memory.get(part)];
    if (cpu === undefined || cores === undefined || memory === undefined) return '';
    return `${cpu.toFixed(3)} (${cores.toFixed(2)}), ${whole(memory)} MiB`;
  };
  return table(
    ['ms of CPU a notification (cores), resident', ...parts, 'all'],
    loaded.map((each) => {
      const all = [...each.cores.values()].reduce((sum, cores) => sum + cores, 0);
      return [titleOf(each), ...parts.map((part) => cell(each, part)), `(${all.toFixed(2)})`];
    }),
  );
}

function limitTable(limits: ReadonlyMap<string, number>, loaded: readonly Measured[]): string {
  const ours = loaded.filter(({ who, shape, channel }) => who !== PEER && shape === 'bulk' && channel === 'PUSH');
  return table(
    ['limit', 'a second', ...ours.map(titleOf)],
    [...limits].map(([name, value]) => [
      name,
      whole(value),
      ...ours.map(({ sentPerSecond }) => ratio(sentPerSecond, value)),
    ]),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function ms(value: number): string {
  return Number.isNaN(value) ? '–' : value.toFixed(Math.abs(value) < 10 ? 1 : 0);
}

function ratio(value: number, of: number | undefined): string {
  return of === undefined ? '' : (value / of).toFixed(2);
}

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlay',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
};

export function factsOf(folder: string, options: Options): string {
  const [first] = cpus();
  const { type } = statfsSync(folder);
  const seconds = (value: number): string => `${String(value / 1_000)} s`;
  const load = readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ');
  return [
    `${new Date().toISOString().slice(0, 16)}Z, commit ${commit()}`,
    `${String(cpus().length)} cores ${first?.model.trim() ?? ''}, ${whole(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}`,
    `data on ${FILE_SYSTEMS[type] ?? `a file system of type ${type.toString(16)}`}; load at the end ${load}`,
    `windows of ${seconds(options.windowMs)} after ${seconds(options.warmUpMs)}; bulk: ${String(options.bulkConnections)} requests of ${String(options.bulkItems)} at once, ` +
      `single: ${String(options.singleConnections)} at once, with ${whole(options.onTheWay)} notifications on the way at most; unloaded: ${String(options.unloadedPerSecond)} a second`,
  ].join('\n');
}

function commit(): string {
  try {
    const git = (...args: readonly string[]): string => execFileSync('git', [...args], { encoding: 'utf8' }).trim();
    const changes = git('status', '--porcelain', '--untracked-files=no', 'src', 'package-lock.json');
    return `${git('rev-parse', '--short', 'HEAD')}${changes === '' ? '' : ' with changes'}`;
  } catch {
    return 'unknown';
  }
}
