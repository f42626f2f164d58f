import { createServer, type Socket } from 'node:net';
import type { Started } from '../../src/lifecycle.ts';
import type { SenderPlan } from '../../src/senders/thread-orders.ts';
import { listening } from './fcm-server.ts';

/** Threads that send, of processes with these settings; each can be ended by itself. */
export interface MortalThreads {
  /** To be preloaded (`--import`) into a process. */
  readonly script: string;
  readonly settings: Readonly<Record<string, string>>;
  /** Ends the thread for that kind of provider, if the process has one now, and waits until it has ended. */
  readonly end: (pid: number, kind: SenderPlan['kind']) => Promise<void>;
}

export async function openMortalThreads(): Promise<Started<MortalThreads>> {
  const threads = new Map<string, Socket>();
  const server = createServer((socket) => {
    socket.once('data', (told) => {
      const name = told.toString();
      threads.set(name, socket);
      socket.once('close', () => {
        if (threads.get(name) === socket) threads.delete(name);
      });
    });
  });
  const end: MortalThreads['end'] = async (pid, kind) => {
    const thread = threads.get(`${String(pid)} ${kind}`);
    if (thread === undefined) return;
    const ended = new Promise<unknown>((resolve) => thread.once('close', resolve));
    thread.write('now');
    await ended;
  };
  const { value, stop } = await listening(server);
  return {
    value: {
      script: new URL('mortal-threads.mjs', import.meta.url).href,
      settings: { MORTAL_THREADS_PORT: String(value.address.port) },
      end,
    },
    stop,
  };
}
