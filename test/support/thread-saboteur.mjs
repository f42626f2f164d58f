/** A sender's thread as it is, that does to itself what the body of a message says, before the sender has it. */
import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers';
import { parentPort } from 'node:worker_threads';

const HARM = {
  EXIT: () => process.exit(7),
  THROW: () => {
    setImmediate(() => {
      throw Object.assign(new Error('secret-of-an-error'), { code: 'BROKEN' });
    });
  },
  REJECT: () => void Promise.reject(new Error('secret-of-an-error')),
  HANG: () => {
    for (;;);
  },
  BUSY: () => {
    const until = performance.now() + 700;
    while (performance.now() < until);
  },
};

parentPort.on('message', (orders) => {
  for (const order of orders) if (order.kind === 'send') HARM[order.message.body]?.();
});
await import('../../dist/senders/thread-main.js');
