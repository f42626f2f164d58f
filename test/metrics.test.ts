import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { openMetrics } from '../src/metrics.ts';
import type { Sources } from '../src/metrics-gauges.ts';

type Queues = Awaited<ReturnType<Sources['queues']>>;

const QUEUE = { name: 'sms.bulk', depth: 3, retrying: 2, dead: 1, oldestSeconds: null };

describe('Metrics', () => {
  it('count', async () => {
    const metrics = openMetrics(Date.now);
    metrics.accepted('BULK');
    metrics.accepted('BULK');
    metrics.replayed();
    metrics.outcome('SMS', 'twilio', 'sent');
    metrics.outcome('SMS', null, 'expired');
    metrics.deliveryTook(-0.5, 'SMS', 'BULK');
    metrics.deliveryTook(0.07, 'SMS', 'BULK');
    const text = await metrics.text();
    expect(text.split('\n')).toEqual(
      expect.arrayContaining([
        'heliograph_requests_accepted_total{lane="BULK"} 2',
        'heliograph_requests_replayed_total 1',
        'heliograph_outcomes_total{channel="SMS",provider="twilio",kind="sent"} 1',
        'heliograph_outcomes_total{channel="SMS",provider="",kind="expired"} 1',
        'heliograph_delivery_latency_seconds_bucket{le="0.005",channel="SMS",lane="BULK"} 1',
        'heliograph_delivery_latency_seconds_bucket{le="0.1",channel="SMS",lane="BULK"} 2',
        'heliograph_delivery_latency_seconds_sum{channel="SMS",lane="BULK"} 0.07',
      ]),
    );
    expect(await metrics.text()).toContain('heliograph_requests_accepted_total{lane="BULK"} 2\n');
  });

  it('are of one process part and of no other', async () => {
    const [one, other] = [openMetrics(Date.now), openMetrics(Date.now)];
    one.replayed();
    expect(await other.text()).toContain('heliograph_requests_replayed_total 0\n');
  });

  it('ask the queues once for all who scrape at a time', async () => {
    const metrics = openMetrics(Date.now);
    const queues = vi.fn(() => Promise.resolve([QUEUE]));
    metrics.watch({ queues });
    const texts = await Promise.all([metrics.text(), metrics.text(), metrics.text()]);
    for (const text of texts) {
      expect(text).toContain('heliograph_queue_depth{queue="sms.bulk"} 3\n');
      expect(text).toContain('heliograph_queue_oldest_age_seconds{queue="sms.bulk"} 0\n');
      expect(text).toContain('heliograph_queues_up 1\n');
    }
    expect(queues).toHaveBeenCalledTimes(1);
  });

  it.each<[string, () => Promise<Queues>]>([
    ['fail', () => Promise.reject(new Error('away'))],
    ['are silent', () => delay(60_000, [QUEUE], { ref: false })],
  ])('come without the queues while those %s, and say so', async (_, queues) => {
    const metrics = openMetrics(Date.now);
    metrics.watch({ queues, head: () => Promise.resolve(''), freeBytes: () => 7 });
    const text = await metrics.text();
    expect(text).not.toMatch(/^heliograph_queue_depth\{/m);
    expect(text).toContain('heliograph_queues_up 0\n');
    expect(text).toContain('heliograph_event_log_up 1\n');
    expect(text).toContain('heliograph_disk_free_bytes 7\n');
    const later = await metrics.text();
    expect(later).toContain('heliograph_scrape_errors_total{source="queues"} 1\n');
  });

  it('leave out what this process does not have', async () => {
    const metrics = openMetrics(Date.now);
    const before = await metrics.text();
    expect(before).not.toMatch(/^heliograph_(queues_up|event_log_up|ingest_lag_seconds|disk_free_bytes|lease_held)/m);
    const leases = new Map([['route', true]]);
    metrics.watch({ leases: () => leases, ingestLagMs: () => 1_500, queues: () => Promise.resolve([]) });
    expect(await metrics.text()).toContain('heliograph_queues_up 1\n');
    expect(await metrics.text()).toMatch(/^heliograph_lease_held\{role="route"\} 1$/m);
    expect(await metrics.text()).toMatch(/^heliograph_ingest_lag_seconds 1.5$/m);
    leases.set('route', false);
    expect(await metrics.text()).toMatch(/^heliograph_lease_held\{role="route"\} 0$/m);
    metrics.watch({ ingestLagMs: () => null });
    expect(await metrics.text()).not.toMatch(/^heliograph_ingest_lag_seconds /m);
  });

  it('tell of each sender whether its thread runs', async () => {
    const metrics = openMetrics(Date.now);
    expect(await metrics.text()).not.toMatch(/^heliograph_sender_up\{/m);
    let isUp = true;
    metrics.watch({
      senders: [
        { channel: 'SMS', provider: 'twilio', isUp: () => isUp },
        { channel: 'EMAIL', provider: 'smtp', isUp: () => true },
      ],
    });
    expect(await metrics.text()).toContain('heliograph_sender_up{channel="SMS",provider="twilio"} 1\n');
    isUp = false;
    const text = await metrics.text();
    expect(text).toContain('heliograph_sender_up{channel="SMS",provider="twilio"} 0\n');
    expect(text).toContain('heliograph_sender_up{channel="EMAIL",provider="smtp"} 1\n');
  });

  it('tell how far projections are behind', async () => {
    const metrics = openMetrics(() => 100_000);
    const status = { name: 'route', position: '' as never, live: true, parked: 0, mayAct: true };
    metrics.watch({
      projections: [
        () => ({ ...status, unhandledSince: 97_500 }),
        () => ({ ...status, name: 'dispatch', unhandledSince: null }),
      ],
    });
    const text = await metrics.text();
    expect(text).toContain('heliograph_projection_lag_seconds{projection="route"} 2.5\n');
    expect(text).toContain('heliograph_projection_lag_seconds{projection="dispatch"} 0\n');
  });
});
