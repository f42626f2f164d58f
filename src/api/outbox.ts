import type { WebSocket } from 'ws';
import { never } from './never.ts';

/** Longer messages leave in frames of so many bytes: pings get in between, and whoever reads at all is seen to. */
const FRAME = 256 * 1024;
/** Bytes of messages that may wait on the socket of a client. */
export const MAX_WAITING = 64 * 1024 * 1024;
/** The same, of somebody who has not said who they are. */
export const MAX_STRANGERS_WAITING = 256 * 1024;
/** Bytes that a message takes while it waits, besides its own. */
const OVERHEAD = 1024;

/**
 * What became of what was waiting: nothing was waiting at the last beat; some of it has left since; none of it has, so
 * the client does not read.
 */
export type Beat = 'idle' | 'moving' | 'stuck';

/** What is on its way to one socket, one message after the other. */
export interface Outbox {
  /**
   * Resolves once all of it has left, so that whoever waits for this produces no faster than the client reads. Never on
   * a socket that is closing: what would go on would produce for nobody until the socket is closed.
   */
  readonly send: (data: string) => Promise<void>;
  /**
   * For what may be big, before it is made: resolves when hardly anything is waiting, for one at a time and in the order asked.
   * The turn is over at the end of the round of the event loop, used or not. Never on a socket that is closing.
   */
  readonly turn: () => Promise<void>;
  /** After what is waiting. The first close counts. */
  readonly close: (code: number, reason: string) => void;
  /** In the place of what is waiting. */
  readonly cut: (code: number, reason: string) => void;
  readonly isClosing: () => boolean;
  readonly beat: () => Beat;
}

interface Message {
  /** Text until it begins to leave, for it may wait long. */
  rest: string | Buffer;
  readonly onLeft: () => void;
}

export interface OutboxLimit {
  /** Bytes of messages that may wait, as of now. */
  readonly limit: () => number;
  /** In the place of a message that would make more wait; gets what waits, in bytes. */
  readonly onFull: (bytes: number) => void;
}

interface State extends OutboxLimit {
  readonly ws: WebSocket;
  readonly messages: Message[];
  /** In bytes; what the connection has not taken yet included. */
  waiting: number;
  /** How many frames the connection has taken. */
  left: number;
  /** `left` at the last beat; null: nothing was waiting. */
  leftAtBeat: number | null;
  readonly turns: (() => void)[];
  turnGiven: boolean;
  closing: { readonly code: number; readonly reason: string } | null;
}

export function openOutbox(ws: WebSocket, { limit, onFull }: OutboxLimit): Outbox {
  const nothing = { messages: [], waiting: 0, left: 0, leftAtBeat: null, turns: [], turnGiven: false, closing: null };
  const state: State = { ws, limit, onFull, ...nothing };
  return {
    send: (data) => send(state, data),
    turn: () =>
      new Promise((resolve) => {
        state.turns.push(resolve);
        giveTurn(state);
      }),
    close: (code, reason) => {
      state.closing ??= { code, reason };
      pump(state);
    },
    cut: (code, reason) => {
      state.closing ??= { code, reason };
      state.messages.length = 0;
      pump(state);
    },
    isClosing: () => !isOpen(state),
    beat: () => beat(state),
  };
}

function isOpen({ ws, closing }: State): boolean {
  return closing === null && ws.readyState === ws.OPEN;
}

/** A message that is over the limit by itself may go alone: it is there already. */
function send(state: State, data: string): Promise<void> {
  if (!isOpen(state)) return never();
  const bytes = Buffer.byteLength(data) + OVERHEAD;
  if (state.waiting > 0 && state.waiting + bytes > state.limit()) {
    state.onFull(state.waiting);
    return never();
  }
  state.waiting += bytes;
  return new Promise((resolve) => {
    state.messages.push({ rest: data, onLeft: resolve });
    pump(state);
  });
}

/** Gives the connection about one frame more than it has taken. */
function pump(state: State): void {
  const { ws, messages, closing } = state;
  let [message] = messages;
  while (message && canTake(ws)) {
    writeFrame(state, message);
    [message] = messages;
  }
  if (!message && closing) ws.close(closing.code, closing.reason);
}

function canTake(ws: WebSocket): boolean {
  return ws.readyState === ws.OPEN && ws.bufferedAmount < FRAME;
}

function writeFrame(state: State, message: Message): void {
  const bytes = typeof message.rest === 'string' ? Buffer.from(message.rest) : message.rest;
  const frame = bytes.subarray(0, FRAME);
  message.rest = bytes.subarray(FRAME);
  const fin = message.rest.length === 0;
  if (fin) state.messages.shift();
  state.ws.send(frame, { binary: false, fin }, (error) => {
    // The connection is gone, and its end comes by itself.
    if (error) return;
    state.left++;
    state.waiting -= frame.length + (fin ? OVERHEAD : 0);
    if (fin) message.onLeft();
    pump(state);
    giveTurn(state);
  });
}

function giveTurn(state: State): void {
  if (state.turnGiven || state.waiting >= FRAME || !isOpen(state)) return;
  const next = state.turns.shift();
  if (!next) return;
  state.turnGiven = true;
  setImmediate(() => {
    state.turnGiven = false;
    giveTurn(state);
  });
  next();
}

function beat(state: State): Beat {
  const before = state.leftAtBeat;
  state.leftAtBeat = state.waiting > 0 ? state.left : null;
  if (before === null) return 'idle';
  return state.left > before ? 'moving' : 'stuck';
}
