import type { Broker, Job, QueueName } from './broker.ts';
import { openInProcessBroker } from './in-process.ts';
import { openRabbitMq } from './rabbitmq.ts';
import type { Started } from '../../lifecycle.ts';
import type { Log } from '../../log.ts';

export type BrokerChoice =
  | { readonly kind: 'memory' }
  | {
      readonly kind: 'amqp';
      /** amqp:// or amqps://, with user, password and virtual host. */
      readonly url: string;
      /** What the names of all queues begin with. */
      readonly prefix: string;
    };

/** The broker that the configuration names; it tells the log of handlers that threw or ran out of time. */
export async function openBroker(choice: BrokerChoice, log: Log): Promise<Started<Broker>> {
  const onFault = (err: unknown, queue: QueueName, job: Job): void => {
    log.error({ err, queue, job }, 'a job failed');
  };
  if (choice.kind === 'memory') return openInProcessBroker({ onFault });
  try {
    return await openRabbitMq({ url: choice.url, prefix: choice.prefix, onFault, log });
  } catch (error) {
    const why = error instanceof Error ? error.message.trimEnd() : String(error);
    throw new Error(`BROKER_URL: ${why}`, { cause: error });
  }
}
