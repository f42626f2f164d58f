import type { Config } from './config.ts';
import { quote, type Env } from './environment.ts';
import { ALL_ROLES, channelsOf, isSplit, parseRoles, ROLES, usesAnalytics, usesBroker, type Roles } from './roles.ts';

export function readRoles(env: Env): Roles {
  const text = env.get('ROLES') ?? 'all';
  const roles = parseRoles(text);
  if (roles === null) {
    env.refuse('ROLES', `is ${quote(text)}; allowed are all, or some of ${ROLES.join(',')} with commas between`);
  }
  return roles ?? ALL_ROLES;
}

type Checked = Pick<Config, 'eventLog' | 'broker' | 'analytics' | 'secretKey' | 'bootstrap' | 'email' | 'sms' | 'push'>;

/** What several processes share they cannot have each for itself. */
export function checkRoles(env: Env, roles: Roles, config: Checked): void {
  if (!isSplit(roles)) return;
  const refuse = (name: string, why: string): void => {
    // Somebody who got the variable wrong has been told so already.
    if (!env.problems.some((problem) => problem.startsWith(`${name} `))) env.refuse(name, why);
  };
  const embedded = (form: string): string => `is embedded, which split ROLES cannot share; allowed is ${form}`;
  if (config.eventLog.kind === 'lmdb') refuse('EVENT_LOG_URL', embedded('esdb://… or esdb+discover://…'));
  if (usesBroker(roles) && config.broker.kind === 'memory') refuse('BROKER_URL', embedded('amqp://… or amqps://…'));
  if (usesAnalytics(roles) && config.analytics.kind === 'chdb') {
    refuse('ANALYTICS_URL', embedded('http://… or https://…'));
  }
  if (config.secretKey === null) refuse('SECRET_KEY', 'is missing: processes with split ROLES all need the same');
  if (roles.has('api') && config.bootstrap === null) {
    refuse('BOOTSTRAP_APP_KEY', 'and BOOTSTRAP_APP_SECRET are missing: with split ROLES none are made up');
  }
  checkProviders(roles, config, refuse);
}

const CREDENTIALS = { EMAIL: 'SMTP_URL', SMS: 'TWILIO_ACCOUNT_SID', PUSH: 'FIREBASE_SERVICE_ACCOUNT' } as const;

function checkProviders(
  roles: Roles,
  { email, sms, push }: Checked,
  refuse: (name: string, why: string) => void,
): void {
  const kinds = { EMAIL: email.kind, SMS: sms.kind, PUSH: push.kind };
  for (const channel of channelsOf(roles)) {
    if (kinds[channel] === 'off') {
      refuse(CREDENTIALS[channel], `is missing: ROLES says that this process sends ${channel}`);
    }
  }
  if (Object.values(kinds).every((kind) => kind === 'off')) {
    refuse('SMTP_URL', 'and all other credentials are missing: with split ROLES there is no sandbox to send to');
  }
}
