import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Started } from '../src/lifecycle.ts';

/** Told of each message the moment it has arrived as a whole. `text` is raw, with its headers. */
export type Taking = (text: string) => void;

/** What a connection does with its bytes; answers what it has not used up. */
type Reading = (received: string, socket: Socket) => string;

const ANSWER = JSON.stringify({ name: 'projects/sandbox/messages/0:1500415314455276%31bd1c9631bd1c96' });
const ACCEPTED = `HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: ${String(ANSWER.length)}\r\n\r\n${ANSWER}`;

/** Takes every POST, whatever its path, as FCM answers. Reads of HTTP only what it must, so that little of the machine goes to it. */
export function openPushStub(take: Taking): Promise<Started<number>> {
  const read: Reading = (received, socket) => {
    const request = wholeRequest(received);
    if (request === null) return received;
    take(request);
    socket.write(ACCEPTED);
    return received.slice(request.length);
  };
  return listen(() => read);
}

function wholeRequest(received: string): string | null {
  const head = received.indexOf('\r\n\r\n');
  if (head < 0) return null;
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(received)?.[1] ?? 0);
  return received.length < head + 4 + length ? null : received.slice(0, head + 4 + length);
}

/** A mail server that takes every mail. */
export function openMailStub(take: Taking): Promise<Started<number>> {
  const open = (): Reading => {
    let inBody = false;
    return (received, socket) => {
      const end = received.indexOf(inBody ? '\r\n.\r\n' : '\r\n');
      if (end < 0) return received;
      const line = received.slice(0, end);
      const rest = received.slice(end + (inBody ? 5 : 2));
      if (inBody) take(line);
      socket.write(inBody ? '250 taken\r\n' : replyTo(line));
      inBody = !inBody && /^DATA/i.test(line);
      return rest;
    };
  };
  return listen(open, '220 bench ESMTP\r\n');
}

function replyTo(line: string): string {
  const verb = line.slice(0, 4).toUpperCase();
  if (verb === 'EHLO') return '250-bench\r\n250-8BITMIME\r\n250 PIPELINING\r\n';
  if (verb === 'DATA') return '354 go ahead\r\n';
  return verb === 'QUIT' ? '221 bye\r\n' : '250 fine\r\n';
}

/** Port of a server on loopback. */
async function listen(open: () => Reading, greeting = ''): Promise<Started<number>> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    const read = open();
    let received = '';
    sockets.add(socket);
    socket.setEncoding('latin1');
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    if (greeting !== '') socket.write(greeting);
    socket.on('data', (chunk: string) => {
      received += chunk;
      let before = Infinity;
      while (received.length > 0 && received.length < before) {
        before = received.length;
        received = read(received, socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { value: (server.address() as AddressInfo).port, stop };
}
