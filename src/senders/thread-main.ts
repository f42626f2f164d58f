import { parentPort, workerData } from 'node:worker_threads';
import { gather } from '../gather.ts';
import type { Started } from '../lifecycle.ts';
import type { Message, Sender } from './outcome.ts';
import type { Order, Report, SenderPlan, SendOrder } from './thread-orders.ts';

// The main module of a sender's thread. It loads the provider's library, and only that one.

if (parentPort === null) throw new Error('this runs in a thread only');
await run(parentPort, workerData as SenderPlan);

type Port = NonNullable<typeof parentPort>;

async function run(port: Port, plan: SenderPlan): Promise<void> {
  const reports = gather<Report>((batch) => {
    port.postMessage(batch);
  });
  const underWay = openUnderWay();
  try {
    const { value: sender, stop } = await openSender(plan, underWay);
    const obey = openObedience({ sender, stop, underWay, report: reports.add });
    port.on('message', (orders: readonly Order[]) => {
      orders.forEach(obey);
    });
    reports.add({ kind: 'ready', provider: sender.provider, channel: sender.channel });
  } catch (error) {
    reports.add({ kind: 'refused', error });
  }
}

async function openSender(plan: SenderPlan, { onFailure, statusCallback }: UnderWay): Promise<Started<Sender>> {
  switch (plan.kind) {
    case 'fcm':
      return (await import('./push-fcm.ts')).openFcmSender({ ...plan.options, onFailure });
    case 'smtp':
      return (await import('./email-smtp.ts')).openSmtpSender({ ...plan.options, onFailure });
    case 'twilio':
      return (await import('./sms-twilio.ts')).openTwilioSender({ ...plan.options, onFailure, statusCallback });
  }
}

interface Hands {
  readonly sender: Sender;
  readonly stop: () => Promise<void>;
  readonly underWay: UnderWay;
  readonly report: (report: Report) => void;
}

function openObedience({ sender, stop, underWay, report }: Hands): (order: Order) => void {
  const send = async (order: SendOrder): Promise<Report> => {
    const { id, message } = order;
    const { signal, failures } = underWay.begin(order);
    try {
      return { kind: 'settled', id, outcome: await sender.send(message, signal), failures };
    } catch (error) {
      return { kind: 'threw', id, error: cloneable(error) };
    } finally {
      underWay.end(order);
    }
  };
  return (order) => {
    switch (order.kind) {
      case 'send':
        void send(order).then(report);
        break;
      case 'abort':
        underWay.abort(order.id);
        break;
      case 'ping':
        report({ kind: 'pong' });
        break;
      case 'stop':
        // A failing stop leaves nothing that the end of the thread would not end.
        void stop()
          .catch(() => undefined)
          .then(() => {
            report({ kind: 'stopped' });
          });
    }
  };
}

/** What else an error holds may be secret, and may be of no kind that can be passed on. */
function cloneable(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

interface Attempt {
  readonly notificationId: string;
  readonly deliveryId: string;
  readonly attempt: number;
}

/** The messages that the sender has, and what belongs to them. */
interface UnderWay {
  readonly begin: (order: SendOrder) => { readonly signal: AbortSignal; readonly failures: readonly object[] };
  readonly abort: (id: number) => void;
  readonly end: (order: SendOrder) => void;
  readonly onFailure: (failure: object, message: Message) => void;
  readonly statusCallback: (attempt: Attempt) => string | null;
}

function openUnderWay(): UnderWay {
  const controllers = new Map<number, AbortController>();
  const failures = new Map<Message, object[]>();
  const callbacks = new Map<string, string | null>();
  return {
    begin: ({ id, message, statusCallback }) => {
      const controller = new AbortController();
      const failed: object[] = [];
      controllers.set(id, controller);
      failures.set(message, failed);
      if (statusCallback !== null) callbacks.set(nameOf(message), statusCallback);
      return { signal: controller.signal, failures: failed };
    },
    abort: (id) => controllers.get(id)?.abort(),
    end: ({ id, message }) => {
      controllers.delete(id);
      failures.delete(message);
      callbacks.delete(nameOf(message));
    },
    onFailure: (failure, message) => failures.get(message)?.push(failure),
    statusCallback: (attempt) => callbacks.get(nameOf(attempt)) ?? null,
  };
}

/** One attempt at a delivery is under way once at a time: that is what claims are for. */
function nameOf({ notificationId, deliveryId, attempt }: Attempt): string {
  return `${notificationId} ${deliveryId} ${String(attempt)}`;
}
