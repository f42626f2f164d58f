import type { Broker, QueueDepth, QueueName } from '../ports/broker/broker.ts';
import type { State } from '../ports/state/state.ts';
import { deadEntries, oldestDue } from './dispatch-index.ts';

/**
 * What waits for a queue, wherever it waits: in the queue, or in the index because the queue is full, because its time
 * has not come, or because its claim has not run out. `dead` are the dead letters.
 */
export async function queueFigures(
  { state, broker, now }: { readonly state: State; readonly broker: Broker; readonly now: () => number },
  queue: QueueName,
): Promise<QueueDepth> {
  const inQueue = await broker.depth(queue);
  const time = now();
  const unpublished = state.count(['due', queue], { to: ['due', queue, time + 1] });
  const later = state.count(['due', queue], { from: ['due', queue, time + 1] });
  const published = state.count(['fed', broker.session, queue]);
  // Jobs in hand have a claim that runs: they are due again when it runs out, and are no retries.
  const inHand = Math.max(0, inQueue.depth - published);
  const oldest = oldestDue(state, queue, broker.session);
  return {
    depth: inQueue.depth + unpublished,
    retrying: inQueue.retrying + Math.max(0, later - inHand),
    dead: deadEntries(state, queue),
    oldestSeconds: oldest === null || oldest > time ? null : (time - oldest) / 1_000,
  };
}
