import { describe, expect, it } from 'vitest';
import { toTexts } from '../../src/ports/event-log/append-checks.ts';
import { decodeEvent, encodeEvent, stampVersion } from '../../src/ports/event-log/lmdb-codec.ts';

const metadata = { schemaVersion: 1, tenant: 't', occurredAt: '', correlationId: '', causationId: '' };
const event = { id: 'id-é', type: 'Noted', data: { text: 'Grüße, 世界 🛰', nothing: undefined }, metadata };

/** Written by the first version that there was: logs are kept for years. */
const RECORD = Buffer.from(
  'AQAAAQIABwAFAAUAAAAfbm90ZS3DvE5vdGVkaWQtw6l7InRleHQiOiJHcsO8w59lLCDkuJbnlYwg8J+bsCJ9eyJzY2hlbWFWZXJzaW9uIjoxLCJ0' +
    'ZW5hbnQiOiJ0Iiwib2NjdXJyZWRBdCI6IiIsImNvcnJlbGF0aW9uSWQiOiIiLCJjYXVzYXRpb25JZCI6IiJ9',
  'base64',
);

describe('how an event lies in the embedded log', () => {
  it('stays as it was', () => {
    const records = toTexts([event]).map((texts) => encodeEvent('note-ü', texts).record);
    for (const record of records) stampVersion(record, 258);
    expect(records).toEqual([RECORD]);
    expect(decodeEvent(RECORD, 7)).toStrictEqual({
      ...event,
      data: { text: 'Grüße, 世界 🛰' },
      stream: 'note-ü',
      version: 258,
      position: '0000000000000007',
    });
  });
});
