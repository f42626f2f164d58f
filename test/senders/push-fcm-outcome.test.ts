import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outcomeOf, readAnswer } from '../../src/senders/push-fcm-outcome.ts';

describe('an answer', () => {
  const read = (body: unknown, status = 400): ReturnType<typeof readAnswer> =>
    readAnswer({ status, retryAfter: null, body: typeof body === 'string' ? body : JSON.stringify(body) });

  it('has a name only when it is a success', () => {
    expect(read({ name: 'projects/p/messages/1' }, 200).name).toBe('projects/p/messages/1');
    expect(read({ name: 'projects/p/messages/1' }, 404).name).toBeNull();
    expect(read({ name: 7 }, 200).name).toBeNull();
    expect(read({ name: '' }, 200).name).toBeNull();
  });

  it('gives its codes for what they are only when they look like codes', () => {
    const details = [{ '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode: 'anna@example.com' }];
    expect(read({ error: { status: 'not found', details } })).toMatchObject({ fcm: null, canonical: null });
  });

  it('is read whatever it is, and never mistaken for an acceptance or a dead token', () => {
    const keys = fc.constantFrom('error', 'details', '@type', 'status', 'message', 'name', '__proto__', 'constructor');
    const json = fc.json({ stringUnit: 'binary' });
    const shaped = fc.dictionary(keys, fc.oneof(fc.jsonValue(), fc.dictionary(keys, fc.jsonValue())));
    const property = fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        json,
        shaped.map((value) => JSON.stringify(value)),
      ),
      fc.integer({ min: 300, max: 599 }),
      (body, status) => {
        const { name, text, ...rest } = read(body, status);
        expect(name).toBeNull();
        expect(typeof text).toBe('string');
        const outcome = outcomeOf({ stage: 'answered', code: null, ...rest }, null, null);
        expect(outcome.kind).not.toBe('sent');
        expect(outcome).not.toMatchObject({ reason: 'DEVICE_UNREGISTERED' });
        if (status >= 500) expect(outcome.kind).toBe('unknown');
      },
    );
    fc.assert(property, { numRuns: 500 });
  });

  it('is text where it is a page', () => {
    const page = '<!DOCTYPE html><style>\n*{margin:0}\n</style><title>Error 502</title><p><b>502.</b> Try again.';
    expect(read(page, 502).text.replace(/\s+/g, ' ')).toBe('Error 502 502. Try again.');
  });
});
