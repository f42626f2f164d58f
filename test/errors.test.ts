import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../src/errors.ts';

const ROOT = new URL('../', import.meta.url);
const codes = Object.keys(ERROR_CODES).toSorted();

async function sources(): Promise<string> {
  const names = await readdir(new URL('src/', ROOT), { recursive: true });
  const files = names.filter((name) => name.endsWith('.ts') && name !== 'errors.ts');
  const texts = await Promise.all(files.map((name) => readFile(new URL(`src/${name}`, ROOT), 'utf8')));
  return texts.join('\n');
}

/** Codes that Apollo Server itself answers with: our sources pass them on without naming them. */
const FROM_APOLLO = ['PERSISTED_QUERY_NOT_SUPPORTED'];

describe('The catalogue of error codes', () => {
  it('is documented code for code', async () => {
    const text = await readFile(new URL('docs/errors.md', ROOT), 'utf8');
    const documented = [...text.matchAll(/^\| `([A-Z_]+)` +\|/gm)].map(([, code]) => code).toSorted();
    expect(documented).toEqual(codes);
  });

  it('holds no code that nothing answers with', async () => {
    const text = await sources();
    const unused = codes.filter((code) => !text.includes(`'${code}'`));
    expect(unused).toEqual(FROM_APOLLO);
  });

  it('explains every code in a sentence', () => {
    for (const [code, meaning] of Object.entries(ERROR_CODES)) expect(meaning, code).toMatch(/^[A-Zd].+\.$/);
  });
});
