import { once } from 'node:events';
import { connect, createServer, Socket, type AddressInfo } from 'node:net';
import type { Connection } from 'rabbitmq-client';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { openScope, type Scope, type Started } from '../../src/lifecycle.ts';
import { QueueFull, type Broker, type Job, type Verdict } from '../../src/ports/broker/broker.ts';
import { openRabbitMq, type RabbitMqOptions } from '../../src/ports/broker/rabbitmq.ts';
import { dispatch, startRouting, POLICY } from '../support/dispatching.ts';
import { createDeliveries } from '../../src/commands/deliveries.ts';
import { eventually } from '../support/eventually.ts';
import { openEmptyRabbitMq, TEST_STEPS_MS, topologyFor, withRabbit } from '../support/rabbitmq-broker.ts';
import { lacksRabbit, startRabbit, type RabbitServer } from '../support/rabbitmq-server.ts';
import { openTcpProxy } from '../support/tcp-proxy.ts';
import { registered, requestedMany, typesOf, withWorld } from '../support/world.ts';
import { collector, consumeWith, deferred, ids, newJob, publishAll } from './broker.contract.ts';

const ACK: Verdict = { kind: 'ack' };
const PREFIX = 'faults.';
const OPTIONS = { prefix: PREFIX, retryStepsMs: TEST_STEPS_MS, failureRetryMs: 1, timeoutMs: 10_000 } as const;
/** A server takes four seconds to start on an idle machine, and ten times as long on a busy one. */
const LONG = { timeoutMs: 60_000, pauseMs: 20 };

describe.skipIf(lacksRabbit())('the RabbitMQ broker', () => {
  let running: Started<RabbitServer>;
  let server: RabbitServer;
  let scope: Scope;
  beforeAll(async () => {
    running = await startRabbit();
    server = running.value;
  }, 180_000);
  afterAll(() => running.stop());

  const open = async (options: Partial<RabbitMqOptions> = {}): Promise<Broker> =>
    scope.use(await openRabbitMq({ url: server.url, ...OPTIONS, ...options }));
  const openEmpty = async (options: Partial<RabbitMqOptions> = {}): Promise<Broker> =>
    scope.use(await openEmptyRabbitMq({ url: server.url, ...OPTIONS, ...options }));
  /** On the queues of a broker that `openEmpty` opened, by another way to the server. */
  const openWorker = (url: string): Promise<Broker> => open({ url, prefix: `${PREFIX}usual.` });
  /** Of a broker that `openEmpty` opened. */
  const queues = (): ReturnType<typeof topologyFor> => topologyFor({ prefix: `${PREFIX}usual.` });
  /** The queue of bulk texts, past the adapter. */
  const deleteAndMakeAgain = async (rabbit: Connection): Promise<void> => {
    const queue = queues().work('sms.bulk');
    const made = queues().queues.find((each) => each.queue === queue);
    await rabbit.queueDelete(queue);
    await rabbit.queueDeclare({ queue, durable: true, ...made });
  };
  beforeAll(() => {
    scope = openScope();
  });
  afterEach(async () => {
    await scope.stop();
    scope = openScope();
  });

  describe('publishing', () => {
    it('rejects what no queue takes, makes the queue again, and has another session then', async () => {
      const broker = await openEmpty();
      const { session } = broker;
      await withRabbit(server.url, (rabbit) => rabbit.queueDelete(queues().work('sms.bulk')));
      await expect(broker.publish('sms.bulk', newJob())).rejects.toThrow('there is no queue');
      await eventually(() => broker.publish('sms.bulk', newJob()), LONG);
      await eventually(() => {
        expect(broker.session).not.toBe(session);
      });
    });

    it('hands what one turn publishes to the system in one call', async () => {
      const broker = await openEmpty();
      const writes = vi.spyOn(Socket.prototype, '_writev');
      try {
        await Promise.all(ids(300).map((deliveryId) => broker.publish('sms.bulk', newJob({ deliveryId }))));
        const pieces = writes.mock.calls.map(([chunks]) => chunks.length);
        // Method, header and body.
        expect(pieces).toContain(3 * 300);
      } finally {
        writes.mockRestore();
      }
    });

    it('confirms exactly those that a full queue took, of many at once', async () => {
      const broker = await openEmpty({ capacity: 5 });
      const jobs = ids(400).map((deliveryId) => newJob({ deliveryId }));
      const results: PromiseSettledResult<void>[] = [];
      // The server stops its publishers a while after a queue is full; all of the first may have been under way by then.
      for (let times = 0; times < 20 && results.every(({ status }) => status === 'fulfilled'); times += 1) {
        results.push(...(await Promise.allSettled(jobs.map((job) => broker.publish('sms.bulk', job)))));
      }
      const taken = results.filter(({ status }) => status === 'fulfilled').length;
      const refusals = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
      expect(taken).toBeGreaterThanOrEqual(5);
      expect(refusals.length).toBeGreaterThan(0);
      expect(refusals.every((reason) => reason instanceof QueueFull)).toBe(true);
      expect(await broker.depth('sms.bulk')).toMatchObject({ depth: taken });
    });

    it('writes jobs so that they outlive a crash of the server; stopping and closing do not wait for it', async () => {
      const broker = await openEmpty();
      const other = await openRabbitMq({ url: server.url, ...OPTIONS });
      const consumer = await consumeWith(other.value, { queues: ['sms.bulk'] }, () => Promise.resolve(ACK));
      const { session } = broker;
      const jobs = ids(200).map((deliveryId) => newJob({ deliveryId }));
      await Promise.all(jobs.map((job) => broker.publish('email.bulk', job)));
      await server.halt('SIGKILL');
      await consumer.stop(10_000);
      await other.stop();
      await server.boot();
      const seen = await collector(broker, { queues: ['email.bulk'], concurrency: 20 });
      await eventually(() => {
        expect(new Set(seen.map(({ deliveryId }) => deliveryId)).size).toBe(200);
      }, LONG);
      expect(broker.session).toBe(session);
    }, 180_000);

    it('gives up on a server that says nothing, and goes on when it speaks again', async () => {
      const broker = await openEmpty({ timeoutMs: 300 });
      server.freeze(true);
      try {
        await expect(broker.publish('sms.bulk', newJob())).rejects.toMatchObject({ name: 'BrokerUnavailable' });
        await expect(broker.depth('sms.bulk')).rejects.toThrow();
      } finally {
        server.freeze(false);
      }
      await eventually(() => broker.publish('sms.bulk', newJob()), LONG);
      await eventually(async () => {
        expect((await broker.depth('sms.bulk')).depth).toBeGreaterThan(0);
      }, LONG);
    });

    it('gives up while the server is short of memory; depths, deliveries and acknowledgements go on', async () => {
      const broker = await openEmpty({ timeoutMs: 500 });
      await publishAll(broker, 'sms.bulk', ids(20));
      await server.ctl('set_vm_memory_high_watermark', '0.00001');
      try {
        await eventually(() => expect(broker.publish('email.bulk', newJob())).rejects.toThrow('RabbitMQ'), LONG);
        const seen = await collector(broker, { queues: ['sms.bulk'], concurrency: 4 });
        await eventually(async () => {
          expect(seen).toHaveLength(20);
          expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0 });
        }, LONG);
        await expect(broker.publish('email.bulk', newJob())).rejects.toThrow('takes nothing now');
      } finally {
        await server.ctl('set_vm_memory_high_watermark', '0.4');
      }
      await eventually(() => broker.publish('email.bulk', newJob()), LONG);
    }, 180_000);
  });

  describe('a message that is no job', () => {
    it('goes to the dead-letter queue and holds up nobody', async () => {
      const broker = await openEmpty();
      const poison = [Buffer.from('{"tenant":'), Buffer.from([0xff, 0xfe]), Buffer.from('"text"'), Buffer.from('{}')];
      await withRabbit(server.url, async (rabbit) => {
        const channel = await rabbit.acquire();
        await channel.confirmSelect();
        for (const body of poison) {
          await channel.basicPublish(
            { routingKey: queues().work('sms.bulk'), durable: true, contentType: 'application/json' },
            body,
          );
        }
      });
      await broker.publish('sms.bulk', newJob());
      const seen = await collector(broker, { queues: ['sms.bulk'] });
      await eventually(async () => {
        expect(seen).toEqual([newJob()]);
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, dead: poison.length });
      }, LONG);
    });

    it('is told from a dead job by its headers', async () => {
      const broker = await openEmpty();
      await broker.publish('sms.bulk', newJob());
      await collector(broker, { queues: ['sms.bulk'] }, () => ({ kind: 'dead', reason: 'NO_USE' }));
      await withRabbit(server.url, async (rabbit) => {
        const dead = await eventually(async () => {
          const message = await rabbit.basicGet(queues().dead('sms.bulk'));
          if (message === undefined) throw new Error('nothing there yet');
          return message;
        });
        expect(dead.body).toEqual(newJob());
        expect(dead.headers).toMatchObject({ reason: 'NO_USE' });
        expect(dead.durable).toBe(true);
      });
    });
  });

  describe('a job whose consumer dies again and again', () => {
    it('is set aside after a thousand deliveries', async () => {
      const broker = await openEmpty();
      await broker.publish('sms.bulk', newJob());
      await withRabbit(server.url, async (rabbit) => {
        const channel = await rabbit.acquire();
        let times = 0;
        await channel.basicConsume({ queue: queues().work('sms.bulk') }, ({ deliveryTag }) => {
          times += 1;
          channel.basicNack({ deliveryTag, requeue: true });
        });
        await eventually(async () => {
          expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, dead: 1 });
        }, LONG);
        expect(times).toBe(1_001);
      });
    });
  });

  describe('opening', () => {
    it('refuses queues that were made with other arguments, says which, and shows no password', async () => {
      await open();
      const other = openRabbitMq({ url: server.url, ...OPTIONS, capacity: 7 });
      await expect(other).rejects.toThrow(/^the queue faults\.[\w.]+ exists with other arguments .*x-max-length/);
      await expect(other).rejects.not.toThrow('guest:guest');
    });

    it.each([
      ['a wrong password', (url: string) => url.replace('guest:guest', 'guest:hunter2'), /ACCESS_REFUSED/],
      ['an unknown virtual host', (url: string) => `${url}/nope`, /NOT_ALLOWED/],
    ])('fails at once with %s, and does not show it', async (_what, change, message) => {
      const refused = openRabbitMq({ url: change(server.url), ...OPTIONS });
      await expect(refused).rejects.toThrow(message);
      await expect(refused).rejects.not.toThrow('hunter2');
    });

    it('fails when nobody is there in time', async () => {
      const nobody = openRabbitMq({ url: 'amqp://guest:hunter2@127.0.0.1:9', ...OPTIONS, startMs: 300 });
      await expect(nobody).rejects.toThrow(/^RabbitMQ cannot be used: ECONNREFUSED/);
    });

    it('looks up no name where the URL has an IPv6 address', async () => {
      const nobody = openRabbitMq({ url: 'amqp://guest:hunter2@[::1]:9', ...OPTIONS, startMs: 2_000 });
      // Where a machine has no such addresses, that is said of this one.
      await expect(nobody).rejects.toThrow(/^RabbitMQ cannot be used: E\w+ connect E\w+ ::1:9/);
    });

    it('has a connection each for publishing, consuming and looking, and notices within 15 seconds that one is dead', async () => {
      await open();
      await eventually(async () => {
        const connections = await server.ctl('-q', 'list_connections', 'timeout', 'client_properties');
        const ours = connections.split('\n').flatMap((line) => {
          const [, timeout, purpose] = /^(\d+)\t.*"connection_name","heliograph (\w+)"/.exec(line) ?? [];
          return purpose === undefined ? [] : [`${purpose} ${String(timeout)}`];
        });
        expect(ours.toSorted()).toEqual(['consuming 6', 'looking 6', 'publishing 6']);
      }, LONG);
    }, 60_000);

    it('finds the same session and the same dead jobs however often somebody has looked at them', async () => {
      const broker = await openEmpty();
      await broker.publish('sms.bulk', newJob());
      await collector(broker, { queues: ['sms.bulk'] }, () => ({ kind: 'dead', reason: 'NO_USE' }));
      await eventually(async () => {
        expect(await broker.depth('sms.bulk')).toMatchObject({ dead: 1 });
      });
      await withRabbit(server.url, async (rabbit) => {
        const channel = await rabbit.acquire();
        for (const queue of [queues().session.queue, queues().dead('sms.bulk')]) {
          for (let times = 0; times < 50; times += 1) {
            // Whoever opens a broker at the same moment has it in hand.
            const { deliveryTag } = await eventually(async () => {
              const message = await channel.basicGet(queue);
              if (message === undefined) throw new Error(`nothing in ${queue} at the look number ${String(times)}`);
              return message;
            });
            channel.basicNack({ deliveryTag, requeue: true });
          }
        }
      });
      expect((await openWorker(server.url)).session).toBe(broker.session);
      expect(await broker.depth('sms.bulk')).toMatchObject({ dead: 1 });
    });

    it('finds the session of an earlier one, and that of another process', async () => {
      const first = await open();
      const second = await open();
      expect(second.session).toBe(first.session);
      await scope.stop();
      scope = openScope();
      expect((await open()).session).toBe(first.session);
    });
  });

  describe('consuming', () => {
    it('goes on after a cut, though a handler hangs', async () => {
      const broker = await openEmpty();
      await publishAll(broker, 'sms.bulk', ['hangs']);
      const never = deferred<Verdict>();
      const seen: string[] = [];
      await consumeWith(broker, { queues: ['sms.bulk'], concurrency: 2, timeLimitMs: 25_000 }, ({ deliveryId }) => {
        seen.push(deliveryId);
        return deliveryId === 'hangs' && seen.length === 1 ? never.promise : Promise.resolve(ACK);
      });
      await eventually(() => {
        expect(seen).toEqual(['hangs']);
      });
      await server.ctl('close_all_connections', 'a test cuts them');
      // In doubt is what was not confirmed; it comes again.
      await publishSurely(broker, ids(5));
      await eventually(async () => {
        expect(new Set(seen)).toEqual(new Set(['hangs', ...ids(5)]));
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0 });
      }, LONG);
      never.resolve(ACK);
    }, 180_000);

    it('acknowledges what is done around a job that is not, and never that one', async () => {
      const broker = await openEmpty();
      await publishAll(broker, 'sms.bulk', ids(20));
      const hangs = new Set([ids(20)[7], ids(20)[12]]);
      const never = deferred<Verdict>();
      const seen: string[] = [];
      await consumeWith(broker, { queues: ['sms.bulk'], concurrency: 20, timeLimitMs: 60_000 }, ({ deliveryId }) => {
        seen.push(deliveryId);
        return seen.length <= 20 && hangs.has(deliveryId) ? never.promise : Promise.resolve(ACK);
      });
      await eventually(async () => {
        const lines = await server.ctl('-q', 'list_queues', 'name', 'messages_ready', 'messages_unacknowledged');
        expect(lines.split('\n')).toContain(`${queues().work('sms.bulk')}\t0\t2`);
      }, LONG);
      await server.ctl('close_all_connections', 'a test cuts them');
      await eventually(async () => {
        expect(new Set(seen.slice(20))).toEqual(hangs);
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0 });
      }, LONG);
      never.resolve(ACK);
    }, 120_000);

    it('attaches again whenever and however often it is cut, and leaves no job lying', async () => {
      const broker = await openEmpty();
      const { value: proxy, stop } = await openTcpProxy(() => Number(new URL(server.url).port));
      scope.use({ value: proxy, stop });
      const worker = await openWorker(`amqp://guest:guest@127.0.0.1:${String(proxy.port)}`);
      const seen = await collector(worker, { queues: ['sms.transactional', 'sms.bulk'], concurrency: 4 });
      for (let cut = 0; cut < 30; cut += 1) {
        await publishSurely(broker, [String(cut)]);
        // At another point of its coming back each time.
        for (let turns = 0; turns < cut * 8; turns += 1) await new Promise(setImmediate);
        proxy.become({ kind: 'ok' });
      }
      await eventually(async () => {
        expect(new Set(seen.map(({ deliveryId }) => deliveryId)).size).toBe(30);
        const [line = ''] = (await server.ctl('-q', 'list_queues', 'name', 'messages', 'consumers'))
          .split('\n')
          .filter((each) => each.startsWith(`${queues().work('sms.bulk')}\t`));
        expect(line.split('\t').slice(1)).toEqual(['0', '1']);
      }, LONG);
    }, 120_000);

    it('goes on after its queue was deleted and made again at once by somebody else, session and all others untouched', async () => {
      const broker = await openEmpty({ ensureEveryMs: 100 });
      const seen = await collector(broker, { queues: ['email.transactional', 'sms.bulk'] });
      await withRabbit(server.url, async (rabbit) => {
        for (let times = 0; times < 10; times += 1) {
          await deleteAndMakeAgain(rabbit);
          await publishSurely(broker, [String(times)]);
          await eventually(() => {
            expect(seen.at(-1)?.deliveryId).toBe(String(times));
          }, LONG);
        }
      });
    }, 120_000);

    it('goes on after that though a job from before is still in hand', async () => {
      const broker = await openEmpty({ ensureEveryMs: 100 });
      await publishAll(broker, 'sms.bulk', ['hangs']);
      const never = deferred<Verdict>();
      const seen: string[] = [];
      await consumeWith(broker, { queues: ['sms.bulk'], concurrency: 3, timeLimitMs: 100_000 }, ({ deliveryId }) => {
        seen.push(deliveryId);
        return deliveryId === 'hangs' ? never.promise : Promise.resolve(ACK);
      });
      await eventually(() => {
        expect(seen).toEqual(['hangs']);
      });
      await withRabbit(server.url, deleteAndMakeAgain);
      await publishSurely(broker, ids(8));
      await eventually(() => {
        expect(new Set(seen)).toEqual(new Set(['hangs', ...ids(8)]));
      }, LONG);
      never.resolve(ACK);
    }, 120_000);

    it('is given each job while it attaches anew all the time, as one does that has nothing to do', async () => {
      const broker = await openEmpty({ ensureEveryMs: 20 });
      const seen = await collector(broker, { queues: ['sms.transactional', 'sms.bulk'], concurrency: 2 });
      for (const deliveryId of ids(60)) {
        await broker.publish('sms.bulk', newJob({ deliveryId }));
        for (let turns = 0; turns < Number(deliveryId) * 4; turns += 1) await new Promise(setImmediate);
      }
      await eventually(async () => {
        expect(new Set(seen.map(({ deliveryId }) => deliveryId))).toEqual(new Set(ids(60)));
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, dead: 0 });
      }, LONG);
    }, 120_000);

    it('goes on after the server took its channel away because a job was in hand for too long', async () => {
      const setTimes = (timeoutMs: number, tickMs: number): Promise<string> => {
        const set = (name: string, ms: number): string => `application:set_env(rabbit, ${name}, ${String(ms)})`;
        return server.ctl('eval', `${set('consumer_timeout', timeoutMs)}, ${set('channel_tick_interval', tickMs)}.`);
      };
      await setTimes(300, 50);
      try {
        const broker = await openEmpty();
        await broker.publish('sms.bulk', newJob());
        const never = deferred<Verdict>();
        let calls = 0;
        await consumeWith(broker, { queues: ['sms.bulk'], concurrency: 2, timeLimitMs: 100_000 }, () =>
          (calls += 1) === 1 ? never.promise : Promise.resolve(ACK),
        );
        await eventually(async () => {
          expect(calls).toBe(2);
          expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0 });
        }, LONG);
        never.resolve(ACK);
      } finally {
        await setTimes(1_800_000, 60_000);
      }
    }, 120_000);

    it('is sent as many jobs of each queue as it may have in hand, and one more where a later queue has to wait for it', async () => {
      const broker = await openEmpty();
      const queuesOf = [
        { name: 'sms.transactional', concurrency: 3 },
        { name: 'sms.bulk', concurrency: 2 },
      ] as const;
      await broker.consume({ queues: queuesOf, concurrency: 4, timeLimitMs: 1_000 }, () => Promise.resolve(ACK));
      await eventually(async () => {
        const consumers = await server.ctl('-q', 'list_consumers', 'queue_name', 'prefetch_count');
        const ours = consumers.split('\n').filter((line) => line.startsWith(`${PREFIX}usual.`));
        const [transactional, bulk] = queuesOf.map(({ name }) => queues().work(name));
        expect(new Set(ours)).toEqual(new Set([`${String(transactional)}\t4`, `${String(bulk)}\t2`]));
      }, LONG);
    }, 60_000);

    it('starts bulk jobs while transactional ones come all the time, each of them started at once', async () => {
      const broker = await openEmpty();
      await publishAll(broker, 'sms.bulk', ids(20));
      // At first more of them than there are places.
      await publishAll(broker, 'sms.transactional', ids(100));
      const far = scope.use(await openFarServer(Number(new URL(server.url).port), 10));
      const worker = await openWorker(`amqp://guest:guest@127.0.0.1:${String(far)}`);
      const seen: string[] = [];
      const flowing = new AbortController();
      const flow = (async () => {
        while (!flowing.signal.aborted) await broker.publish('sms.transactional', newJob());
      })();
      try {
        await consumeWith(worker, { queues: ['sms.transactional', 'sms.bulk'], concurrency: 64 }, ({ tenant }) => {
          seen.push(tenant);
          return Promise.resolve(ACK);
        });
        await eventually(
          () => {
            expect(seen.filter((tenant) => tenant === 'sms.bulk')).toHaveLength(20);
          },
          { timeoutMs: 20_000, pauseMs: 20 },
        );
      } finally {
        flowing.abort();
        await flow;
      }
    }, 60_000);

    it('starts no bulk job while a transactional one is ready, though only one of them is ever on the way', async () => {
      const broker = await openEmpty();
      await publishAll(broker, 'sms.bulk', ids(30));
      await publishAll(broker, 'sms.transactional', ids(30));
      const seen: string[] = [];
      await consumeWith(broker, { queues: ['sms.transactional', 'sms.bulk'] }, async ({ tenant }) => {
        seen.push(tenant);
        await new Promise(setImmediate);
        return ACK;
      });
      await eventually(() => {
        expect(seen).toHaveLength(60);
      }, LONG);
      expect(seen.lastIndexOf('sms.transactional')).toBe(29);
    });
  });

  describe('a server that is stopped and started', () => {
    it('in the middle of publications and deliveries loses no job that it confirmed, and has the same session', async () => {
      const broker = await openEmpty();
      const { session } = broker;
      const seen = new Set<string>();
      await consumeWith(broker, { queues: ['sms.bulk'], concurrency: 8 }, async ({ deliveryId }) => {
        await new Promise(setImmediate);
        const isFirst = !seen.has(deliveryId);
        seen.add(deliveryId);
        return isFirst && seen.size % 5 === 0 ? { kind: 'retry', afterMs: 5 } : ACK;
      });
      const published = publishSurely(broker, ids(500));
      await eventually(() => {
        expect(seen.size).toBeGreaterThan(100);
      }, LONG);
      await server.halt();
      await server.boot();
      await published;
      await eventually(async () => {
        expect(seen.size).toBe(500);
        expect(await broker.depth('sms.bulk')).toMatchObject({ depth: 0, retrying: 0 });
      }, LONG);
      expect(broker.session).toBe(session);
    }, 180_000);
  });

  describe('a server that forgot everything', () => {
    it('is given its queues again by whoever finds out, and every process has the new session', async () => {
      const [worker, dispatcher] = [await openEmpty({ ensureEveryMs: 500 }), await openEmpty({ ensureEveryMs: 100 })];
      const { session } = dispatcher;
      const seen = await collector(worker, { queues: ['sms.bulk'] });
      await withRabbit(server.url, async (rabbit) => {
        for (const { queue } of [queues().session, ...queues().queues]) await rabbit.queueDelete(queue);
      });
      await eventually(() => {
        expect(dispatcher.session).not.toBe(session);
        expect(worker.session).toBe(dispatcher.session);
      }, LONG);
      await eventually(() => dispatcher.publish('sms.bulk', newJob()), LONG);
      await eventually(() => {
        expect(seen).toEqual([newJob()]);
      }, LONG);
    }, 180_000);

    it('in the middle of deliveries loses none: each is sent', async () => {
      await withWorld(
        async (world) => {
          const broker = await openEmpty();
          await registered(world);
          startRouting(world);
          world.use(await dispatch(world, broker, { refeedEveryMs: 100 }));
          const deliveries = createDeliveries(world.context, POLICY);
          await consumeWith(broker, { queues: ['email.transactional'], concurrency: 4 }, async (job) => {
            await new Promise(setImmediate);
            return attempt(deliveries, job);
          });
          const requested = await requestedMany(world, 300);
          await eventually(async () => {
            expect(await sentOf(world, requested)).toBeGreaterThan(20);
          }, LONG);
          await server.halt('SIGKILL');
          await server.wipe();
          await server.boot();
          await eventually(
            async () => {
              expect(await sentOf(world, requested)).toBe(requested.length);
            },
            { ...LONG, pauseMs: 200 },
          );
        },
        { now: Date.now, advance: () => undefined },
      );
    }, 180_000);
  });
});

/** A way to a server on this machine on which everything takes so many milliseconds longer; answers its port. */
async function openFarServer(port: number, ms: number): Promise<Started<number>> {
  const open = new Set<Socket>();
  const carry = (from: Socket, to: Socket): void => {
    open.add(from);
    from.on('error', () => undefined);
    from.on('data', (chunk) => setTimeout(() => to.write(chunk), ms));
    from.once('close', () => to.destroy());
  };
  const far = createServer((client) => {
    const target = connect(port, '127.0.0.1');
    carry(client, target);
    carry(target, client);
  }).listen(0, '127.0.0.1');
  await once(far, 'listening');
  const stop = async (): Promise<void> => {
    const closed = once(far, 'close');
    far.close();
    for (const socket of open) socket.destroy();
    await closed;
  };
  return { value: (far.address() as AddressInfo).port, stop };
}

async function attempt(deliveries: ReturnType<typeof createDeliveries>, job: Job): Promise<Verdict> {
  const claimed = await deliveries.claim(job);
  if (claimed.kind === 'later') return { kind: 'retry', afterMs: claimed.afterMs };
  if (claimed.kind === 'claimed') {
    await deliveries.record(job, claimed, 'scripted', { kind: 'sent', providerMessageId: null, raw: null });
  }
  return ACK;
}

async function sentOf(world: Parameters<typeof typesOf>[0], notifications: readonly string[]): Promise<number> {
  const all = await Promise.all(notifications.map((id) => typesOf(world, id)));
  return all.filter((types) => types.includes('DeliverySent')).length;
}

/** As dispatch does: what is not confirmed is published again. */
async function publishSurely(broker: Broker, deliveryIds: readonly string[]): Promise<void> {
  for (const deliveryId of deliveryIds) {
    await eventually(() => broker.publish('sms.bulk', newJob({ deliveryId })), LONG);
  }
}
