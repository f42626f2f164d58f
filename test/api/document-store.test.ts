import { parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { openDocumentStore } from '../../src/api/document-store.ts';

describe('the store of documents', () => {
  const document = parse('{ a }');

  it('keeps those that were used last', async () => {
    const store = openDocumentStore();
    await store.set('in use', document);
    for (let index = 0; index < 1_000; index += 1) {
      await store.set(`once ${String(index)}`, document);
      expect(await store.get('in use')).toBe(document);
    }
    expect(await store.get('once 500')).toBeUndefined();
    expect(await store.get('once 501')).toBe(document);
    expect(await store.get('once 999')).toBe(document);
  });

  it('keeps fewer when their texts are long, and none that is too long by itself', async () => {
    const store = openDocumentStore();
    const [long, tooLong] = [200_000, 600_000].map((length) => parse(`{ a } #${'x'.repeat(length)}`));
    if (!long || !tooLong) throw new Error('they are parsed');
    for (const key of ['a', 'b', 'c']) await store.set(key, long);
    expect(await store.get('a')).toBeUndefined();
    expect(await store.get('b')).toBe(long);
    expect(await store.get('c')).toBe(long);
    await store.set('c', document);
    await store.set('d', long);
    expect(await store.get('b')).toBe(long);
    await store.set('e', tooLong);
    expect(await store.get('e')).toBeUndefined();
  });

  it('forgets what it is told to', async () => {
    const store = openDocumentStore();
    await store.set('a', document);
    expect(await store.delete('a')).toBe(true);
    expect(await store.delete('a')).toBe(false);
    expect(await store.get('a')).toBeUndefined();
  });
});
