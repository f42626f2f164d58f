import { getApps, type Credential } from 'firebase-admin/app';
import { describe, expect, it } from 'vitest';
import { openLimit } from '../../src/senders/limit.ts';
import { openFcmHttp, type Exchange } from '../../src/senders/push-fcm-http.ts';
import { openLines } from '../../src/senders/push-fcm-lines.ts';
import { ACCEPT, ACCOUNT, openStandIn, PUSH, type Address } from '../support/fcm-server.ts';

const MESSAGE = { token: PUSH.address };
/** More turns of the promises than a send without a token takes, as the last expectation of the test makes sure. */
const TURNS = 60;

interface Pair {
  readonly first: Exchange;
  readonly second: Exchange;
  /** The first was over when the second began. */
  readonly inTurn: boolean;
}

/** Two sends: the first one gets no access token, and so many turns of the promises later the second begins. */
async function sendTwice(loopback: Address, turns: number): Promise<Pair> {
  let second: Promise<Exchange> | undefined;
  let inTurn = false;
  const limit = openLimit(new AbortController().signal, 10_000);
  const follow = async (): Promise<void> => {
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    inTurn = isOver;
    second = lines.send(MESSAGE, limit);
  };
  let followed: Promise<void> | undefined;
  const getAccessToken: Credential['getAccessToken'] = () => {
    if (followed !== undefined) return Promise.resolve({ access_token: ACCOUNT.accessToken, expires_in: 3_600 });
    followed = follow();
    return Promise.reject(new Error('no token'));
  };
  const http = openFcmHttp({ loopback, connections: 2, phases: { connect: 5_000, answer: 5_000 } });
  const { projectId } = ACCOUNT;
  const lines = openLines({ http, connections: 2, projectId, credential: { getAccessToken } });
  let isOver = false;
  const first = await lines.send(MESSAGE, limit);
  isOver = true;
  await followed;
  const pair = { first, second: (await second) ?? first, inTurn };
  limit.clear();
  http.close();
  await lines.close();
  return pair;
}

describe('a line to FCM', () => {
  it('is one send’s from taking it to giving it back: the end of the one before, which made no request, closes it to nobody', async () => {
    const fcm = await openStandIn(ACCEPT);
    const seen: boolean[] = [];
    for (let turns = 0; turns < TURNS; turns += 1) {
      const { first, second, inTurn } = await sendTwice(fcm.value.address, turns);
      expect(first).toMatchObject({ stage: 'before', code: 'app/invalid-credential', answer: null });
      expect(second, `${String(turns)} turns later`).toMatchObject({ stage: 'answered', answer: { status: 200 } });
      seen.push(inTurn);
    }
    await fcm.stop();
    expect(fcm.value.posts).toHaveLength(TURNS);
    expect(getApps()).toEqual([]);
    // From before the end of the first to after it.
    expect([seen[0], seen.at(-1)]).toEqual([false, true]);
  });
});
