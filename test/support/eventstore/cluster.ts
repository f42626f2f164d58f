import { start, type Started } from '../../../src/lifecycle.ts';
import { openEventStoreLog } from './log.ts';
import type { Member } from './node.ts';
import { startEventStore, type EventStoreStandIn } from './server.ts';

/** Several nodes that hold the same log at any moment; the first leads at the beginning. */
export interface EventStoreCluster {
  readonly nodes: readonly EventStoreStandIn[];
  /** Names all nodes, to be asked who leads. */
  readonly url: string;
  /** Makes this node lead, or none; the new leader remembers no ids. */
  readonly elect: (leader: EventStoreStandIn | 'nobody') => void;
  /** Takes a node down; `elect` another afterwards if it led. */
  readonly kill: (node: EventStoreStandIn, how?: 'crash' | 'shutdown') => Promise<void>;
  readonly revive: (node: EventStoreStandIn) => Promise<void>;
}

export function startEventStoreCluster(size = 3): Promise<Started<EventStoreCluster>> {
  return start(async (scope) => {
    const log = openEventStoreLog();
    const nodes: EventStoreStandIn[] = [];
    while (nodes.length < size) nodes.push(scope.use(await startEventStore({ log })));
    const dead = new Set<EventStoreStandIn>();
    let leader: EventStoreStandIn | 'nobody' = 'nobody';
    const addressOf = ({ port }: EventStoreStandIn): Member['address'] => ({ host: '127.0.0.1', port });
    const members = (): Member[] =>
      nodes.map((node) => ({ address: addressOf(node), leads: node === leader, alive: !dead.has(node) }));
    const elect = (elected: EventStoreStandIn | 'nobody'): void => {
      leader = elected;
      log.forgetMemory();
      for (const node of nodes) {
        if (elected === 'nobody') node.follow('nobody');
        else node.follow(node === elected ? 'self' : addressOf(elected));
      }
    };
    for (const node of nodes) node.gossip(members);
    elect(nodes[0] ?? 'nobody');
    const hosts = nodes.map(({ port }) => `127.0.0.1:${String(port)}`);
    return {
      nodes,
      url: `esdb://${hosts.join(',')}?tls=false`,
      elect,
      kill: async (node, how = 'crash') => {
        dead.add(node);
        await node.goDown(how);
      },
      revive: async (node) => {
        dead.delete(node);
        await node.comeBack();
      },
    };
  });
}
