import type { Client, FormattedExecutionResult } from 'graphql-ws';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { onTestFinished } from 'vitest';
import type { DeliveryUpdate } from '../../src/projections/live-updates.ts';
import { deliveryOf } from './fake.ts';
import type { TestApi } from './given-api.ts';
import { basic } from './given-api.ts';

export const DELIVERIES = `subscription ($filter: DeliveryFilter, $after: Cursor) {
  deliveryUpdated(filter: $filter, after: $after) { cursor type }
}`;

export const FUNNEL = 'subscription ($input: FunnelInput!) { funnelUpdated(input: $input) { cursor groups { key } } }';

export const COHORT = { stages: ['SENT', 'OPENED'], from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' };

/** One that only its cursor tells from others. */
export function updateAt(cursor: string): DeliveryUpdate {
  return {
    cursor,
    notificationId: 'n',
    delivery: deliveryOf('n'),
    type: 'DeliverySent',
    occurredAt: '2026-01-02T03:04:05.678Z',
  };
}

export interface LiveClient {
  readonly client: Client;
  /** Close codes and reasons of its connections. */
  readonly closed: { readonly code: number; readonly reason: string }[];
}

/** The client that pages use, which does not connect again. */
export function liveClient({ port }: Pick<TestApi, 'port'>, authorization = basic()): LiveClient {
  const closed: LiveClient['closed'] = [];
  const client = createClient({
    url: `ws://127.0.0.1:${String(port)}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization },
    retryAttempts: 0,
    on: {
      closed: (event) => {
        const { code, reason } = event as { readonly code: number; readonly reason: string };
        closed.push({ code, reason });
      },
    },
  });
  onTestFinished(() => client.dispose());
  return { client, closed };
}

export interface Listener {
  readonly values: FormattedExecutionResult<Record<string, unknown>, unknown>[];
  /** With what the subscription broke. */
  readonly errors: unknown[];
  readonly isDone: () => boolean;
  readonly complete: () => void;
}

export function listen({ client }: LiveClient, query: string, variables: Record<string, unknown> = {}): Listener {
  const values: FormattedExecutionResult<Record<string, unknown>, unknown>[] = [];
  const errors: unknown[] = [];
  let done = false;
  const complete = client.subscribe(
    { query, variables },
    {
      next: (value) => values.push(value),
      error: (error) => errors.push(error),
      complete: () => (done = true),
    },
  );
  return { values, errors, isDone: () => done, complete };
}
