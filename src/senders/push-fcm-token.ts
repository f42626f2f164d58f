import { cert, type Credential } from 'firebase-admin/app';
import { withinMs } from '../within.ts';
import type { Exchange } from './push-fcm-http.ts';
import { TOKEN_BUSY, TOKEN_REFUSED, TOKEN_UNREACHABLE } from './push-fcm-outcome.ts';

/** As in the key file of a service account of the Firebase project. */
export interface ServiceAccount {
  readonly projectId: string;
  readonly clientEmail: string;
  /** PEM. */
  readonly privateKey: string;
}

/** The second form has no key to sign with. */
export type FcmAccount = ServiceAccount | { readonly projectId: string; readonly accessToken: string };

/** For an access token; without an end of its own, one that hangs would hang every send to come. Milliseconds. */
const TOKEN_MS = 10_000;
/** The SDK asks for another access token five minutes before one ends; milliseconds. */
const TOKEN_RESERVE_MS = 6 * 60_000;

export interface Tokens {
  readonly credential: Credential;
  /** The SDK has one error for every way not to get an access token: names the last one in its place. */
  readonly explain: (exchange: Exchange) => Exchange;
}

export function openTokens(account: FcmAccount): Tokens {
  const source = tokenSource(account);
  const fetch = sharedToken(() => inTime(source));
  let last: Pick<Exchange, 'code' | 'text'> = { code: TOKEN_UNREACHABLE, text: null };
  const getAccessToken: Credential['getAccessToken'] = async () => {
    try {
      return await fetch();
    } catch (error) {
      last = tokenFailure(error);
      throw new Error('no access token', { cause: error });
    }
  };
  return {
    credential: { getAccessToken },
    explain: (exchange) => (exchange.code === 'app/invalid-credential' ? { ...exchange, ...last } : exchange),
  };
}

/** Every app of the SDK asks for itself: Google is asked once for all of them, and again shortly before a token ends. */
export function sharedToken(fetch: Credential['getAccessToken']): Credential['getAccessToken'] {
  let asked: Promise<{ readonly access_token: string; readonly until: number }> | null = null;
  let staleAt = Infinity;
  const ask = async (): Promise<{ readonly access_token: string; readonly until: number }> => {
    staleAt = Infinity;
    try {
      const { access_token, expires_in } = await fetch();
      const until = Date.now() + expires_in * 1_000;
      staleAt = until - TOKEN_RESERVE_MS;
      return { access_token, until };
    } catch (error) {
      asked = null;
      throw error;
    }
  };
  return async () => {
    if (asked === null || Date.now() >= staleAt) asked = ask();
    const { access_token, until } = await asked;
    return { access_token, expires_in: Math.max(0, Math.floor((until - Date.now()) / 1_000)) };
  };
}

function tokenSource(account: FcmAccount): Credential['getAccessToken'] {
  if ('accessToken' in account) {
    return () => Promise.resolve({ access_token: account.accessToken, expires_in: 3600 });
  }
  const credential = cert({ ...account });
  return () => credential.getAccessToken();
}

/** The errors of the library may hold the signed request: of them only the status and the code go on. */
function tokenFailure(error: unknown): Pick<Exchange, 'code' | 'text'> {
  const response = read(error, 'response');
  const status = read(response, 'status');
  const name = read(read(response, 'data'), 'error');
  const said = [status, name].filter((word) => typeof word === 'number' || isName(word)).join(' ');
  if (typeof status !== 'number') {
    const code = read(error, 'code');
    return { code: TOKEN_UNREACHABLE, text: isName(code) ? code : null };
  }
  return { code: status >= 500 || status === 429 || status === 408 ? TOKEN_BUSY : TOKEN_REFUSED, text: said };
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^\w{1,64}$/.test(value);
}

function read(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

async function inTime<T>(ask: () => Promise<T>): Promise<T> {
  const answer = await withinMs(TOKEN_MS, ask());
  if (answer === null) throw Object.assign(new Error('too late'), { code: 'ETIMEDOUT' });
  return answer;
}
