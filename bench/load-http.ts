import { connect, type Socket } from 'node:net';

/** Keeps connections open and asks one thing at a time on each. Far lighter than a client that knows all of HTTP. */
export interface Client {
  /** The body of the answer. @throws when it is not 200. */
  readonly post: (body: string) => Promise<string>;
  readonly close: () => void;
}

interface Connection {
  readonly socket: Socket;
  received: string;
  waiting: { readonly resolve: (body: string) => void; readonly reject: (error: Error) => void } | null;
}

export function openClient(url: string, headers: Readonly<Record<string, string>>): Client {
  const { hostname, port, pathname, host } = new URL(url);
  const fields = Object.entries({ host, 'content-type': 'application/json', ...headers });
  const head = `POST ${pathname} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}`;
  const idle: Connection[] = [];
  const all = new Set<Connection>();

  const dial = (): Connection => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const connection: Connection = { socket, received: '', waiting: null };
    all.add(connection);
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      connection.received += chunk;
      const answer = wholeAnswer(connection.received);
      if (answer === null) return;
      const { waiting } = connection;
      connection.received = '';
      connection.waiting = null;
      idle.push(connection);
      if (answer.status === 200) waiting?.resolve(answer.body);
      else waiting?.reject(new Error(`${String(answer.status)}: ${answer.body}`));
    });
    const end = (error?: Error): void => {
      all.delete(connection);
      if (idle.includes(connection)) idle.splice(idle.indexOf(connection), 1);
      connection.waiting?.reject(error ?? new Error('the connection was closed'));
      connection.waiting = null;
    };
    socket.on('error', end);
    socket.on('close', () => end());
    return connection;
  };

  return {
    post: (body) =>
      new Promise((resolve, reject) => {
        const connection = idle.pop() ?? dial();
        connection.waiting = { resolve, reject };
        connection.socket.write(`${head}content-length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`);
      }),
    close: () => {
      for (const { socket } of all) socket.destroy();
    },
  };
}

function wholeAnswer(received: string): { readonly status: number; readonly body: string } | null {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const head = received.slice(0, end);
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  if (length === undefined) throw new Error(`an answer of unknown length: ${head}`);
  const body = received.slice(end + 4);
  return body.length < Number(length) ? null : { status: Number(received.slice(9, 12)), body };
}
