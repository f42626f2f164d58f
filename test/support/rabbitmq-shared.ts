import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inject } from 'vitest';
import type { TestProject } from 'vitest/node';
import type { Started } from '../../src/lifecycle.ts';
import { startRabbit, type RabbitServer } from './rabbitmq-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Answers the URL of the RabbitMQ server that the test files share. */
    readonly sharedRabbit: string;
  }
}

/** One server for all test files, started when the first of them asks and ended with the run. For tests that leave it as it is. */
export async function sharedRabbit(): Promise<string> {
  const response = await fetch(inject('sharedRabbit'));
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}

/** Global set-up of vitest, in the process that outlives all test files. */
export default async function setUp({ provide }: TestProject): Promise<() => Promise<void>> {
  let rabbit: Promise<Started<RabbitServer>> | undefined;
  const answering = createServer((_request, response) => {
    rabbit ??= startRabbit();
    rabbit.then(
      ({ value }) => response.end(value.url),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  }).listen(0, '127.0.0.1');
  await once(answering, 'listening');
  provide('sharedRabbit', `http://127.0.0.1:${String((answering.address() as AddressInfo).port)}`);
  return async () => {
    answering.closeAllConnections();
    answering.close();
    await (await rabbit?.catch(() => undefined))?.stop();
  };
}
