import { describe, expect, it } from 'vitest';
import { QUEUES } from '../../src/ports/broker/broker.ts';
import { LONGEST_DELAY_MS } from '../../src/ports/broker/job.ts';
import { RETRY_STEPS_MS, topologyOf } from '../../src/ports/broker/topology.ts';

const topology = topologyOf({ prefix: 'mine.', capacity: 20_000, retryStepsMs: RETRY_STEPS_MS });
const argumentsOf = (queue: string): object | undefined =>
  topology.queues.find((each) => each.queue === queue)?.arguments;

describe('the table of queues on a server', () => {
  it('has a work queue, a dead-letter queue and one queue a retry step for each queue there is, and no other', () => {
    const names = QUEUES.flatMap((name) => [topology.work(name), topology.dead(name), ...topology.retries(name)]);
    expect(topology.queues.map(({ queue }) => queue).toSorted()).toEqual(names.toSorted());
    expect(names.every((name) => name.startsWith('mine.'))).toBe(true);
    expect(names).toHaveLength(QUEUES.length * (2 + RETRY_STEPS_MS.length));
  });

  it('keeps every message on a majority of servers, and loses none on its way to another queue', () => {
    for (const { queue, arguments: args } of [...topology.queues, topology.session]) {
      expect(args).toMatchObject({ 'x-queue-type': 'quorum' });
      if (!('x-dead-letter-exchange' in args)) continue;
      expect(args, queue).toMatchObject({ 'x-overflow': 'reject-publish', 'x-dead-letter-strategy': 'at-least-once' });
    }
  });

  it('sets a job aside after twenty deliveries without an answer, and removes no other message for being looked at', () => {
    const works = QUEUES.map((name) => topology.work(name));
    for (const { queue, arguments: args } of [...topology.queues, topology.session]) {
      expect(args['x-delivery-limit'], queue).toBe(works.includes(queue) ? 1_000 : 2 ** 31 - 1);
    }
  });

  it('sends what a work queue gives up to the dead letters, and what has waited back to work', () => {
    expect(argumentsOf('mine.sms.bulk')).toMatchObject({ 'x-dead-letter-routing-key': 'mine.sms.bulk.dead' });
    expect(argumentsOf('mine.sms.bulk.retry.30s')).toMatchObject({
      'x-dead-letter-routing-key': 'mine.sms.bulk',
      'x-message-ttl': 30_000,
    });
  });

  it.each([
    [1, '1s'],
    [1_000, '1s'],
    [1_001, '5s'],
    [25_000, '30s'],
    [300_001, '3600s'],
    [LONGEST_DELAY_MS, '3600s'],
  ])('rounds a delay of %i ms up to the step of %s', (afterMs, step) => {
    expect(topology.retryAfter('email.bulk', afterMs)).toBe(`mine.email.bulk.retry.${step}`);
  });
});
