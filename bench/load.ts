/**
 * The other side of the service, in one process of its own for `run.ts`: asks for notifications, and is the providers that
 * receive them. So one clock sees both ends. Takes orders by IPC.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { openClient, type Client } from './load-http.ts';
import type { LoadOrder, LoadReport, LoadResult, Percentiles } from './load-orders.ts';
import { openMailStub, openPushStub } from './load-stub.ts';

/** Most notifications of one run. */
const CAPACITY = 2_000_000;
/** For what was accepted to arrive, after the last request. */
const DRAIN_MS = 120_000;
/** For copies that nobody asked for. */
const AFTERMATH_MS = 300;

/** Times by the index of the notification; 0: not yet. */
interface Run {
  readonly id: number;
  readonly requestedAt: Float64Array;
  readonly answeredAt: Float64Array;
  readonly receivedAt: Float64Array;
  asked: number;
  accepted: number;
  received: number;
  copies: number;
  readonly refused: Map<string, number>;
  /** Lanes that wait until there is room for more. */
  readonly waiting: (() => void)[];
}

let run = openRun(0);

function openRun(id: number): Run {
  const times = (): Float64Array => new Float64Array(CAPACITY);
  const counts = { asked: 0, accepted: 0, received: 0, copies: 0, refused: new Map<string, number>() };
  return { id, requestedAt: times(), answeredAt: times(), receivedAt: times(), ...counts, waiting: [] };
}

/** The words of each message name the run and the index: ~3.4711~ */
function take(text: string): void {
  const from = text.indexOf('~') + 1;
  const middle = text.indexOf('.', from);
  const index = Number(text.slice(middle + 1, text.indexOf('~', middle)));
  if (from === 0 || Number(text.slice(from, middle)) !== run.id) return;
  if (run.receivedAt[index] !== 0) {
    run.copies += 1;
    return;
  }
  run.receivedAt[index] = performance.now();
  run.received += 1;
  run.waiting.shift()?.();
}

/** The documents of a client that wants to know what became of each item, and no more. */
const ONE =
  'mutation($input: RequestNotificationInput!) { requestNotification(input: $input) { notification { id } } }';
const MANY =
  'mutation($inputs: [RequestNotificationInput!]!) { requestNotifications(inputs: $inputs) { notification { id } error { code } } }';

function itemOf(order: LoadOrder, index: number): string {
  const name = `${String(run.id)}.${String(index)}`;
  const content = `{"title":"Order ~${name}~","body":"Your order is on its way. It left our warehouse a minute ago."}`;
  return `{"userId":"user-${String(index % order.users)}","idempotencyKey":"bench-${name}","channels":["${order.channel}"],"content":${content}}`;
}

function bodyOf(order: LoadOrder, from: number): string {
  if (order.language === 'noop') return '{"query":"mutation { __typename }"}';
  const items = Array.from({ length: order.items }, (_, at) => itemOf(order, from + at)).join(',');
  if (order.language === 'json') return `[${items}]`;
  if (order.items === 1) return `{"query":"${ONE}","variables":{"input":${items}}}`;
  return `{"query":"${MANY}","variables":{"inputs":[${items}]}}`;
}

async function ask(order: LoadOrder, client: Client): Promise<void> {
  const from = run.asked;
  run.asked += order.items;
  const body = bodyOf(order, from);
  const at = performance.now();
  run.requestedAt.fill(at, from, from + order.items);
  const answer = await client.post(body);
  if (answer.includes('"errors":')) throw new Error(`refused: ${answer.slice(0, 500)}`);
  const refused = [...answer.matchAll(/"error":\{"code":"(\w+)"/g)];
  for (const [, code = ''] of refused) run.refused.set(code, (run.refused.get(code) ?? 0) + 1);
  run.answeredAt.fill(performance.now(), from, from + order.items);
  run.accepted += order.items - refused.length;
  if (order.language !== 'noop') return;
  // Nothing is going to arrive.
  run.receivedAt[from] = performance.now();
  run.received += 1;
}

function refusedOf({ refused }: Run): number {
  return [...refused.values()].reduce((sum, count) => sum + count, 0);
}

/** As fast as it goes, with so many on the way at most. */
async function askClosed(order: LoadOrder, client: Client, until: () => boolean): Promise<void> {
  const lane = async (): Promise<void> => {
    while (!until()) {
      if (run.asked - refusedOf(run) - run.received + order.items <= order.onTheWay) await ask(order, client);
      else await new Promise<void>((resolve) => run.waiting.push(resolve));
    }
  };
  await Promise.all(Array.from({ length: order.connections }, lane));
}

/** At a steady rate, whatever becomes of it. */
async function askOpen(order: LoadOrder, client: Client, until: () => boolean): Promise<void> {
  const asked: Promise<void>[] = [];
  const start = performance.now();
  while (!until()) {
    asked.push(ask(order, client));
    await delay(Math.max(0, start + (asked.length * 1_000) / (order.perSecond ?? 1) - performance.now()));
  }
  await Promise.all(asked);
}

async function perform(order: LoadOrder): Promise<LoadResult> {
  run = openRun(run.id + 1);
  const client = openClient(order.url, order.headers);
  let isOver = false;
  const asking = (order.perSecond === null ? askClosed : askOpen)(order, client, () => isOver);
  const failed = asking.then(() => new Promise<never>(() => undefined));
  await Promise.race([delay(order.warmUpMs), failed]);
  const from = mark('begin');
  await Promise.race([delay(order.windowMs), failed]);
  const to = mark('end');
  isOver = true;
  for (const go of run.waiting.splice(0)) go();
  await asking;
  await drained();
  client.close();
  return resultOf(from, to);
}

interface Mark {
  readonly at: number;
  readonly accepted: number;
  readonly received: number;
}

function mark(report: 'begin' | 'end'): Mark {
  tell({ kind: report });
  return { at: performance.now(), accepted: run.accepted, received: run.received };
}

async function drained(): Promise<void> {
  const deadline = performance.now() + DRAIN_MS;
  while (run.received < run.accepted && performance.now() < deadline) await delay(10);
  await delay(AFTERMATH_MS);
}

function resultOf(from: Mark, to: Mark): LoadResult {
  const seconds = (to.at - from.at) / 1_000;
  const { requestedAt, answeredAt, receivedAt, asked } = run;
  const inWindow = Array.from({ length: asked }, (_, index) => index).filter((index) => {
    const at = requestedAt[index] ?? 0;
    return at >= from.at && at < to.at && receivedAt[index] !== 0;
  });
  const between = (starts: Float64Array, ends: Float64Array): Percentiles =>
    percentilesOf(inWindow.map((index) => (ends[index] ?? 0) - (starts[index] ?? 0)));
  return {
    seconds,
    inWindow: to.received - from.received,
    acceptedPerSecond: (to.accepted - from.accepted) / seconds,
    sentPerSecond: (to.received - from.received) / seconds,
    accepted: run.accepted,
    lost: run.accepted - run.received,
    copies: run.copies,
    refused: Object.fromEntries(run.refused),
    latency: between(requestedAt, receivedAt),
    sinceAnswer: between(answeredAt, receivedAt),
    answer: between(requestedAt, answeredAt),
  };
}

function percentilesOf(values: number[]): Percentiles {
  values.sort((a, b) => a - b);
  const at = (share: number): number =>
    values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), most: at(1) };
}

function tell(report: LoadReport): void {
  process.send?.(report);
}

const push = await openPushStub(take);
const mail = await openMailStub(take);
process.on('message', (order: LoadOrder) => {
  perform(order).then(
    (result) => tell({ kind: 'result', result }),
    (error: unknown) => tell({ kind: 'failed', why: String(error) }),
  );
});
process.once('disconnect', () => process.exit());
tell({ kind: 'open', pushPort: push.value, mailPort: mail.value });
