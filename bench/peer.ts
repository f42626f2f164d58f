/**
 * The same job as a team would build it on a queue: HTTP that takes notifications, BullMQ on Redis, and a worker that posts
 * each to the provider. For `run.ts`, as one process or two: `peer.ts both|intake|worker <port of Redis> <port of the
 * provider> <concurrency>`.
 *
 * It does less: no event log, no reading of users and preferences, no templates, no idempotency, no analytics; what has been
 * sent is forgotten.
 */
import { Queue, Worker, type Job } from 'bullmq';
import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Item {
  readonly userId: string;
  readonly idempotencyKey: string;
  readonly content: { readonly title: string; readonly body: string };
}

const [role = 'both', redisPort = '', providerPort = '', concurrency = '64'] = process.argv.slice(2);
const NAME = 'push';
const connection = { host: '127.0.0.1', port: Number(redisPort) };

async function openIntake(): Promise<number> {
  const queue = new Queue<Item>(NAME, { connection, defaultJobOptions: { removeOnComplete: true, attempts: 3 } });
  await queue.waitUntilReady();
  const take = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const items: unknown = JSON.parse(await bodyOf(incoming));
    if (!isItems(items)) {
      response.writeHead(400).end();
      return;
    }
    const [first] = items;
    if (items.length === 1 && first !== undefined) await queue.add(NAME, first);
    else await queue.addBulk(items.map((data) => ({ name: NAME, data })));
    const body = JSON.stringify({ accepted: items.length });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
  };
  const server = createServer((incoming, response) => {
    take(incoming, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  incoming.setEncoding('utf8');
  let text = '';
  for await (const chunk of incoming) text += String(chunk);
  return text;
}

function isItems(value: unknown): value is Item[] {
  return Array.isArray(value) && value.every((item) => isItem(item));
}

function isItem(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('userId' in value) || !('content' in value)) return false;
  const { userId, content } = value;
  return typeof userId === 'string' && typeof content === 'object' && content !== null && 'body' in content;
}

async function openWorker(): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number(concurrency) });
  const send = (job: Job<Item>): Promise<void> =>
    new Promise((resolve, reject) => {
      const body = messageOf(job.data);
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const path = '/v1/projects/peer/messages:send';
      const options = { agent, host: '127.0.0.1', port: Number(providerPort), method: 'POST', path, headers };
      request(options, (answer) => {
        answer.resume().once('end', () => {
          if (answer.statusCode === 200) resolve();
          else reject(new Error(String(answer.statusCode)));
        });
      })
        .once('error', reject)
        .end(body);
    });
  const worker = new Worker<Item>(NAME, send, { connection, concurrency: Number(concurrency) });
  worker.on('error', (error) => console.error(error));
  await worker.waitUntilReady();
}

function messageOf({ userId, idempotencyKey, content }: Item): string {
  const android = { priority: 'high', notification: { tag: idempotencyKey } };
  const message = {
    token: `ANDROID-token-of-${userId}`,
    notification: content,
    data: { notificationId: idempotencyKey },
    android,
  };
  return JSON.stringify({ message });
}

if (role !== 'intake') await openWorker();
process.send?.({ port: role === 'worker' ? 0 : await openIntake() });
process.once('SIGTERM', () => process.exit());
process.once('disconnect', () => process.exit());
