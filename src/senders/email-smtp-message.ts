import { domainToASCII } from 'node:url';
import type { SendMailOptions } from 'nodemailer';
import addressparser from 'nodemailer/lib/addressparser';
import { isEmailAddress } from '../events/address.ts';
import type { Message } from './outcome.ts';

export interface Mailbox {
  readonly name: string;
  readonly address: string;
}

const LONGEST_DERIVED_SUBJECT = 120;

/** @throws when `text` is not one mailbox, as in `no-reply@example.com` or `Heliograph <no-reply@example.com>`. */
export function parseMailbox(text: string): Mailbox {
  const [mailbox, ...others] = addressparser(text, { flatten: true });
  if (mailbox?.address === undefined || others.length > 0 || !isEmailAddress(mailbox.address)) {
    throw new Error('The sender of e-mail must be one address, such as Heliograph <no-reply@example.com>');
  }
  return { name: oneLine(mailbox.name), address: mailbox.address };
}

/** The message for nodemailer: one recipient, and the same identity and date on every attempt at the delivery. */
export function composeEmail(message: Message, from: Mailbox): SendMailOptions {
  return {
    envelope: { from: from.address, to: [message.address] },
    from: { ...from },
    to: { name: '', address: message.address },
    messageId: `<${token(message.deliveryId)}@${domainOf(from)}>`,
    date: new Date(message.requestedAt),
    subject: subjectOf(message),
    text: textOf(message),
    ...(message.html === null ? {} : { html: htmlOf(message.html, message.url) }),
    headers: { 'X-Heliograph-Notification': token(message.notificationId) },
    xMailer: false,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function subjectOf(message: Message): string {
  if (message.title !== null) return oneLine(message.title);
  const line =
    message.body
      .split(/\r\n|[\r\n]/)
      .map(oneLine)
      .find((text) => text !== '') ?? '';
  return Array.from(line).slice(0, LONGEST_DERIVED_SUBJECT).join('');
}

function textOf({ body, url }: Message): string {
  if (url === null) return body;
  const link = oneLine(url);
  const lines = body.split(/\r\n|[\r\n]/).map((line) => line.trim());
  return lines.includes(link) ? body : `${body.trimEnd()}\n\n${link}\n`;
}

function htmlOf(html: string, url: string | null): string {
  if (url === null) return html;
  const link = escapeHtml(oneLine(url));
  if (html.includes(url) || html.includes(link) || isScript(url)) return html;
  const paragraph = `<p><a href="${link}">${link}</a></p>`;
  const end = html.search(/<\/body\s*>/i);
  return end < 0 ? `${html}\n${paragraph}` : `${html.slice(0, end)}${paragraph}${html.slice(end)}`;
}

function isScript(url: string): boolean {
  return /^\s*(?:javascript|data|vbscript):/i.test(url);
}

/** Folds line breaks and other control characters into spaces: nothing a header could be broken open with is left. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\s]+/gu, ' ').trim();
}

/** Ids from our own log are plain already; anything else loses what has a meaning in a header. */
function token(id: string): string {
  return id.replace(/[^\w.-]/g, '');
}

function domainOf({ address }: Mailbox): string {
  return domainToASCII(address.slice(address.indexOf('@') + 1));
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}
