import {
  EventStoreDBClient,
  jsonEvent,
  type AllStreamResolvedEvent,
  type EventData,
  type ResolvedEvent,
} from '@eventstore/db-client';

import { startEventStore, type EventStoreOptions, type EventStoreStandIn } from './server.ts';

export interface Connected {
  readonly server: EventStoreStandIn;
  readonly client: EventStoreDBClient;
}

/** Runs `work` with a server and the official client of it; both are gone afterwards. */
export async function withEventStore(
  work: (connected: Connected) => Promise<void>,
  options: EventStoreOptions = {},
): Promise<void> {
  const { value: server, stop } = await startEventStore(options);
  const client = connectTo(server.url);
  try {
    await work({ server, client });
  } finally {
    // Cancels all calls at once, but never settles when the server has ended one of batches in silence.
    void client.dispose();
    await stop();
  }
}

export function connectTo(url: string): EventStoreDBClient {
  return EventStoreDBClient.connectionString(url);
}

export function events(count: number, type = 'test'): EventData[] {
  return Array.from({ length: count }, (_, index) => jsonEvent({ type, data: { index } }));
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Stream and revision of each, as a short form to compare. */
export function short(resolved: readonly (ResolvedEvent | AllStreamResolvedEvent)[]): string[] {
  return resolved.map(({ event }) => `${event?.streamId ?? '?'}/${String(event?.revision ?? '?')}`);
}
