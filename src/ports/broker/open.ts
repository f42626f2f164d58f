import type { Broker, Job, QueueName } from './broker.ts';
import { openInProcessBroker } from './in-process.ts';
import type { Started } from '../../lifecycle.ts';

export interface BrokerChoice {
  readonly kind: 'memory';
}

/** The broker that the configuration names. `onFault` hears of handlers that threw or ran out of time. */
export function openBroker(
  _choice: BrokerChoice,
  onFault: (error: unknown, queue: QueueName, job: Job) => void,
): Started<Broker> {
  return openInProcessBroker({ onFault });
}
