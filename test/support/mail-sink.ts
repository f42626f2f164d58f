import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import type { Started } from '../../src/lifecycle.ts';
import { openTally, type Copies } from './tally.ts';

/** A real mail server on loopback that takes everything and remembers it by Message-ID. */
export interface MailSink {
  readonly url: string;
  /** By Message-ID. */
  readonly copies: Copies;
}

/** `hold`: waits before it accepts a message. */
export async function openMailSink(hold: () => Promise<void> = () => Promise.resolve()): Promise<Started<MailSink>> {
  const { copies, add } = openTally();
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    logger: false,
    onData(stream, _session, done) {
      let text = '';
      stream.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      stream.on('end', () => {
        add(/^Message-ID: (.*)$/im.exec(text)?.[1] ?? 'none');
        void hold().then(() => done());
      });
    },
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.server.address() as AddressInfo;
  const stop = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
  return { value: { url: `smtp://127.0.0.1:${String(port)}`, copies }, stop };
}
