import { describe, expect, it } from 'vitest';
import { basic, fetchAnswer, givenApi } from './given-api.ts';
import type { SandboxView } from '../../src/api/options.ts';
import { sandboxPagePolicy } from '../../src/sandbox/page.ts';

const POLICY = /^default-src 'none'; script-src 'nonce-([\w-]{22})'; .*frame-ancestors 'none'$/;

describe('Health', () => {
  it('needs no credentials', async () => {
    const api = await givenApi();
    expect(await fetchAnswer(`${api.url}/healthz`)).toMatchObject({ status: 200, text: '{"status":"ok"}' });
    expect(await fetchAnswer(`${api.url}/readyz`)).toMatchObject({ status: 200, text: '{"status":"ready"}' });
  });

  it('says why it is not ready', async () => {
    const api = await givenApi({ ready: () => ({ ready: false, reasons: ['route is behind'] }) });
    const { status, text } = await fetchAnswer(`${api.url}/readyz`);
    expect({ status, body: JSON.parse(text) as unknown }).toEqual({
      status: 503,
      body: { status: 'not ready', reasons: ['route is behind'] },
    });
    expect((await fetchAnswer(`${api.url}/healthz`)).status).toBe(200);
  });

  it('answers to GET alone', async () => {
    const api = await givenApi();
    const { status, headers, code } = await fetchAnswer(`${api.url}/healthz`, { method: 'POST' });
    expect([status, headers.get('allow'), code]).toEqual([405, 'GET', 'METHOD_NOT_ALLOWED']);
  });
});

describe('The sandbox', () => {
  const messages = [{ address: 'ada@example.org' }, { address: 'bob@example.org' }];
  let revision = 'one';
  const sandbox: SandboxView = {
    messages: ({ address }) => messages.filter((message) => address === undefined || message.address === address),
    revision: () => revision,
    page: (nonce) => `<!doctype html><script nonce="${nonce}"></script>`,
    policy: sandboxPagePolicy,
  };

  it('shows its outbox to operators', async () => {
    const api = await givenApi({ sandbox });
    const headers = { authorization: basic() };
    const read = async (query: string): Promise<unknown> =>
      JSON.parse((await fetchAnswer(`${api.url}/sandbox/outbox${query}`, { headers })).text);
    expect(await read('')).toEqual(messages);
    expect(await read('?address=bob%40example.org')).toEqual([messages[1]]);
    expect(await read('?address=')).toEqual([]);
  });

  it('says that nothing is new to whoever has read it before', async () => {
    const api = await givenApi({ sandbox });
    const url = `${api.url}/sandbox/outbox`;
    const first = await fetch(url, { headers: { authorization: basic() } });
    expect(first.headers.get('cache-control')).toBe('private, no-cache');
    const headers = { authorization: basic(), 'if-none-match': first.headers.get('etag') ?? '' };
    expect((await fetch(url, { headers })).status).toBe(304);
    revision = 'two';
    expect((await fetch(url, { headers })).status).toBe(200);
    expect((await fetch(url, { headers: { 'if-none-match': '"two"' } })).status).toBe(401);
  });

  it('shows it to nobody else', async () => {
    const api = await givenApi({ sandbox });
    api.fake.addClient({ appKey: 'sender', scopes: ['SEND', 'READ', 'ADMIN', 'ANALYTICS'] });
    const url = `${api.url}/sandbox/outbox`;
    const unknown = await fetchAnswer(url);
    expect([unknown.status, unknown.code]).toEqual([401, 'UNAUTHENTICATED']);
    expect(unknown.headers.get('www-authenticate')).toBe('Basic realm="heliograph"');
    const sender = await fetchAnswer(url, { headers: { authorization: basic('sender') } });
    expect([sender.status, sender.code]).toEqual([403, 'FORBIDDEN']);
    api.fake.addClient({ appKey: 'elsewhere', tenant: 'acme', scopes: ['OPERATE'] });
    const elsewhere = await fetchAnswer(url, { headers: { authorization: basic('elsewhere') } });
    expect([elsewhere.status, elsewhere.code]).toEqual([403, 'FORBIDDEN']);
    expect(elsewhere.errors[0]?.message).toContain('only clients of the tenant default');
    const twice = await fetchAnswer(`${url}?address=a&address=b`, { headers: { authorization: basic() } });
    expect([twice.status, twice.code]).toEqual([400, 'BAD_REQUEST']);
  });

  it('has a page whose scripts alone run, and that nobody frames', async () => {
    const api = await givenApi({ sandbox });
    const nonces = [];
    for (const response of [await fetch(`${api.url}/sandbox`), await fetch(`${api.url}/sandbox`)]) {
      expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      expect(response.headers.get('referrer-policy')).toBe('no-referrer');
      const nonce = POLICY.exec(response.headers.get('content-security-policy') ?? '')?.[1];
      expect(await response.text()).toBe(`<!doctype html><script nonce="${String(nonce)}"></script>`);
      nonces.push(nonce);
    }
    expect(nonces[0]).not.toBe(nonces[1]);
  });

  it('is not there when messages go to a real server, and says why', async () => {
    const api = await givenApi();
    for (const path of ['/sandbox', '/sandbox/outbox']) {
      const { status, code, errors } = await fetchAnswer(`${api.url}${path}`, { headers: { authorization: basic() } });
      expect([status, code]).toEqual([404, 'NOT_FOUND']);
      expect(errors[0]?.message).toContain('no channel sends to it');
    }
  });
});

describe('GraphiQL', () => {
  it('comes in one piece that loads nothing from anywhere else', async () => {
    const api = await givenApi({ development: true });
    const response = await fetch(`${api.url}/graphql`, {
      headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
    });
    const policy = response.headers.get('content-security-policy') ?? '';
    const page = await response.text();
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.split(`<script nonce="${String(POLICY.exec(policy)?.[1])}">`)).toHaveLength(2);
    expect(policy).not.toMatch(/https?:|\*|unsafe-eval/);
    expect(policy).toContain("connect-src 'self'");
    expect(page).toContain('"Authorization');
  });

  it('leaves programs alone', async () => {
    const api = await givenApi({ development: true });
    const headers = { accept: '*/*', authorization: basic(), 'apollo-require-preflight': '1' };
    expect((await fetchAnswer(`${api.url}/graphql?query={head}`, { headers })).data).toEqual({ head: 'cursor-0' });
  });
});
