import { afterEach, describe, expect, it } from 'vitest';
import { openScope, type Scope } from '../../src/lifecycle.ts';
import { openLink } from '../../src/ports/broker/rabbitmq-link.ts';
import { openPublisher, type Publisher } from '../../src/ports/broker/rabbitmq-publisher.ts';

const MESSAGE = { lane: 'sms.bulk', queue: 'q', body: 'b' };

describe('closing a publisher whose server is gone', () => {
  let scope: Scope = openScope();
  afterEach(async () => {
    await scope.stop();
    scope = openScope();
  });

  /** Nobody listens; `waits` counts how often it has waited for the server. */
  const open = (): { publisher: Publisher; waits: () => number } => {
    let waits = 0;
    const link = openLink('amqp://guest:guest@127.0.0.1:9', 'publishing', () => undefined);
    scope.use({ value: link, stop: link.close });
    const ready = (timeoutMs: number): Promise<void> => {
      waits += 1;
      return link.ready(timeoutMs);
    };
    return { publisher: openPublisher({ ...link, ready }, 20), waits: () => waits };
  };

  it('does not wait for the server where there is nothing to send', async () => {
    const { publisher, waits } = open();
    await expect(publisher.send(MESSAGE)).rejects.toMatchObject({ name: 'BrokerUnavailable' });
    expect(waits()).toBe(1);
    await publisher.close();
    expect(waits()).toBe(1);
  });

  it('still tries what was handed to it in the same turn', async () => {
    const { publisher, waits } = open();
    const sending = expect(publisher.send(MESSAGE)).rejects.toMatchObject({ name: 'BrokerUnavailable' });
    await publisher.close();
    await sending;
    expect(waits()).toBe(1);
  });
});
