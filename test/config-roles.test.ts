import { describe, expect, it } from 'vitest';
import { readConfig } from '../src/config.ts';
import type { Environment } from '../src/environment.ts';
import { ALL_ROLES } from '../src/roles.ts';
import { problems } from './support/config-problems.ts';

const SMTP_FROM = 'Heliograph <no-reply@example.org>';

describe('split roles', () => {
  const SHARED = {
    ROLES: 'route',
    EVENT_LOG_URL: 'esdb://log.example.org:2113?tls=false',
    SECRET_KEY: 'k'.repeat(32),
    SMTP_URL: 'smtp://mail.example.org',
    SMTP_FROM,
  };
  const BROKER_URL = 'amqp://rabbit.example.org';
  const ANALYTICS_URL = 'http://clickhouse.example.org';
  const BOOTSTRAP = { BOOTSTRAP_APP_KEY: 'first', BOOTSTRAP_APP_SECRET: 'secret' };

  it('are taken in any order, and each process needs only what it uses', () => {
    expect(readConfig(SHARED).roles).toEqual(new Set(['route']));
    expect([...readConfig({ ...SHARED, ROLES: 'sender:email, dispatch', BROKER_URL }).roles]).toEqual([
      'dispatch',
      'sender:email',
    ]);
    expect(readConfig({ ...SHARED, ROLES: 'analytics', ANALYTICS_URL }).roles).toEqual(new Set(['analytics']));
    expect(readConfig({ ...SHARED, ...BOOTSTRAP, ROLES: 'api', ANALYTICS_URL }).roles).toEqual(new Set(['api']));
    expect(readConfig({ ROLES: 'api,route,dispatch,analytics,sender:email,sender:sms,sender:push' }).roles).toEqual(
      ALL_ROLES,
    );
  });

  it('have no sandbox: a channel without credentials is off', () => {
    const { email, sms, push } = readConfig(SHARED);
    expect([email.kind, sms.kind, push.kind]).toEqual(['smtp', 'off', 'off']);
  });

  it.each([
    ['EVENT_LOG_URL', {}, /^EVENT_LOG_URL is embedded, which split ROLES cannot share; allowed is esdb:/],
    ['SECRET_KEY', {}, /^SECRET_KEY is missing: processes with split ROLES all need the same/],
    ['BROKER_URL', { ROLES: 'dispatch' }, /^BROKER_URL is embedded/],
    ['BROKER_URL', { ROLES: 'sender:email' }, /^BROKER_URL is embedded/],
    ['ANALYTICS_URL', { ROLES: 'analytics' }, /^ANALYTICS_URL is embedded/],
    ['ANALYTICS_URL', { ROLES: 'api', ...BOOTSTRAP }, /^ANALYTICS_URL is embedded/],
    ['BOOTSTRAP_APP_KEY', { ROLES: 'api', ANALYTICS_URL }, /^BOOTSTRAP_APP_KEY and BOOTSTRAP_APP_SECRET are missing/],
    ['TWILIO_ACCOUNT_SID', { ROLES: 'sender:sms', BROKER_URL }, /^TWILIO_ACCOUNT_SID is missing: ROLES says/],
    [
      'FIREBASE_SERVICE_ACCOUNT',
      { ROLES: 'sender:push', BROKER_URL },
      /^FIREBASE_SERVICE_ACCOUNT is missing: ROLES says/,
    ],
  ])('need %s', (name, more, message) => {
    const env: Environment = { ...SHARED, ...more };
    const found = problems(Object.fromEntries(Object.entries(env).filter(([each]) => each !== name)));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  it('need some channel to send on', () => {
    const { SMTP_URL: _url, SMTP_FROM: _from, ...without } = SHARED;
    expect(problems(without)).toEqual([expect.stringMatching(/there is no sandbox to send to/)]);
  });
});
