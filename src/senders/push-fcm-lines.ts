import { randomUUID } from 'node:crypto';
import { type App, type Credential, deleteApp, initializeApp } from 'firebase-admin/app';
import { getMessaging, type Messaging, type TokenMessage } from 'firebase-admin/messaging';
import type { Limit } from './limit.ts';
import type { Exchange, FcmHttp, Way } from './push-fcm-http.ts';

export interface Lines {
  readonly send: (composed: TokenMessage, limit: Limit) => Promise<Exchange>;
  readonly close: () => Promise<void>;
}

export interface LinesOptions {
  readonly http: FcmHttp;
  /** Sends at once; no more idle lines than that are kept. */
  readonly connections: number;
  readonly projectId: string;
  readonly credential: Credential;
}

interface Line {
  readonly app: App;
  readonly messaging: Messaging;
  readonly way: Way;
}

/**
 * An app of the SDK for each send that is under way, so that its agent knows whose request it sees. A line is one send's
 * from its being taken to its being given back or closed, and of these two only the first happens.
 */
export function openLines({ http, connections, projectId, credential }: LinesOptions): Lines {
  const lines = new Set<Line>();
  const idle: Line[] = [];
  const open = (): Line => {
    const way = http.openWay();
    const app = initializeApp({ projectId, credential, httpAgent: way.agent }, `heliograph-${randomUUID()}`);
    const line: Line = { app, messaging: getMessaging(app), way };
    lines.add(line);
    return line;
  };
  const close = async (line: Line): Promise<void> => {
    lines.delete(line);
    // Without its agent's connections, which are not its own, an app holds nothing.
    await deleteApp(line.app).catch(() => undefined);
  };
  const giveBack = (line: Line): void => {
    if (!lines.has(line)) return;
    if (idle.length < connections) idle.push(line);
    else void close(line);
  };
  const send: Lines['send'] = async (composed, limit) => {
    const line = idle.pop() ?? open();
    let isOurs = true;
    const leaveTo = (next: (line: Line) => unknown): void => {
      if (!isOurs) return;
      isOurs = false;
      void next(line);
    };
    const call = (): Promise<unknown> => line.messaging.send(composed);
    const exchange = await line.way.exchange(call, limit, () => leaveTo(giveBack));
    // Without an answer the SDK may never be done with it. Where it was, the line may be another send's by now.
    if (exchange.answer === null) leaveTo(close);
    return exchange;
  };
  return {
    send,
    close: async () => {
      await Promise.all(Array.from(lines, close));
    },
  };
}
