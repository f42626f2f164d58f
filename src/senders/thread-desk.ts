import { gather } from '../gather.ts';
import type { Message, Outcome, Sender } from './outcome.ts';
import type { TwilioSenderOptions } from './sms-twilio.ts';
import type { Order, Report, SendOrder } from './thread-orders.ts';

/** Where messages for a thread are handed over and wait for their answers. */
export interface Desk {
  readonly send: Sender['send'];
  /** For the thread itself. */
  readonly order: (order: Order) => void;
  /** What the thread answers. */
  readonly take: (report: Report) => void;
  /** Nobody waits. */
  readonly isEmpty: () => boolean;
  readonly abortAll: () => void;
  /** There is no thread any more: answers all that wait. */
  readonly close: () => void;
}

export interface DeskOptions {
  readonly post: (orders: readonly Order[]) => void;
  /** How long an aborted message waits for the thread's answer; milliseconds. */
  readonly settleMs: number;
  readonly statusCallback: TwilioSenderOptions['statusCallback'];
  readonly onFailure: (failure: object, message: Message) => void;
}

/** Certainly not handed over. */
export const NOT_HANDED_OVER: Extract<Outcome, { readonly kind: 'retry' }> = {
  kind: 'retry',
  reason: 'SENDER_STOPPED',
  afterMs: null,
  raw: null,
};
const LOST: Outcome = { kind: 'unknown', reason: 'NO_ANSWER', raw: 'the thread of the sender ended' };
const SILENT: Outcome = { kind: 'unknown', reason: 'NO_ANSWER', raw: 'the thread of the sender did not answer' };

export function openDesk({ post, settleMs, statusCallback, onFailure }: DeskOptions): Desk {
  // One message between threads costs far more than its content.
  const orders = gather((batch: readonly Order[]) => {
    try {
      post(batch);
    } catch (error) {
      // Something in them cannot be passed on, and none was.
      for (const order of batch) if (order.kind === 'send') waiting.leave(order.id)?.reject(error);
    }
  });
  const waiting = openWaiting();
  let nextId = 1;
  let isClosed = false;

  const abort = ({ order }: Waiting): void => {
    if (orders.withdraw(order)) waiting.leave(order.id)?.resolve(NOT_HANDED_OVER);
    else orders.add({ kind: 'abort', id: order.id });
  };
  const onAbort = (entry: Waiting): void => {
    const { id } = entry.order;
    abort(entry);
    // An answer may lie there unread when it was this thread that was busy: it is read before the immediate.
    const giveUp = (): void => void setImmediate(() => waiting.leave(id)?.resolve(SILENT));
    if (waiting.has(id)) entry.timer = setTimeout(giveUp, settleMs);
  };
  const send: Sender['send'] = async (message, signal) => {
    if (isClosed || signal.aborted) return NOT_HANDED_OVER;
    const { notificationId, deliveryId, attempt } = message;
    const callback = statusCallback({ notificationId, deliveryId, attempt });
    const order: SendOrder = { kind: 'send', id: nextId++, message, statusCallback: callback };
    const answer = waiting.enter(order, signal, onAbort);
    orders.add(order);
    return answer;
  };
  const take = (report: Report): void => {
    if (report.kind === 'threw') waiting.leave(report.id)?.reject(report.error);
    if (report.kind !== 'settled') return;
    const entry = waiting.leave(report.id);
    if (entry === undefined) return;
    for (const failure of report.failures) onFailure(failure, entry.order.message);
    entry.resolve(report.outcome);
  };
  const close = (): void => {
    isClosed = true;
    const kept = new Set(orders.takeAll());
    for (const { order } of waiting.all()) {
      waiting.leave(order.id)?.resolve(kept.has(order) ? NOT_HANDED_OVER : LOST);
    }
  };
  const abortAll = (): void => {
    waiting.all().forEach(abort);
  };
  return { send, order: orders.add, take, isEmpty: () => waiting.isEmpty(), abortAll, close };
}

/** A message that is not answered yet. */
interface Waiting {
  readonly order: SendOrder;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
  /** It is not aborted any more. */
  readonly forget: () => void;
  timer: NodeJS.Timeout | undefined;
}

interface WaitingRoom {
  readonly enter: (order: SendOrder, signal: AbortSignal, onAbort: (entry: Waiting) => void) => Promise<Outcome>;
  /** Undefined: it has left already. */
  readonly leave: (id: number) => Waiting | undefined;
  readonly has: (id: number) => boolean;
  readonly isEmpty: () => boolean;
  readonly all: () => readonly Waiting[];
}

function openWaiting(): WaitingRoom {
  const waiting = new Map<number, Waiting>();
  return {
    enter: (order, signal, onAbort) =>
      new Promise((resolve, reject) => {
        const listen = (): void => {
          onAbort(entry);
        };
        const forget = (): void => {
          signal.removeEventListener('abort', listen);
        };
        const entry: Waiting = { order, resolve, reject, forget, timer: undefined };
        waiting.set(order.id, entry);
        signal.addEventListener('abort', listen, { once: true });
      }),
    leave: (id) => {
      const entry = waiting.get(id);
      if (entry === undefined) return undefined;
      waiting.delete(id);
      clearTimeout(entry.timer);
      entry.forget();
      return entry;
    },
    has: (id) => waiting.has(id),
    isEmpty: () => waiting.size === 0,
    all: () => [...waiting.values()],
  };
}
