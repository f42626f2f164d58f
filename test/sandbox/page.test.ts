import { readFileSync } from 'node:fs';
import { Script } from 'node:vm';
import { buildSchema, parse, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import { renderSandboxPage, sandboxPagePolicy } from '../../src/sandbox/page.ts';
import { SANDBOX_RECIPIENTS } from '../../src/sandbox/smtp.ts';

const NONCE = 'c2FuZGJveA+/==';
const page = renderSandboxPage(NONCE);
const script = /<script[^>]*>([^]*?)<\/script>/.exec(page)?.[1] ?? '';

function textOf(html: string): string {
  return html.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

describe('the page of the sandbox', () => {
  it('is one file that asks no other host for anything', () => {
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/https?:|\ssrc=|@import|url\(/i);
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

  it('explains the recipients that misbehave', () => {
    for (const { name, description } of SANDBOX_RECIPIENTS) {
      expect(page).toContain(`${name}@example.com`);
      expect(textOf(page)).toContain(description);
    }
  });

  it('suggests a first request that the API understands', () => {
    const example = /<code id="example">([^]*?)<\/code>/.exec(page)?.[1] ?? '';
    const schema = buildSchema(readFileSync(new URL('../../schema/schema.graphql', import.meta.url), 'utf8'));
    expect(validate(schema, parse(textOf(example)))).toEqual([]);
  });

  it('refuses a nonce that could end the attribute it stands in', () => {
    for (const nonce of ['', '"><script>', "a' 'unsafe-inline"]) {
      expect(() => renderSandboxPage(nonce)).toThrow('nonce');
      expect(() => sandboxPagePolicy(nonce)).toThrow('nonce');
    }
  });
});
