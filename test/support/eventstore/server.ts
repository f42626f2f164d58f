import { randomUUID } from 'node:crypto';

import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import gossip from '@eventstore/db-client/generated/gossip_pb.js';
import type { ClusterInfo } from '@eventstore/db-client/generated/gossip_pb.js';
import { GossipService } from '@eventstore/db-client/generated/gossip_grpc_pb.js';
import features from '@eventstore/db-client/generated/serverfeatures_pb.js';
import type { SupportedMethods } from '@eventstore/db-client/generated/serverfeatures_pb.js';
import { ServerFeaturesService } from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js';
import type { Empty } from '@eventstore/db-client/generated/shared_pb.js';
import { StreamsService } from '@eventstore/db-client/generated/streams_grpc_pb.js';

import { start, type Started } from '../../../src/lifecycle.ts';
import { appendHandler, batchAppendHandler, deleteHandler, tombstoneHandler } from './appending.ts';
import { faultList, openGate, type Aim, type AppendFault, type Lift, type ReadFault } from './faults.ts';
import { openFront, type Front } from './front.ts';
import { openEventStoreLog, type EventStoreLog } from './log.ts';
import type { Leader, Member, Node } from './node.ts';
import { readHandler } from './read-call.ts';
import { failures, uuid } from './wire.ts';

export interface EventStoreOptions {
  /** Default any that is free. */
  readonly port?: number;
  /** What the server finds on its disk, for example of one that stopped; default a fresh one. */
  readonly log?: EventStoreLog;
  /** What it says of itself; decides whether it knows batches (21.10) and says caught up (23.10). Default 24.10.0. */
  readonly version?: string;
  /** Bytes; default 1 MiB, as up to 25.0. */
  readonly maxAppendSize?: number;
}

/** Stands in for one node of EventStoreDB, over its own gRPC protocol, and misbehaves on command. */
export interface EventStoreStandIn {
  readonly url: string;
  /** For a client that asks the node first who leads. */
  readonly discoverUrl: string;
  readonly port: number;
  readonly log: () => EventStoreLog;
  readonly counts: {
    readonly appends: () => number;
    /** That came to this node, whatever became of them. */
    readonly reads: () => number;
    /** Subscriptions begun so far, and those open now. */
    readonly subscribed: () => number;
    readonly subscriptions: () => number;
    readonly batchStreams: () => number;
    /** Calls for appends begun so far. */
    readonly batchCalls: () => number;
    /** Connections open now, and those accepted so far. */
    readonly connections: () => number;
    readonly accepted: () => number;
  };
  readonly failAppends: (fault: AppendFault, aim?: Aim) => Lift;
  readonly failReads: (fault: ReadFault, aim?: Aim) => Lift;
  /** Hits subscriptions that begin; those that run are hit by the methods below. */
  readonly failSubscribing: (fault: ReadFault, aim?: Aim) => Lift;
  /** Ends the subscriptions that run, as if all were well. */
  readonly endSubscriptions: () => void;
  /** Breaks the subscriptions that run: UNAVAILABLE. */
  readonly breakSubscriptions: () => void;
  /** Subscriptions send nothing until lifted; they fall behind meanwhile. */
  readonly stallSubscriptions: () => Lift;
  /** Ends the calls that appends go through, as if all were well. */
  readonly endBatchStreams: () => void;
  /** Resets all TCP connections. */
  readonly dropConnections: () => void;
  /** Passes no byte on in either direction, and closes nothing, until lifted. */
  readonly freeze: () => Lift;
  /** What is connected now hangs for good; new connections work. */
  readonly hangConnections: () => void;
  /**
   * Refuses connections; what the server had in memory is gone. After a crash connections are reset, at a shutdown
   * the calls under way are cancelled first.
   */
  readonly goDown: (how?: 'crash' | 'shutdown') => Promise<void>;
  /** Serves again, on the same port. */
  readonly comeBack: () => Promise<void>;
  /** Calls that require the leader are refused with its address, or altogether, unless this node leads. */
  readonly follow: (leader: Leader) => void;
  /** What it tells clients that look for a node; by default itself alone, leading. */
  readonly gossip: (members: () => readonly Member[]) => void;
  /** Its data are gone: a fresh log. To be called while it is down, or what reads it will notice nothing. */
  readonly wipe: () => void;
}

const MAX_MESSAGE_BYTES = 17 * 1024 * 1024;

export function startEventStore(options: EventStoreOptions = {}): Promise<Started<EventStoreStandIn>> {
  return start(async (scope) => {
    let log = options.log ?? openEventStoreLog();
    log.forgetMemory();
    const version = options.version ?? '24.10.0';
    const facing: { front?: Front } = {};
    const dropConnections = (): void => facing.front?.drop();
    const node = scope.use(openNode({ log: () => log, version, dropConnections, options }));
    const inner = scope.use(await serve(node, version));
    const front = scope.use(await openFront(inner.port, options.port ?? 0));
    facing.front = front;
    const address = { host: '127.0.0.1', port: front.port };
    node.members = () => [{ address, leads: node.leader === 'self', alive: true }];
    const wipe = (): void => {
      log = openEventStoreLog();
    };
    return standIn({ node, front, wipe, drain: inner.drain });
  });
}

interface Parts {
  readonly node: Node;
  readonly front: Front;
  readonly wipe: () => void;
  readonly drain: () => void;
}

function standIn({ node, front, wipe, drain }: Parts): EventStoreStandIn {
  const each = <T>(set: ReadonlySet<T>, work: (item: T) => void): void => [...set].forEach(work);
  const host = `127.0.0.1:${String(front.port)}`;
  return {
    url: `esdb://${host}?tls=false`,
    discoverUrl: `esdb+discover://${host}?tls=false`,
    port: front.port,
    log: node.log,
    counts: {
      appends: () => node.counts.appends,
      reads: () => node.counts.reads,
      subscribed: () => node.counts.subscribed,
      subscriptions: () => node.subscriptions.size,
      batchStreams: () => node.batchStreams.size,
      batchCalls: () => node.counts.batchCalls,
      connections: front.connections,
      accepted: front.accepted,
    },
    failAppends: node.appendFaults.add,
    failReads: node.readFaults.add,
    failSubscribing: node.subscribeFaults.add,
    endSubscriptions: () => each(node.subscriptions, ({ end }) => end()),
    breakSubscriptions: () => each(node.subscriptions, ({ fail }) => fail(failures.unavailable())),
    stallSubscriptions: node.delivery.shut,
    endBatchStreams: () => each(node.batchStreams, ({ end }) => end()),
    hangConnections: front.hang,
    dropConnections: front.drop,
    freeze: front.freeze,
    goDown: async (how = 'crash') => {
      const calls = [...node.subscriptions, ...node.batchStreams, ...node.others];
      if (how === 'shutdown') {
        for (const { fail } of calls) fail(failures.cancelled());
        drain();
      }
      await front.close(how === 'shutdown');
      node.log().forgetMemory();
    },
    comeBack: front.open,
    follow: (leader) => {
      node.leader = leader;
    },
    gossip: (members) => {
      node.members = members;
    },
    wipe,
  };
}

interface NodeOptions {
  readonly log: () => EventStoreLog;
  readonly version: string;
  readonly dropConnections: () => void;
  readonly options: EventStoreOptions;
}

function openNode({ log, version, dropConnections, options }: NodeOptions): Started<Node> {
  const timers = new Set<NodeJS.Timeout>();
  const node: Node = {
    log,
    maxAppendSize: options.maxAppendSize ?? 1024 * 1024,
    saysCaughtUp: isAtLeast(version, 23, 10),
    leader: 'self',
    members: () => [],
    appendFaults: faultList<AppendFault>(),
    readFaults: faultList<ReadFault>(),
    subscribeFaults: faultList<ReadFault>(),
    delivery: openGate(),
    subscriptions: new Set(),
    batchStreams: new Set(),
    others: new Set(),
    counts: { appends: 0, reads: 0, subscribed: 0, batchCalls: 0 },
    dropConnections,
    later: (ms, work) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        work();
      }, ms);
      timers.add(timer);
    },
  };
  const stop = (): Promise<void> => {
    for (const timer of timers) clearTimeout(timer);
    return Promise.resolve();
  };
  return { value: node, stop };
}

function isAtLeast(version: string, year: number, month: number): boolean {
  const [ownYear = 0, ownMonth = 0] = version.split('.').map(Number);
  return ownYear > year || (ownYear === year && ownMonth >= month);
}

interface Inner {
  readonly port: number;
  /** Tells clients to leave, and closes their connections once their calls are over. */
  readonly drain: () => void;
}

/** Serves on a port of its own. */
async function serve(node: Node, version: string): Promise<Started<Inner>> {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  });
  server.addService(StreamsService, {
    read: readHandler(node),
    append: appendHandler(node),
    batchAppend: batchAppendHandler(node),
    delete: deleteHandler(node),
    tombstone: tombstoneHandler(node),
  });
  server.addService(ServerFeaturesService, {
    getSupportedMethods: (_call: ServerUnaryCall<Empty, SupportedMethods>, answer: sendUnaryData<SupportedMethods>) =>
      answer(null, supportedMethods(version)),
  });
  server.addService(GossipService, {
    read: (_call: ServerUnaryCall<Empty, ClusterInfo>, answer: sendUnaryData<ClusterInfo>) =>
      answer(null, clusterInfo(node)),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error);
      else resolve(bound);
    });
  });
  const stop = (): Promise<void> => {
    server.forceShutdown();
    return Promise.resolve();
  };
  const drain = (): void => server.drain(`127.0.0.1:${String(port)}`, GRACE_MS);
  return { value: { port, drain }, stop };
}

const GRACE_MS = 200;

function supportedMethods(version: string): SupportedMethods {
  const names = ['read', 'append', 'delete', 'tombstone', ...(isAtLeast(version, 21, 10) ? ['batchappend'] : [])];
  const methods = names.map((name) =>
    new features.SupportedMethod()
      .setServiceName('event_store.client.streams.streams')
      .setMethodName(name)
      .setFeaturesList(FEATURES.get(name) ?? []),
  );
  return new features.SupportedMethods().setEventStoreServerVersion(version).setMethodsList(methods);
}

const FEATURES: ReadonlyMap<string, string[]> = new Map([
  ['read', ['position', 'events']],
  ['batchappend', ['deadline_duration']],
]);

function clusterInfo(node: Node): ClusterInfo {
  const { FOLLOWER, LEADER } = gossip.MemberInfo.VNodeState;
  const members = node.members().map(({ address, leads, alive }) =>
    new gossip.MemberInfo()
      .setInstanceId(uuid(randomUUID()))
      .setTimeStamp(String(Date.now()))
      .setState(leads ? LEADER : FOLLOWER)
      .setIsAlive(alive)
      .setHttpEndPoint(new gossip.EndPoint().setAddress(address.host).setPort(address.port)),
  );
  return new gossip.ClusterInfo().setMembersList(members);
}
