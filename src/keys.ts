import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Keys } from './commands/context.ts';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Everything that is keyed with SECRET_KEY. Each use has its own label, so that no value can stand in for another. */
export function openKeys(secretKey: string): Keys {
  const hash = (label: string, ...parts: readonly string[]): string =>
    createHmac('sha256', secretKey)
      .update(JSON.stringify([label, ...parts]))
      .digest('base64url');
  return {
    inputHash: (input) => hash('input', canonicalJson(input)),
    secretHash: (appKey, appSecret) => hash('secret', appKey, appSecret),
    sameHash: (a, b) => {
      const [left, right] = [Buffer.from(a), Buffer.from(b)];
      return left.length === right.length && timingSafeEqual(left, right);
    },
    newCredentials,
  };
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
  const entries = Object.entries(value as Record<string, unknown>).filter(([, each]) => each != null);
  const sorted = entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([key, each]) => `${JSON.stringify(key)}:${canonicalJson(each)}`).join(',')}}`;
}
