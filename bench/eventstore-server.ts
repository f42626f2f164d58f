/** The stand-in for EventStoreDB in a process of its own, for `run.ts`. Ends when its standard input does. */
import { startEventStore } from '../test/support/eventstore/server.ts';

const { value: server, stop } = await startEventStore();
console.log(server.url);
process.stdin.resume().once('end', () => {
  void stop().then(() => process.exit());
});
