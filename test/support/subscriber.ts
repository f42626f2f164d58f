import { WebSocket } from 'ws';
import { AUTHORIZATION } from './service.ts';

/** One subscription on a socket of its own (graphql-transport-ws). */
export interface Subscriber<T> {
  /** The next value. @throws when the operation failed or the socket closed instead; the close code is in the message. */
  readonly next: () => Promise<T>;
  /** Ends the connection without a word, whatever is still under way. */
  readonly cut: () => void;
}

interface Message {
  readonly type: string;
  readonly payload?: { readonly data?: unknown };
}

/** Resolves once the subscription was sent; any other operation is answered with its one value. */
export async function subscribe<T>(
  url: string,
  query: string,
  variables: object,
  extensions: object = {},
): Promise<Subscriber<T>> {
  const ws = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  const arrived: Message[] = [];
  let wake = (): void => undefined;
  const tell = (message: Message): void => {
    arrived.push(message);
    wake();
  };
  const send = (message: object): void => {
    ws.send(JSON.stringify(message));
  };
  ws.on('message', (data: Buffer) => {
    tell(JSON.parse(data.toString()) as Message);
  });
  ws.on('close', (code, reason) => {
    tell({ type: `closed with ${String(code)} ${reason.toString()}` });
  });
  ws.on('error', (error) => {
    tell({ type: `broken: ${error.message}` });
  });
  const take = async (type: string): Promise<Message> => {
    while (arrived[0] === undefined) await new Promise<void>((resolve) => (wake = resolve));
    const [message] = arrived.splice(0, 1);
    if (message?.type === type) return message;
    throw new Error(`${JSON.stringify(message)} instead of ${type}`);
  };
  await new Promise<void>((resolve) => ws.once('open', resolve).once('error', resolve));
  send({ type: 'connection_init', payload: { authorization: AUTHORIZATION } });
  await take('connection_ack');
  send({ type: 'subscribe', id: '1', payload: { query, variables, extensions } });
  return {
    next: async () => (await take('next')).payload?.data as T,
    cut: () => {
      ws.terminate();
    },
  };
}
