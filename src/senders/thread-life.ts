import { Worker } from 'node:worker_threads';
import type { Channel } from '../events/event.ts';
import { withinMs } from '../within.ts';
import type { Message, Sender } from './outcome.ts';
import type { TwilioSenderOptions } from './sms-twilio.ts';
import { openDesk } from './thread-desk.ts';
import type { Report, SenderPlan } from './thread-orders.ts';
import { THREAD_SCRIPT } from './thread-script.ts';

export interface ThreadOptions {
  readonly plan: SenderPlan;
  /** Where Twilio is to send receipts of an attempt; asked when a message for Twilio is handed over. Default: nowhere. */
  readonly statusCallback?: TwilioSenderOptions['statusCallback'];
  /** Told of every failed attempt, for logs; a failure holds nothing personal. */
  readonly onFailure?: (failure: object, message: Message) => void;
  /** The thread's main module; default: ours. */
  readonly script?: string;
  readonly times?: Partial<ThreadTimes>;
}

/** Milliseconds. */
export interface ThreadTimes {
  /** Until the thread has loaded its libraries. Default 60,000. */
  readonly start: number;
  /** For the thread's answer after an abort: below the 500 that the worker waits. Default 400. */
  readonly settle: number;
  /** Between two looks whether a thread that has messages still answers; after five without an answer it is ended. Default 2,000. */
  readonly ping: number;
  /** For messages in flight at a stop; then they are aborted. Default 8,000. */
  readonly drain: number;
  /** For closing when nothing is in flight. Default 1,000. */
  readonly close: number;
  /** Before an ended thread is started again; doubled up to 30 times as much while it does not last. Default 1,000. */
  readonly pause: number;
}

const TIMES: ThreadTimes = {
  start: 60_000,
  settle: 400,
  ping: 2_000,
  drain: 8_000,
  close: 1_000,
  pause: 1_000,
};
const MOST_PINGS = 5;

export function timesOf({ times }: ThreadOptions): ThreadTimes {
  return { ...TIMES, ...times };
}

/** A thread from its start to its end. */
export interface Life {
  readonly provider: string;
  readonly channel: Channel;
  readonly send: Sender['send'];
  /** Resolves when it has ended and every message is answered. */
  readonly ended: Promise<End>;
  /** Ends it, in good order if it can be had in time. */
  readonly stop: () => Promise<void>;
}

/** Why a thread ended; nothing of what an error said, since that may be personal. */
export interface End {
  readonly exitCode: number;
  /** Name and code of the error that ended it, and where it was thrown; null: there was none. */
  readonly error: { readonly name: string; readonly code: unknown; readonly at: readonly string[] } | null;
  readonly reason: string | null;
}

/**
 * @param unwanted Aborts a start.
 * @throws what the sender refuses its options with, or what else the thread does not start of. Nothing runs then.
 */
export async function startLife(options: ThreadOptions, unwanted: AbortSignal): Promise<Life> {
  const times = timesOf(options);
  // Made for secrets: neither arguments nor the environment, which other processes may read.
  const worker = new Worker(options.script ?? THREAD_SCRIPT, { workerData: options.plan });
  const end = endOf(worker);
  try {
    const ready = await firstReport(worker, end, { unwanted, limitMs: times.start });
    return open(worker, end, options, ready);
  } catch (error) {
    await worker.terminate();
    throw error;
  }
}

type Ready = Extract<Report, { kind: 'ready' }>;

interface Patience {
  readonly unwanted: AbortSignal;
  readonly limitMs: number;
}

async function firstReport(worker: Worker, end: Promise<End>, { unwanted, limitMs }: Patience): Promise<Ready> {
  const reported = new Promise<Report>((resolve) => {
    worker.once('message', ([report]: readonly [Report]) => {
      resolve(report);
    });
  });
  const report = await withinMs(limitMs, Promise.race([reported, end]), unwanted);
  if (report === null) throw new Error('the thread of a sender did not start in time');
  if (!('kind' in report)) throw new Error(`the thread of a sender does not start: ${JSON.stringify(report)}`);
  if (report.kind === 'ready') return report;
  throw report.kind === 'refused' && report.error instanceof Error
    ? report.error
    : new Error('a sender does not start');
}

function endOf(worker: Worker): Promise<End> {
  let error: End['error'] = null;
  // Without a listener it would end this process.
  worker.on('error', (thrown: unknown) => {
    error = describe(thrown);
  });
  return new Promise((resolve) => {
    worker.once('exit', (exitCode) => {
      resolve({ exitCode, error, reason: null });
    });
  });
}

function describe(thrown: unknown): End['error'] {
  if (!(thrown instanceof Error)) return { name: typeof thrown, code: null, at: [] };
  const at = (thrown.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line));
  return { name: thrown.name, code: Reflect.get(thrown, 'code'), at: at.slice(0, 10).map((line) => line.trim()) };
}

function open(worker: Worker, exited: Promise<End>, options: ThreadOptions, { provider, channel }: Ready): Life {
  const times = timesOf(options);
  const desk = openDesk({
    post: (orders) => {
      worker.postMessage(orders);
    },
    settleMs: times.settle,
    statusCallback: statusCallbackOf(options),
    onFailure: options.onFailure ?? (() => undefined),
  });
  let unanswered = 0;
  let reason: string | null = null;
  const stopped = new Promise<void>((resolve) => {
    worker.on('message', (reports: readonly Report[]) => {
      unanswered = 0;
      for (const report of reports) {
        if (report.kind === 'stopped') resolve();
        else desk.take(report);
      }
    });
  });
  const watch = setInterval(() => {
    if (desk.isEmpty()) unanswered = 0;
    else if (unanswered < MOST_PINGS) desk.order({ kind: 'ping' });
    else end('it did not answer any more');
    unanswered += 1;
  }, times.ping);
  const end = (why: string): void => {
    reason ??= why;
    void worker.terminate();
  };
  const ended = exited.then((how) => {
    clearInterval(watch);
    desk.close();
    return { ...how, reason };
  });
  const stop = async (): Promise<void> => {
    desk.order({ kind: 'stop' });
    const isQuick = desk.isEmpty();
    const over = Promise.race([stopped, ended]).then(() => true);
    const inTime = await withinMs(isQuick ? times.close : times.drain, over);
    if (inTime === null && !isQuick) {
      desk.abortAll();
      await withinMs(times.settle, over);
    }
    end('stopped');
    await ended;
  };
  return { provider, channel, send: desk.send, ended, stop };
}

/** Only Twilio is told of it, and to make one is more work than to post its message. */
function statusCallbackOf({ plan, statusCallback }: ThreadOptions): TwilioSenderOptions['statusCallback'] {
  return plan.kind === 'twilio' && statusCallback !== undefined ? statusCallback : () => null;
}
