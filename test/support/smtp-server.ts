import { createServer, type AddressInfo, type Socket } from 'node:net';
import { SMTPServer } from 'smtp-server';
import type { Started } from '../../src/lifecycle.ts';

/** The server breaks the connection. */
export const CUT = Symbol('cut');
/** The server says nothing, for ever. */
export const SILENCE = Symbol('silence');

export type Reaction = string | typeof CUT | typeof SILENCE;

/** What the server is about to react to. */
export interface Moment {
  /** `connect`, a verb in capitals, `begin` (the first bytes of a message) or `message` (its final dot). */
  readonly step: string;
  readonly line: string;
  /** From 1. */
  readonly connection: number;
  /** Messages that came to their final dot on this connection before. */
  readonly messages: number;
}

/** What the server does at a moment; undefined: what a decent server does. */
export type Script = (moment: Moment) => Reaction | readonly Reaction[] | undefined;

export interface ScriptedSmtp {
  readonly url: string;
  readonly port: number;
  readonly moments: readonly Moment[];
  /** Every message that came to its final dot and was not answered with a refusal, as it came over the wire. */
  readonly taken: readonly string[];
}

const DECENT: Readonly<Record<string, Reaction>> = {
  MAIL: '250 sender ok',
  RCPT: '250 recipient ok',
  DATA: '354 go ahead',
  RSET: '250 reset',
  QUIT: '221 bye',
};

/** A real SMTP server on loopback that misbehaves at will. */
export async function openScriptedSmtp(script: Script, { pipelining = true } = {}): Promise<Started<ScriptedSmtp>> {
  const sockets = new Set<Socket>();
  const moments: Moment[] = [];
  const taken: string[] = [];
  const ehlo = pipelining ? '250-test\r\n250-8BITMIME\r\n250 PIPELINING' : '250 test';
  let connections = 0;

  const serve = (socket: Socket): void => {
    const connection = ++connections;
    let messages = 0;
    let buffer = '';
    let body: string | null = null;
    let recipients = 0;
    // Refused before its end.
    let isVoid = false;

    const react = (step: string, line: string, decent: Reaction | readonly Reaction[]): readonly Reaction[] => {
      const moment = { step, line, connection, messages };
      moments.push(moment);
      const chosen = script(moment) ?? decent;
      const reactions: readonly Reaction[] = typeof chosen === 'object' ? chosen : [chosen];
      for (const reaction of reactions) {
        if (reaction === CUT) socket.destroy();
        else if (typeof reaction === 'string' && !socket.destroyed) socket.write(`${reaction}\r\n`);
      }
      return reactions;
    };
    const onCommand = (line: string): void => {
      const verb = line.split(' ')[0]?.toUpperCase() ?? '';
      if (verb === 'MAIL') recipients = 0;
      const decent: Readonly<Record<string, Reaction>> = {
        ...DECENT,
        EHLO: ehlo,
        ...(recipients === 0 ? { DATA: '503 no recipient' } : {}),
      };
      const reactions = react(verb, line, decent[verb] ?? '502 what?');
      if (verb === 'RCPT' && !reactions.some(isRefusal)) recipients++;
      if (verb === 'DATA' && reactions.some(isGoAhead)) body = '';
      if (verb === 'QUIT') socket.end();
    };
    const onBody = (): boolean => {
      if (body === '' && buffer !== '') isVoid = react('begin', '', []).some(isRefusal);
      body = (body ?? '') + buffer;
      const end = `\r\n${body}`.indexOf('\r\n.\r\n');
      buffer = end < 0 ? '' : body.slice(end + 3);
      if (end < 0) return false;
      const message = body.slice(0, end);
      body = null;
      const isTaken = !react('message', '', '250 queued as 4711').some(isRefusal) && !isVoid && recipients > 0;
      if (isTaken) taken.push(message);
      messages++;
      return true;
    };
    const onLine = (): boolean => {
      const end = buffer.indexOf('\r\n');
      if (end < 0) return false;
      const line = buffer.slice(0, end);
      buffer = buffer.slice(end + 2);
      onCommand(line);
      return true;
    };
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (chunk: Buffer | string) => {
      buffer += String(chunk);
      let going = true;
      while (going && !socket.destroyed) going = body === null ? onLine() : onBody();
    });
    react('connect', '', '220 test ESMTP');
  };

  const server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { value: { url: `smtp://127.0.0.1:${String(port)}`, port, moments, taken }, stop };
}

function isGoAhead(reaction: Reaction): boolean {
  return typeof reaction === 'string' && reaction.startsWith('354');
}

function isRefusal(reaction: Reaction): boolean {
  return typeof reaction === 'string' && /^[45]/.test(reaction);
}

export interface SecureSmtp {
  readonly port: number;
  readonly messages: readonly string[];
  /** Names that logged in. */
  readonly users: readonly string[];
}

/** A decent server with encryption (STARTTLS, or from the first byte when `secure`) that demands a login. */
export async function openSecureSmtp(login: {
  user: string;
  pass: string;
  secure: boolean;
}): Promise<Started<SecureSmtp>> {
  const messages: string[] = [];
  const users: string[] = [];
  const server = new SMTPServer({
    secure: login.secure,
    key: TEST_KEY,
    cert: TEST_CERTIFICATE,
    disableReverseLookup: true,
    closeTimeout: 1,
    onAuth: ({ username, password }, _session, answer) => {
      if (username !== login.user || password !== login.pass) {
        answer(
          Object.assign(new Error(`no entry for ${username ?? ''} with ${password ?? ''}`), { responseCode: 535 }),
        );
        return;
      }
      users.push(username);
      answer(null, { user: username });
    },
    onData: (stream, _session, answer) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        messages.push(Buffer.concat(chunks).toString());
        answer();
      });
    },
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(resolve);
    });
  return { value: { port: (server.server.address() as AddressInfo).port, messages, users }, stop };
}

/** For localhost and 127.0.0.1, until 2126. Known to everyone: worth nothing outside tests. */
export const TEST_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUPnEVB7HJEzSwV42s3wTi+S3sMaYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMDIzMzg1MVoYDzIxMjYxMDI3
MjMzODUxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAROabj2wIcrIRU+el/oNo5+1TWI2UL0OUrwD46MkIEdhv4s41vmB0ry
mzLWwtEqGz/hW9ntcf4KvkbipoiETYXoo28wbTAdBgNVHQ4EFgQUZBGjkgAm7Ap9
oPu3rMs6TgUEHIYwHwYDVR0jBBgwFoAUZBGjkgAm7Ap9oPu3rMs6TgUEHIYwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgHu2N9CIAtv36AiAMeGlILscMWQKfhVxcmnVQzIvAnJUCIQDE
GhCtaFDxR27Z1HObLIQ0vX4v0VoULg0G1ufgZLuP3w==
-----END CERTIFICATE-----`;

const TEST_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsHEJO24+rmlT2QUy
GZeRIWrwvozcTnE3QyPCHS2LgGqhRANCAAROabj2wIcrIRU+el/oNo5+1TWI2UL0
OUrwD46MkIEdhv4s41vmB0rymzLWwtEqGz/hW9ntcf4KvkbipoiETYXo
-----END PRIVATE KEY-----`;
