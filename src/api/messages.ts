import type { Server, SubscribePayload } from 'graphql-ws';
import { MessageType, stringifyMessage } from 'graphql-ws';
import { DomainError } from '../errors.ts';

/** In characters. */
const MAX_SUBSCRIPTION = 32 * 1024;

/** What clients say, read once for all. */
export interface Messages {
  /** `onCompleted` hears of an operation before `server` does. */
  readonly readFor: <E>(server: Server<E>, onCompleted: (extra: E, id: string) => void) => Server<E>;
  /** For that server, as its reviver of JSON. */
  readonly revive: () => unknown;
  /**
   * The message that asks for a subscription is kept for as long as that lasts, so it must be short.
   * @throws DomainError PAYLOAD_TOO_LARGE
   */
  readonly checkSubscription: (payload: SubscribePayload) => void;
}

/**
 * graphql-ws keeps the text of a message for as long as the operation lasts, besides what it says. So it gets this text
 * instead, and learns from its reviver what the message says.
 */
const STAND_IN = '0';
const PONG = stringifyMessage({ type: MessageType.Pong });

export function openMessages(): Messages {
  const sizes = new WeakMap<object, number>();
  let read: unknown;
  return {
    readFor: (server, onCompleted) => ({
      opened: (socket, extra) => {
        const onMessage = (handle: (data: string) => Promise<void>): void => {
          socket.onMessage((text) => {
            if (!isJson(text)) return handle(text);
            const completed = completedBy(read);
            if (completed !== null) onCompleted(extra, completed);
            return handle(STAND_IN);
          });
        };
        // Without what the ping holds: its sender may not read, and it may nest too deep to be written.
        const onPing = (): Promise<void> | void => socket.send(PONG);
        return server.opened({ ...socket, onMessage, onPing }, extra);
      },
    }),
    revive: () => {
      const message = read;
      read = undefined;
      return message;
    },
    checkSubscription: (payload) => {
      if ((sizes.get(payload) ?? 0) > MAX_SUBSCRIPTION) throw tooLarge();
    },
  };

  function isJson(text: string): boolean {
    try {
      read = JSON.parse(text);
    } catch {
      return false;
    }
    if (isRecord(read) && isRecord(read.payload)) sizes.set(read.payload, text.length);
    return true;
  }
}

function tooLarge(): DomainError {
  const limit = MAX_SUBSCRIPTION.toLocaleString('en');
  return new DomainError('PAYLOAD_TOO_LARGE', `the message of a subscription has more than ${limit} characters`);
}

interface Fields {
  readonly type?: unknown;
  readonly id?: unknown;
  readonly payload?: unknown;
}

/** The id of the operation that it completes. */
function completedBy(message: unknown): string | null {
  if (!isRecord(message) || message.type !== MessageType.Complete) return null;
  return typeof message.id === 'string' ? message.id : null;
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}
