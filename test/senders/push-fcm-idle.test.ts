import { describe, expect, it } from 'vitest';
import { openFcmSender } from '../../src/senders/push-fcm.ts';
import { ACCEPT, ACCOUNT, openStandIn, PUSH } from '../support/fcm-server.ts';
import { openTcpProxy } from '../support/tcp-proxy.ts';
import { stoppedAfterEach } from '../support/stopped-after-each.ts';

const use = stoppedAfterEach();

const CONNECTIONS = 4;

describe('connections that are dead, and of which nobody was told', () => {
  it('cost one message its answer, and not one after the other', async () => {
    const first: (() => void)[] = [];
    const fcm = use(
      await openStandIn((response, post, index) => {
        first.push(() => ACCEPT(response, post, index));
        // So that each of the first ones needs a connection of its own.
        if (index >= CONNECTIONS - 1) for (const answer of first.splice(0)) answer();
      }),
    );
    const proxy = use(await openTcpProxy(() => fcm.address.port));
    const loopback = { host: '127.0.0.1', port: proxy.port };
    const timeouts = { answer: 1_000 };
    const sender = use(openFcmSender({ account: ACCOUNT, loopback, connections: CONNECTIONS, timeouts }));
    const send = async () => (await sender.send(PUSH, new AbortController().signal)).kind;
    await Promise.all(Array.from({ length: CONNECTIONS }, send));
    expect(fcm.connections()).toBe(CONNECTIONS);
    proxy.hang();
    expect([await send(), await send(), await send()]).toEqual(['unknown', 'sent', 'sent']);
  });
});
