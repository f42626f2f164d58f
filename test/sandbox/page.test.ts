import { readFileSync } from 'node:fs';
import { Script } from 'node:vm';
import { buildSchema, parse, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import { CHANNELS } from '../../src/events/event.ts';
import { PLATFORMS } from '../../src/events/notifications.ts';
import { SANDBOX_TOKENS } from '../../src/sandbox/fcm.ts';
import { renderSandboxPage, sandboxPagePolicy } from '../../src/sandbox/page.ts';
import { SANDBOX_RECIPIENTS } from '../../src/sandbox/smtp.ts';
import { SANDBOX_NUMBERS } from '../../src/sandbox/twilio.ts';
import { isPhoneNumber } from '../../src/senders/sms-phone.ts';

const NONCE = 'c2FuZGJveA+/==';
const page = renderSandboxPage(NONCE);
const script = /<script[^>]*>([^]*?)<\/script>/.exec(page)?.[1] ?? '';
const EXAMPLE = /<code id="example">([^]*?)<\/code>/;
const example = textOf(EXAMPLE.exec(page)?.[1] ?? '');

function textOf(html: string): string {
  return html.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

describe('the page of the sandbox', () => {
  it('is one file that asks no other host for anything', () => {
    expect(page).toMatch(/^<!doctype html>/);
    expect(page.replace(EXAMPLE, '')).not.toMatch(/https?:|\ssrc=|@import|url\(/i);
    expect([...page.matchAll(/\shref="([^"]*)"/g)].map(([, target]) => target)).toEqual(['data:,']);
  });

  it('runs one script, under the nonce of the policy, and no inline handler', () => {
    expect(page.match(/<script/g)).toHaveLength(1);
    expect(page).toContain(`<script nonce="${NONCE}">`);
    expect(page).not.toMatch(/\son\w+="/);
    expect(sandboxPagePolicy(NONCE)).toContain(`script-src 'nonce-${NONCE}';`);
    expect(() => new Script(script)).not.toThrow();
  });

  it('has every element that its script looks for, once', () => {
    const wanted = new Set([...script.matchAll(/\$\('([\w-]+)'\)/g)].map(([, id]) => id));
    const there = [...page.slice(0, page.indexOf('<script')).matchAll(/\sid="([\w-]+)"/g)].map(([, id]) => id);
    expect(wanted.size).toBeGreaterThan(10);
    expect(there).toHaveLength(new Set(there).size);
    for (const id of wanted) expect(there).toContain(id);
  });

  it('puts what messages say into the page as text only', () => {
    expect(script).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function/,
    );
    expect(script.match(/srcdoc/g)).toHaveLength(1);
    expect(script).not.toMatch(/allow-scripts|allow-same-origin|allow-forms|allow-top-navigation/);
    expect(script).toContain(`"default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"`);
  });

  it('follows links to web pages only', () => {
    expect(script.match(/\bhref\b/g)).toHaveLength(1);
    expect(script).toContain(String.raw`if (!/^https?:\/\//i.test(target))`);
  });

  it('knows every channel and every platform', () => {
    for (const channel of CHANNELS) {
      expect(page).toContain(`<svg data-channel="${channel}"`);
      expect(page).toContain(`type="radio" name="channel" value="${channel}"`);
      expect(script).toMatch(new RegExp(`const CHANNELS = .*\\b${channel}: '`));
    }
    for (const platform of PLATFORMS) expect(script).toMatch(new RegExp(`const PLATFORMS = .*\\b${platform}: '`));
  });

  it('explains the addresses, numbers and tokens that misbehave', () => {
    const recipients = SANDBOX_RECIPIENTS.map((each) => ({ ...each, name: `${each.name}@example.com` }));
    for (const { name, description } of [...recipients, ...SANDBOX_NUMBERS, ...SANDBOX_TOKENS]) {
      expect(textOf(page)).toContain(`<code>${name}</code>`);
      expect(textOf(page)).toContain(`<td>${description}</td>`);
    }
  });

  it('suggests a first request that the API understands', () => {
    const schema = buildSchema(readFileSync(new URL('../../schema/schema.graphql', import.meta.url), 'utf8'));
    expect(validate(schema, parse(example))).toEqual([]);
  });

  it('suggests a first request that shows every channel and fails on none', () => {
    const [email, phone, token] = ['email', 'phone', 'token'].map(
      (field) => new RegExp(`${field}: "([^"]+)"`).exec(example)?.[1] ?? '',
    );
    expect(email).toMatch(/^anna@/);
    expect(isPhoneNumber(phone ?? '')).toBe(true);
    expect(SANDBOX_NUMBERS.map(({ name }) => name)).not.toContain(phone);
    for (const { name } of SANDBOX_TOKENS) expect(token?.startsWith(name)).toBe(false);
  });

  it('refuses a nonce that could end the attribute it stands in', () => {
    for (const nonce of ['', '"><script>', "a' 'unsafe-inline"]) {
      expect(() => renderSandboxPage(nonce)).toThrow('nonce');
      expect(() => sandboxPagePolicy(nonce)).toThrow('nonce');
    }
  });
});
