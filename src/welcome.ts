import type { Running } from './app.ts';
import type { Config } from './config.ts';

/** What a person reads who just started it: where it is, how to get in, and one command that sends something. */
export function welcome(config: Config, running: Running): string {
  const { url, listening, appKey, appSecret, sandbox } = running;
  const credentials = appSecret === null ? '"$BOOTSTRAP_APP_KEY:$BOOTSTRAP_APP_SECRET"' : `'${appKey}:${appSecret}'`;
  return [
    '',
    `Heliograph listens on ${listening}`,
    ...(url === listening ? [] : [`and is reached at ${url}`]),
    '',
    `  appKey    ${appKey}`,
    `  appSecret ${appSecret ?? '(the BOOTSTRAP_APP_SECRET of the environment)'}`,
    '',
    `  GraphQL   ${listening}/graphql`,
    ...(sandbox ? [`  Mailbox   ${listening}/sandbox${appSecret === null ? '' : `#${appKey}:${appSecret}`}`] : []),
    `  Data      ${config.dataDir}`,
    '',
    'Send a first notification:',
    '',
    curl(listening, credentials, FIRST),
    '',
    'and see every step of its way, with the id from the answer:',
    '',
    curl(listening, credentials, STORY),
    '',
    sandbox
      ? 'Mail goes to the sandbox, not to people: set SMTP_URL and SMTP_FROM to change that.'
      : `Mail goes out through ${smtpHost(config)}.`,
    '',
    '',
  ].join('\n');
}

const FIRST =
  'mutation { registerUser(input: {id: "ada", email: "ada@example.com"}) { id } ' +
  'requestNotification(input: {userId: "ada", content: {title: "Hello Ada", body: "The first light."}}) ' +
  '{ notification { id status } } }';

const STORY = '{ notification(id: "PASTE-THE-ID") { status timeline { type occurredAt detail } } }';

function curl(url: string, credentials: string, query: string): string {
  return `curl -s ${url}/graphql -u ${credentials} -H 'content-type: application/json' -d '${JSON.stringify({ query })}'`;
}

function smtpHost({ email }: Config): string {
  return email.kind === 'smtp' ? new URL(email.url).host : '';
}
