import { describe, expect, it } from 'vitest';
import { isClickhouseUrl, isClusterName, parseClickhouseUrl } from '../src/clickhouse-url.ts';

const PLAIN = {
  kind: 'clickhouse',
  url: 'http://host:8123',
  username: 'default',
  password: '',
  database: 'default',
};

describe('the URL of a ClickHouse server', () => {
  it.each<[string, object]>([
    ['http://host', {}],
    ['HTTP://host/', {}],
    ['http://host:80/', { url: 'http://host:80' }],
    ['https://host', { url: 'https://host:8443' }],
    ['https://host:443/notify', { url: 'https://host:443', database: 'notify' }],
    ['http://[::1]:9/db_2/', { url: 'http://[::1]:9', database: 'db_2' }],
    ['http://[::1]', { url: 'http://[::1]:8123' }],
    ['http://writer:p%3A%40%2Fss@host/db', { username: 'writer', password: 'p:@/ss', database: 'db' }],
    ['http://:secret@host:80', { url: 'http://host:80', password: 'secret' }],
    ['http://writer@host', { username: 'writer' }],
  ])('may be %s', (url, expected) => {
    expect(isClickhouseUrl(url)).toBe(true);
    expect(parseClickhouseUrl(url)).toEqual({ ...PLAIN, ...expected });
  });

  it.each<[string, RegExp]>([
    ['http:host', /^is not usable; allowed is http\[s\]:/],
    ['http://', /^is not usable/],
    ['http://u:hunter2@', /^is not usable/],
    ['http://u:hun/ter2@host', /^is not usable|database/],
    ['http://u:hun#ter2@host', /^is not usable|fragment/],
    ['http://u:hunter2@host:99999', /^is not usable/],
    ['http://host?password=hunter2', /^has a query or a fragment/],
    ['http://host/db#hunter2', /^has a query or a fragment/],
    ['http://u:hunter2%@host', /^has a % that escapes nothing, to be written as %25/],
    ['http://u:hunter2%0A@host', /^holds a control character/],
    ['http://u%3Av:hunter2@host', /^has a ':' in the user/],
    ['http://u:hunter2@host/a/b', /^names a database with other characters/],
    ['http://u:hunter2@host/a-b', /^names a database with other characters/],
  ])('says what is wrong with %s and shows nothing of it', (url, why) => {
    const found = parseClickhouseUrl(url);
    const text = 'wrong' in found ? found.wrong : '';
    expect(text).toMatch(why);
    expect(text).not.toContain('hun');
  });
});

describe('the name of a cluster', () => {
  it.each([
    ['notify', true],
    ['cluster_1S-3R.eu', true],
    ['', false],
    ["a' SYNC", false],
    ['{cluster}', false],
  ])('%s: %s', (text, expected) => {
    expect(isClusterName(text)).toBe(expected);
  });
});
