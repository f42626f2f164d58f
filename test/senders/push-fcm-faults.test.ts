import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../src/senders/outcome.ts';
import { composePush } from '../../src/senders/push-fcm-message.ts';
import { openFcmSender } from '../../src/senders/push-fcm.ts';
import { ACCOUNT, listening, NAME, PUSH } from '../support/fcm-server.ts';

const never = (): AbortSignal => new AbortController().signal;

describe('a server that fails anywhere, in any way', () => {
  const CUT = Symbol('cut');
  const json = (value: object): string => {
    const body = JSON.stringify(value);
    return `Content-Type: application/json\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`;
  };
  const taken = `HTTP/1.1 200 OK\r\n${json({ name: NAME })}`;
  const refusals = [400, 401, 403, 404, 429, 500, 503].map(
    (code) => `HTTP/1.1 ${String(code)} No\r\n${json({ error: { code, status: 'X', message: '' } })}`,
  );
  const reaction = fc.oneof(
    fc.constant(CUT),
    fc.constant(''),
    fc.constant('nonsense\r\n\r\n'),
    fc.constantFrom(taken, ...refusals),
    fc.tuple(fc.constantFrom(taken, ...refusals), fc.nat(200)).map(([text, length]) => text.slice(0, length)),
  );
  const fault = fc.record({ reaction, cut: fc.boolean(), early: fc.boolean() });
  type Fault = ReturnType<typeof fault.generate>['value'];

  interface Seen {
    /** `Content-Length`, by which the messages differ. */
    readonly length: number;
    readonly said: Fault['reaction'];
  }

  /** Reacts to one request after the other, some before they are there as a whole. */
  function faulty(faults: readonly Fault[], seen: Seen[]): Server {
    return createTcpServer((socket) => {
      let received = '';
      let answered = false;
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString();
        const [head, body = ''] = received.split('\r\n\r\n');
        const length = Number(/content-length: (\d+)/i.exec(head ?? '')?.[1]);
        const next = faults[seen.length % faults.length];
        const isWhole = body.length === length;
        if (!answered && next !== undefined && (isWhole || next.early)) {
          seen.push({ length, said: next.reaction });
          answered = true;
          react(socket, next);
        }
        if (!isWhole) return;
        received = '';
        answered = false;
      });
    });
  }

  function react(socket: Socket, { reaction, cut }: Fault): void {
    if (typeof reaction !== 'string') socket.destroy();
    else if (cut) socket.end(reaction);
    else socket.write(reaction);
  }

  it('is never told to have refused what it took, and gets no message twice', { timeout: 60_000 }, async () => {
    const messages = [0, 1, 2].map((index) => ({ ...PUSH, body: 'x'.repeat(100 * (index + 1)) }));
    const lengths = messages.map((message) => JSON.stringify({ message: composePush(message, 0) }).length);
    const property = fc.asyncProperty(fc.array(fault, { minLength: 1, maxLength: 3 }), async (faults) => {
      const seen: Seen[] = [];
      const fcm = await listening(faulty(faults, seen));
      const loopback = fcm.value.address;
      const opened = openFcmSender({ account: ACCOUNT, loopback, connections: 1, timeouts: { answer: 40 } });
      const outcomes: Outcome[] = [];
      for (const message of messages) outcomes.push(await opened.value.send(message, never()));
      await opened.stop();
      await fcm.stop();
      for (const [index, { kind }] of outcomes.entries()) {
        const said = seen.filter(({ length }) => length === lengths[index]).map((each) => each.said);
        expect(said.length).toBeLessThanOrEqual(1);
        if (kind === 'sent') expect(said).toEqual([taken]);
        if (kind === 'retry' || kind === 'rejected') expect(refusals).toEqual(expect.arrayContaining(said));
      }
    });
    await fc.assert(property, { numRuns: 100 });
  });
});
