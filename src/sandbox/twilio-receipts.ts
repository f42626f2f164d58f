import { createHmac, randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { Agent, request } from 'node:http';
import type { Started } from '../lifecycle.ts';
import type { State } from '../ports/state/state.ts';

/** One receipt, due so long after the one before it was settled. */
export interface ReceiptStep {
  readonly status: 'sent' | 'delivered' | 'undelivered' | 'failed';
  readonly errorCode: number | null;
  readonly afterMs: number;
}

/** All receipts of one message. */
export interface ReceiptOrder {
  /** Where they go; a fragment is neither signed nor sent. */
  readonly url: string;
  /** What each of them says besides the status. */
  readonly fields: Readonly<Record<string, string>>;
  readonly steps: readonly ReceiptStep[];
}

export interface SandboxReceipts {
  /** Resolves once they are kept; they are then posted one after the other. `first` settles after the first try at the first. */
  readonly keep: (order: ReceiptOrder) => Promise<{ readonly first: Promise<void> }>;
}

export interface SandboxReceiptOptions {
  readonly state: State;
  readonly authToken: string;
  /** As for the sandbox; undefined: to the URL itself, on loopback. */
  readonly reach: ((url: string) => string | null) | undefined;
  readonly now: () => Date;
}

/** Messages with receipts to come; the oldest make way for more. */
const CAPACITY = 10_000;
const POSTS_AT_ONCE = 16;
const ANSWER_MS = 10_000;
const SHORTEST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
const GIVE_UP_MS = 24 * 60 * 60 * 1_000;
const PAGE = 1_000;
/** Shorter than servers keep an idle connection. */
const IDLE_MS = 4_000;

interface Kept {
  readonly order: ReceiptOrder;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

interface Chain extends Kept {
  readonly number: number;
  step: number;
  /** At this step. */
  tries: number;
  timer: NodeJS.Timeout | undefined;
  readonly tried: () => void;
}

interface Running {
  readonly options: SandboxReceiptOptions;
  /** In the order kept. */
  readonly chains: Map<number, Chain>;
  readonly due: Chain[];
  readonly posting: Set<Promise<void>>;
  readonly post: (order: ReceiptOrder, step: number) => Promise<boolean>;
  readonly stopping: AbortSignal;
}

/**
 * Posts receipts as Twilio does, signed and in its form, but tries far longer: for a day, also after a restart, with
 * pauses from 100 ms to 30 s, until the receiver answers with success or refuses for good (403, 404).
 */
export function openSandboxReceipts(options: SandboxReceiptOptions): Started<SandboxReceipts> {
  const { state, now } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: POSTS_AT_ONCE, timeout: IDLE_MS });
  const stopping = new AbortController();
  setMaxListeners(POSTS_AT_ONCE + 1, stopping.signal);
  const post = poster(options, agent, stopping.signal);
  const running: Running = {
    options,
    chains: new Map(),
    due: [],
    posting: new Set(),
    post,
    stopping: stopping.signal,
  };
  const { chains, due, posting } = running;
  const before = [...readAll(state)];
  for (const { number, kept } of before) void follow(running, number, kept);
  let next = (before.at(-1)?.number ?? 0) + 1;
  const keep: SandboxReceipts['keep'] = async (order) => {
    const number = next++;
    const kept: Kept = { order, since: now().getTime() };
    await state.commit([{ put: ['receipt', number], value: kept }]);
    const first = follow(running, number, kept);
    const [oldest] = chains.values();
    if (chains.size > CAPACITY && oldest !== undefined) await drop(running, oldest);
    return { first };
  };
  const stop = async (): Promise<void> => {
    stopping.abort();
    due.length = 0;
    for (const { timer } of chains.values()) clearTimeout(timer);
    await Promise.all(posting);
    for (const { tried } of chains.values()) tried();
    agent.destroy();
  };
  return { value: { keep }, stop };
}

/** Settles after the first try. */
function follow(running: Running, number: number, kept: Kept): Promise<void> {
  return new Promise((tried) => {
    const chain: Chain = { ...kept, number, step: 0, tries: 0, timer: undefined, tried };
    running.chains.set(number, chain);
    wait(running, chain, kept.order.steps[0]?.afterMs ?? 0);
  });
}

function wait(running: Running, chain: Chain, ms: number): void {
  if (running.stopping.aborted) return;
  chain.timer = setTimeout(() => {
    running.due.push(chain);
    work(running);
  }, ms);
}

function work(running: Running): void {
  const { due, posting } = running;
  while (posting.size < POSTS_AT_ONCE) {
    const chain = due.shift();
    if (chain === undefined) return;
    const posted = advance(running, chain).finally(() => {
      posting.delete(posted);
      work(running);
    });
    posting.add(posted);
  }
}

async function advance(running: Running, chain: Chain): Promise<void> {
  const { chains, post, stopping, options } = running;
  const settled = await post(chain.order, chain.step);
  chain.tried();
  if (stopping.aborted || !chains.has(chain.number)) return;
  if (!settled && options.now().getTime() - chain.since < GIVE_UP_MS) {
    wait(running, chain, Math.min(LONGEST_PAUSE_MS, SHORTEST_PAUSE_MS * 2 ** chain.tries++));
    return;
  }
  chain.step++;
  chain.tries = 0;
  const next = chain.order.steps[chain.step];
  if (next === undefined) await drop(running, chain);
  else wait(running, chain, next.afterMs);
}

/** What is not forgotten because the disk is full comes once more after a restart, as it may. */
async function drop({ chains, options }: Running, { number, timer, tried }: Chain): Promise<void> {
  clearTimeout(timer);
  chains.delete(number);
  tried();
  await options.state.commit([{ del: ['receipt', number] }]).catch(() => undefined);
}

function* readAll(state: State): Iterable<{ readonly number: number; readonly kept: Kept }> {
  let from = 0;
  for (;;) {
    const page = state.list(['receipt'], { from: ['receipt', from], limit: PAGE });
    for (const [key, value] of page) {
      const number = Number(key[1]);
      yield { number, kept: value as Kept };
      from = number + 1;
    }
    if (page.length < PAGE) return;
  }
}

/** Answers whether the receipt is settled, one way or the other; never rejects. */
function poster(
  { authToken, reach }: SandboxReceiptOptions,
  agent: Agent,
  signal: AbortSignal,
): (order: ReceiptOrder, step: number) => Promise<boolean> {
  return async ({ url: callback, fields, steps }, at) => {
    const step = steps[at];
    if (step === undefined) return true;
    const url = callback.replace(/#.*$/s, '');
    const address = reach === undefined ? url : reach(url);
    if (address === null) return false;
    if (!isPlainHttp(address) || (reach === undefined && !isLoopback(address))) return true;
    const form = formOf(fields, step);
    const headers = {
      'Content-Type': 'application/x-www-form-urlencoded; charset=UTF-8',
      'User-Agent': 'TwilioProxy/1.1',
      'X-Twilio-Signature': signatureOf(authToken, url, form),
      'I-Twilio-Idempotency-Token': randomUUID(),
    };
    const status = await send(address, { agent, signal, headers, body: new URLSearchParams(form).toString() });
    return status !== null && ((status >= 200 && status < 300) || status === 403 || status === 404);
  };
}

function isPlainHttp(address: string): boolean {
  return URL.canParse(address) && new URL(address).protocol === 'http:';
}

function isLoopback(address: string): boolean {
  return /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(new URL(address).hostname);
}

/** https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks */
function formOf(fields: ReceiptOrder['fields'], { status, errorCode }: ReceiptStep): Record<string, string> {
  return {
    ...(errorCode !== null && { ErrorCode: String(errorCode) }),
    SmsStatus: status,
    MessageStatus: status,
    ...fields,
  };
}

/** https://www.twilio.com/docs/usage/webhooks/webhooks-security */
function signatureOf(authToken: string, url: string, form: Readonly<Record<string, string>>): string {
  const names = Object.keys(form).sort();
  const signed = names.reduce((text, name) => text + name + (form[name] ?? ''), url);
  return createHmac('sha1', authToken).update(signed).digest('base64');
}

interface Post {
  readonly agent: Agent;
  readonly signal: AbortSignal;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The status of the answer; null when there is none. */
function send(address: string, { agent, signal, headers, body }: Post): Promise<number | null> {
  return new Promise((resolve) => {
    const sending = request(address, { method: 'POST', agent, signal, timeout: ANSWER_MS, headers }, (response) => {
      response.on('error', () => undefined).on('end', () => resolve(response.statusCode ?? null));
      response.resume();
    });
    sending.on('timeout', () => sending.destroy());
    sending.on('error', () => undefined);
    sending.on('close', () => resolve(null));
    sending.end(body);
  });
}
