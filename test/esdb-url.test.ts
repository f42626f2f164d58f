import { describe, expect, it } from 'vitest';

import { isEsdbUrl, parseEsdbUrl } from '../src/esdb-url.ts';

const PLAIN = {
  kind: 'eventstoredb',
  discovery: 'none',
  hosts: [{ address: 'host', port: 2113 }],
  credentials: null,
  tls: {},
  tuning: {},
  connectionName: 'heliograph',
};

describe('the URL of an EventStoreDB', () => {
  it.each<[string, object]>([
    ['esdb://host', {}],
    ['esdb://host/', {}],
    ['kurrentdb://host:2113', {}],
    ['esdb://[::1]:1113?tls=false', { hosts: [{ address: '[::1]', port: 1113 }], tls: null }],
    ['esdb://admin:p%3A%40ss@host', { credentials: { username: 'admin', password: 'p:@ss' } }],
    ['esdb+discover://host?max-discover-attempts=3', { discovery: 'dns', tuning: { maxDiscoverAttempts: 3 } }],
    [
      'esdb://a:1,b:2?nodePreference=Leader&connectionName=shop',
      {
        discovery: 'seeds',
        hosts: [
          { address: 'a', port: 1 },
          { address: 'b', port: 2 },
        ],
        connectionName: 'shop',
      },
    ],
    [
      'esdb://host?tlsCAFile=/etc/ca%20.pem&userCertFile=/c.pem&userKeyFile=/k.pem&keepAliveInterval=-1',
      {
        tls: { caFile: '/etc/ca .pem', userCertFile: '/c.pem', userKeyFile: '/k.pem' },
        tuning: { keepAliveInterval: -1 },
      },
    ],
  ])('may be %s', (url, expected) => {
    expect(isEsdbUrl(url)).toBe(true);
    expect(parseEsdbUrl(url)).toEqual({ ...PLAIN, ...expected });
  });

  it.each<[string, RegExp]>([
    ['esdb:host', /is not of the form esdb\[\+discover\]:/],
    ['esdb://admin:hun/ter2@host', /names a host|is not of the form/],
    ['esdb://admin:hun?ter2@host', /names a host|option/],
    ['esdb://admin:hunter2%@host', /credentials that are not percent-encoded/],
    ['esdb://admin:hunter2@', /is not of the form/],
    ['esdb://host:0', /names a host/],
    ['esdb://host:65536', /names a host/],
    ['esdb://a,,b', /names a host/],
    ['esdb://host?tls=hunter2', /option tls that is neither true nor false/],
    ['esdb://host?tlsVerifyCert=false', /tlsVerifyCert=false, which the client cannot do/],
    ['esdb://host?nodePreference=follower', /everything is read from the leader/],
    ['esdb://host?keepAliveTimeout=hunter2', /option keepAliveTimeout that is not a whole number/],
    ['esdb://host?maxDiscoverAttempts=-1', /maxDiscoverAttempts that is less than 1/],
    ['esdb://host?gossipTimeout=0', /gossipTimeout that is less than 1/],
    ['esdb://host?userCertFile=hunter2', /given together/],
    ['esdb://host?hunter2=1', /an option that is not known here; known are tls/],
    ['esdb://host?throwOnAppendFailure=false', /an option that is not known here/],
  ])('says what is wrong with %s and shows nothing of it', (url, why) => {
    const found = parseEsdbUrl(url);
    const text = 'wrong' in found ? found.wrong : '';
    expect(text).toMatch(why);
    expect(text).not.toContain('hun');
  });
});
