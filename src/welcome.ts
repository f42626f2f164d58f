import { addressOfAmqpUrl } from './amqp-url.ts';
import type { Running } from './app.ts';
import type { Config } from './config.ts';
import type { Channel } from './events/event.ts';
import { CHANNELS } from './events/event.ts';
import { channelsOf, isSplit, usesAnalytics, usesBroker } from './roles.ts';

/** What a person reads who just started it: where it is, how to get in, and one command that sends something. */
export function welcome(config: Config, running: Running): string {
  if (isSplit(config.roles)) return partOfMany(config, running);
  const { url, listening, appKey, appSecret } = running;
  const credentials = appSecret === null ? '"$BOOTSTRAP_APP_KEY:$BOOTSTRAP_APP_SECRET"' : `'${appKey}:${appSecret}'`;
  const outbox = `${listening}/sandbox${appSecret === null ? '' : `#${appKey}:${appSecret}`}`;
  return [
    '',
    `Heliograph listens on ${listening}`,
    ...(url === listening ? [] : [`and is reached at ${url}`]),
    '',
    `  appKey    ${appKey}`,
    `  appSecret ${appSecret ?? '(the BOOTSTRAP_APP_SECRET of the environment)'}`,
    '',
    `  GraphQL   ${listening}/graphql`,
    ...(usesSandbox(running) ? [`  Sandbox   ${outbox}`] : []),
    `  Data      ${config.dataDir}`,
    `  Uses      ${adaptersLine(config)}`,
    ...(isAllSandbox(running) ? [] : ['', ...CHANNELS.map((channel) => destinationLine(config, running, channel))]),
    '',
    ...(isAllSandbox(running) ? firstSteps(listening, credentials) : []),
    ...closing(config, running),
    '',
    '',
  ].join('\n');
}

/** For people who look after it: its clients read nothing here. */
function partOfMany(config: Config, running: Running): string {
  const { url, listening } = running;
  const channels = CHANNELS.filter((channel) => channelsOf(config.roles).includes(channel));
  return [
    '',
    `Heliograph listens on ${listening}`,
    ...(url === listening || !config.roles.has('api') ? [] : [`and is reached at ${url}`]),
    '',
    `  Roles     ${[...config.roles].join(', ')}`,
    ...(config.roles.has('api') ? [`  GraphQL   ${listening}/graphql`] : []),
    `  Data      ${config.dataDir}`,
    `  Uses      ${adaptersLine(config)}`,
    ...channels.map((channel) => destinationLine(config, running, channel)),
    '',
    '',
  ].join('\n');
}

/** Made-up addresses: for the sandbox only. */
function firstSteps(url: string, credentials: string): readonly string[] {
  return [
    'Register somebody, and send a first notification to every device there is:',
    '',
    curl(url, credentials, FIRST),
    '',
    'and see what became of it, with the id from the answer:',
    '',
    curl(url, credentials, STORY),
    '',
    'and what it adds up to:',
    '',
    curl(url, credentials, funnelOf(new Date())),
    '',
  ];
}

/** What it stands on, without credentials: a variable whose name is misspelt gives an embedded one. */
export function adaptersLine({
  eventLog,
  broker,
  analytics,
  roles,
}: Pick<Config, 'eventLog' | 'broker' | 'analytics' | 'roles'>): string {
  const log = eventLog.kind === 'lmdb' ? 'embedded' : `EventStoreDB at ${eventLog.hosts.map(placeOf).join(', ')}`;
  const queues = broker.kind === 'memory' ? 'embedded' : `RabbitMQ at ${placeOfRabbit(broker.url)}`;
  const isEmbedded = analytics.kind === 'chdb';
  const figures = isEmbedded ? 'embedded ClickHouse' : `ClickHouse at ${analytics.url.replace(/^https?:\/\//, '')}`;
  return [
    `event log: ${log}`,
    ...(usesBroker(roles) ? [`queues: ${queues}`] : []),
    ...(usesAnalytics(roles) ? [`figures: ${figures}`] : []),
  ].join(' · ');
}

function placeOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return `${address}:${String(port)}`;
}

function placeOfRabbit(url: string): string {
  const { host, port } = addressOfAmqpUrl(url);
  return placeOf({ address: host.includes(':') ? `[${host}]` : host, port });
}

/** Whether the messages of some channel go to the sandbox and not to people. */
export function usesSandbox({ destinations }: Pick<Running, 'destinations'>): boolean {
  return Object.values(destinations).includes('sandbox');
}

/** Whether the real provider of text messages has no address to send its receipts to. */
export function lacksReceipts({ sms, publicUrl }: Pick<Config, 'sms' | 'publicUrl'>): boolean {
  return sms.kind === 'twilio' && publicUrl === null;
}

function isAllSandbox({ destinations }: Running): boolean {
  return Object.values(destinations).every((each) => each === 'sandbox');
}

const LABELS: Readonly<Record<Channel, string>> = { PUSH: 'Push', SMS: 'SMS', EMAIL: 'E-mail' };

function destinationLine(config: Config, { destinations }: Running, channel: Channel): string {
  const where = {
    sandbox: 'to the sandbox, not to people',
    off: 'off: it has no credentials',
    smtp: `through ${smtpHost(config)}`,
    twilio: 'through Twilio',
    fcm: 'through Firebase Cloud Messaging',
  }[destinations[channel]];
  return `  ${LABELS[channel].padEnd(9)} ${where}`;
}

function closing(config: Config, running: Running): readonly string[] {
  if (lacksReceipts(config))
    return ['Twilio cannot tell what arrives: set PUBLIC_URL to the address that it reaches this at.'];
  if (!isAllSandbox(running)) return [];
  return [
    'Everything goes to the sandbox, not to people. SMTP_URL and SMTP_FROM, TWILIO_…, or FIREBASE_SERVICE_ACCOUNT change',
    'that for their channel; the README lists them.',
  ];
}

const FIRST = [
  'mutation { registerUser(input: {id: "ada", email: "ada@example.com", phone: "+12025550123"}) { id }',
  'iphone: registerDevice(input: {userId: "ada", platform: IOS, token: "iphone-of-ada-7f3c91"}) { id }',
  'android: registerDevice(input: {userId: "ada", platform: ANDROID, token: "android-of-ada-2b8e04"}) { id }',
  'browser: registerDevice(input: {userId: "ada", platform: WEB, token: "browser-of-ada-c5d6a7"}) { id }',
  'requestNotification(input: {userId: "ada", content: {title: "Hello Ada", body: "The first light."}})',
  '{ notification { id status } } }',
].join(' ');

const STORY =
  '{ notification(id: "PASTE-THE-ID") { status deliveries { channel platform address status } ' +
  'timeline { type occurredAt detail } } }';

const DAY_MS = 86_400_000;

/** Of what was requested since yesterday. */
function funnelOf(now: Date): string {
  const [from, to] = [-DAY_MS, DAY_MS].map((ms) => new Date(now.getTime() + ms).toISOString().slice(0, 10));
  const cohort = `from: "${String(from)}T00:00:00Z", to: "${String(to)}T00:00:00Z"`;
  return (
    `{ funnel(input: {stages: [REQUESTED, SENT, DELIVERED], ${cohort}, groupBy: [CHANNEL]}) ` +
    '{ groups { key stages { stage count fromPrevious } } } }'
  );
}

function curl(url: string, credentials: string, query: string): string {
  return `curl -s ${url}/graphql -u ${credentials} -H 'content-type: application/json' -d '${JSON.stringify({ query })}'`;
}

function smtpHost({ email }: Config): string {
  return email.kind === 'smtp' ? new URL(email.url).host : '';
}
