import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { AttemptRef, Keys } from './commands/context.ts';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Everything that is keyed with SECRET_KEY. Each use has its own label, so that no value can stand in for another. */
export function openKeys(secretKey: string): Keys {
  const mac = (label: string, ...parts: readonly string[]): Buffer =>
    createHmac('sha256', secretKey)
      .update(JSON.stringify([label, ...parts]))
      .digest();
  const hash = (label: string, ...parts: readonly string[]): string => mac(label, ...parts).toString('base64url');
  const receiptMac: ReceiptMac = (named) => mac('receipt', named.toString('base64url')).subarray(0, MAC_BYTES);
  return {
    inputHash: (input) => hash('input', canonicalJson(input)),
    secretHash: (appKey, appSecret) => hash('secret', appKey, appSecret),
    sameHash: (a, b) => {
      const [left, right] = [Buffer.from(a), Buffer.from(b)];
      return left.length === right.length && timingSafeEqual(left, right);
    },
    newCredentials,
    mac,
    receiptToken: (attempt) => receiptToken(attempt, receiptMac),
    readReceiptToken: (token) => readReceiptToken(token, receiptMac),
  };
}

type ReceiptMac = (named: Buffer) => Buffer;

/** Two UUIDs and the number of the attempt. */
const NAMED_BYTES = 16 + 16 + 4;
/** 144 bits of HMAC-SHA256; with them a token fills its last character, so that it has one spelling only. */
const MAC_BYTES = 18;
const TOKEN_LENGTH = ((NAMED_BYTES + MAC_BYTES) * 4) / 3;
const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/;

function receiptToken({ notificationId, deliveryId, attempt }: AttemptRef, macOf: ReceiptMac): string {
  if (!Number.isInteger(attempt) || attempt < 1 || attempt >= 2 ** 32) {
    throw new RangeError(`${String(attempt)} is not the number of an attempt`);
  }
  const number = Buffer.alloc(4);
  number.writeUInt32BE(attempt);
  const named = Buffer.concat([uuidBytes(notificationId), uuidBytes(deliveryId), number]);
  return Buffer.concat([named, macOf(named)]).toString('base64url');
}

function readReceiptToken(token: string, macOf: ReceiptMac): AttemptRef | null {
  if (token.length !== TOKEN_LENGTH) return null;
  const bytes = Buffer.from(token, 'base64url');
  // Node decodes base64url leniently: other alphabets and strangers among the characters.
  if (bytes.toString('base64url') !== token) return null;
  const named = bytes.subarray(0, NAMED_BYTES);
  if (!timingSafeEqual(bytes.subarray(NAMED_BYTES), macOf(named))) return null;
  const [notificationId, deliveryId] = [uuidText(named.subarray(0, 16)), uuidText(named.subarray(16, 32))];
  return { notificationId, deliveryId, attempt: named.readUInt32BE(32) };
}

function uuidBytes(id: string): Buffer {
  if (!UUID.test(id)) throw new RangeError('the id is not a UUID in lower case');
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

export function newCredentials(): { readonly appKey: string; readonly appSecret: string } {
  return { appKey: `hgk_${randomText(20)}`, appSecret: newSecret() };
}

/** `hgs_`, 40 random characters (238 bits), and their CRC-32: a scanner recognises a leaked secret without asking us. */
function newSecret(): string {
  const random = randomText(40);
  return `hgs_${random}${checksum(random)}`;
}

/** Whether the text has the form of a generated secret, checksum included. */
export function looksLikeSecret(text: string): boolean {
  const match = /^hgs_([0-9A-Za-z]{40})([0-9A-Za-z]{6})$/.exec(text);
  return match?.[1] !== undefined && checksum(match[1]) === match[2];
}

function checksum(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let index = 0; index < 6; index += 1) {
    digits = ALPHABET.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

/** Each character evenly distributed: bytes beyond the last multiple of 62 are thrown away. */
function randomText(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && text.length < length) text += ALPHABET.charAt(byte % 62);
    }
  }
  return text;
}

/** JSON with sorted keys; null and undefined fields are dropped, so that leaving a field out and sending null are the same. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value instanceof Date || typeof value !== 'object' || value === null) return JSON.stringify(value ?? null);
  const fields = value as Readonly<Record<string, unknown>>;
  let json = '';
  for (const key of Object.keys(fields).sort()) {
    const each = fields[key];
    if (each != null) json += `${json === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(each)}`;
  }
  return `{${json}}`;
}
