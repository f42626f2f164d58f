// Preloaded into a process: each of its threads that sends names itself to whoever may end it, and ends with an error that nobody
// catches as soon as it hears anything, as it would with a bug in its library.
import { connect } from 'node:net';
import { threadId, workerData } from 'node:worker_threads';

const { MORTAL_THREADS_PORT } = process.env;

if (threadId !== 0 && typeof workerData?.kind === 'string' && MORTAL_THREADS_PORT !== undefined) {
  const socket = connect(Number(MORTAL_THREADS_PORT), '127.0.0.1');
  socket.unref();
  socket.on('error', () => undefined);
  socket.on('data', () => {
    throw new Error('the test ends this thread');
  });
  socket.write(`${process.pid} ${workerData.kind}`);
}
