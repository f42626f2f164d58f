import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { startService, type Service } from '../support/service.ts';
import { openTempDir } from '../support/temp-dir.ts';
import type { Started } from '../../src/lifecycle.ts';

const REQUEST = `mutation ($inputs: [RequestNotificationInput!]!) {
  requestNotifications(inputs: $inputs) { notification { id } error { code } }
}`;

const RECIPIENTS = ['ada', 'refused', 'flaky', 'lost'];

/** Of every kind that there is, what four notifications to two channels leave. */
const EXPECTED = [
  'heliograph_requests_accepted_total{lane="TRANSACTIONAL"} 4',
  'heliograph_requests_replayed_total 2',
  'heliograph_requests_refused_total{code="USER_NOT_FOUND"} 1',
  'heliograph_accept_duration_seconds_count{mutation="requestNotifications"} 2',
  'heliograph_events_appended_total{type="NotificationRouted"} 4',
  'heliograph_claims_total{type="sms",result="claimed"} 4',
  'heliograph_claims_total{type="email",result="claimed"} 6',
  'heliograph_outcomes_total{channel="SMS",provider="twilio",kind="sent"} 4',
  'heliograph_outcomes_total{channel="SMS",provider="twilio",kind="delivered"} 4',
  'heliograph_outcomes_total{channel="EMAIL",provider="smtp",kind="sent"} 2',
  'heliograph_outcomes_total{channel="EMAIL",provider="smtp",kind="rejected"} 1',
  'heliograph_outcomes_total{channel="EMAIL",provider="smtp",kind="retry"} 1',
  'heliograph_outcomes_total{channel="EMAIL",provider="smtp",kind="unknown"} 2',
  'heliograph_outcomes_total{channel="EMAIL",provider="smtp",kind="dead_lettered"} 1',
  'heliograph_doubts_total{channel="EMAIL",reason="CONNECTION_LOST"} 2',
  'heliograph_resends_total{channel="EMAIL"} 1',
  'heliograph_provider_call_duration_seconds_count{channel="EMAIL",provider="smtp"} 6',
  'heliograph_delivery_latency_seconds_count{channel="EMAIL",lane="TRANSACTIONAL"} 2',
  'heliograph_delivery_latency_seconds_count{channel="SMS",lane="TRANSACTIONAL"} 4',
  'heliograph_queue_depth{queue="email.transactional"} 0',
  'heliograph_queue_dead{queue="email.transactional"} 1',
  'heliograph_queues_up 1',
  'heliograph_sender_up{channel="PUSH",provider="fcm"} 1',
  'heliograph_sender_up{channel="SMS",provider="twilio"} 1',
  'heliograph_sender_up{channel="EMAIL",provider="smtp"} 1',
  'heliograph_event_log_up 1',
  'heliograph_projection_live{projection="route"} 1',
  'heliograph_projection_live{projection="dispatch"} 1',
  'heliograph_projection_live{projection="receipts"} 1',
  'heliograph_projection_lag_seconds{projection="route"} 0',
  'heliograph_ingest_lag_seconds 0',
  'heliograph_subscriptions{to="delivery_updates"} 0',
  'heliograph_websockets 0',
];

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
}

describe('The metrics of a running service', () => {
  let folder: Started<string>;
  let service: Service;

  const scrape = async (): Promise<string> => {
    const response = await fetch(`${service.url}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    return response.text();
  };

  beforeAll(async () => {
    folder = await openTempDir();
    service = await startService(folder.value, { RETRY_SCHEDULE: '100ms' });
    for (const id of RECIPIENTS) {
      const input = { id, email: `${id}@example.org`, phone: '+12025550123' };
      await service.ask('mutation ($input: RegisterUserInput!) { registerUser(input: $input) { id } }', {
        input,
      });
    }
    const content = { title: 'Hello', body: 'The first light.' };
    const inputs = RECIPIENTS.map((userId) => ({ userId, content, idempotencyKey: userId }));
    await service.ask(REQUEST, { inputs: [...inputs, { userId: 'nobody', content }] });
    await service.ask(REQUEST, { inputs: inputs.slice(0, 2) });
  }, 90_000);

  afterAll(async () => {
    service.child.kill('SIGTERM');
    await service.ended;
    await folder.stop();
  });

  it('tell what became of a few notifications', async () => {
    await eventually(
      async () => {
        const lines = new Set((await scrape()).split('\n'));
        const missing = EXPECTED.filter((line) => !lines.has(line));
        expect(missing).toEqual([]);
      },
      { timeoutMs: 60_000, pauseMs: 100 },
    );
  }, 90_000);

  it('are those that the documentation lists, with the same types and labels', async () => {
    const documented = await readTable();
    const found = metricsIn(await scrape());
    const ours = found.filter(({ name }) => name.startsWith('heliograph_'));
    const kinds = (metrics: readonly Metric[]): readonly string[] =>
      metrics.map(({ name, type }) => `${type} ${name}`).toSorted();
    expect(kinds(documented)).toEqual(kinds(ours));
    for (const { name, labels } of ours) {
      const said = documented.find((each) => each.name === name)?.labels ?? [];
      // What has not happened yet has no sample, and so no label.
      if (labels.length > 0) expect({ name, labels }).toEqual({ name, labels: said.toSorted() });
    }
    expect(found.filter(({ name }) => !/^(heliograph|process|nodejs)_/.test(name))).toEqual([]);
  });

  it('are not for other methods', async () => {
    const { status, headers } = await fetch(`${service.url}/metrics`, { method: 'POST' });
    expect([status, headers.get('allow')]).toEqual([405, 'GET']);
  });
});

/** By the comment that every metric has, and the labels of its samples. */
function metricsIn(text: string): readonly Metric[] {
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  return types.map(([, name = '', type = '']) => {
    const samples = text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{(.*)\\} `, 'gm'));
    const labels = new Set(
      [...samples].flatMap(([, pairs = '']) => [...pairs.matchAll(/(\w+)="/g)].map(([, key = '']) => key)),
    );
    labels.delete('le');
    return { name, type, labels: [...labels].toSorted() };
  });
}

async function readTable(): Promise<readonly Metric[]> {
  const text = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const rows = text.split('\n').filter((line) => line.startsWith('| `heliograph_'));
  return rows.map((row) => {
    const [, name = '', type = '', labels = ''] = row.split('|').map((cell) => cell.trim());
    return {
      name: name.replaceAll('`', ''),
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label),
    };
  });
}
