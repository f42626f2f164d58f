import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BOUNCE_REASONS } from '../../src/events/outcome.ts';
import {
  RECEIPT_RULES,
  CONNECTION_OVERRIDES,
  isSignedByTwilio,
  readTwilioReceipt,
  type TwilioReceipt,
} from '../../src/senders/sms-twilio-receipt.ts';

type Form = readonly (readonly [name: string, value: string])[];

function encoded(form: Form): string {
  return new URLSearchParams(form.map(([name, value]) => [name, value])).toString();
}

/** As Twilio's pages describe it (https://www.twilio.com/docs/usage/webhooks/webhooks-security), repeated values sorted. */
function signatureOf(token: string, url: string, form: Form = []): string {
  const names = [...new Set(form.map(([name]) => name))].sort();
  const valuesOf = (name: string): readonly string[] =>
    [...new Set(form.filter(([each]) => each === name).map(([, value]) => value))].sort();
  const signed = names.flatMap((name) => valuesOf(name).map((value) => name + value));
  return createHmac('sha1', token)
    .update([url, ...signed].join(''))
    .digest('base64');
}

/**
 * Twilio's own test vectors, of its library for Node (github.com/twilio/twilio-node at 45d3d65, MIT licence):
 * spec/validation.spec.js, signatures made by Twilio.
 */
describe("the signatures of Twilio's own tests", () => {
  const token = '12345';
  const form: Form = [
    ['CallSid', 'CA1234567890ABCDE'],
    ['Caller', '+14158675309'],
    ['Digits', '1234'],
    ['From', '+14158675309'],
    ['To', '+18005551212'],
  ];
  const url = 'https://mycompany.com/myapp.php?foo=1&bar=2';
  const signature = 'RSOYDt4T1cUTdK1PDd93/VVr8B8=';
  const json = '{"property": "value", "boolean": true}';
  const hash = '0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620';
  const emptyHash = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
  const addresses = (...values: readonly string[]): Form =>
    values.map((value) => ['MessagingBinding.Address', value] as const);
  const digits: Form = [
    ['Sid', 'CA123'],
    ['SidAccount', 'AC123'],
    ['Digits', '5678'],
    ['Digits', '1234'],
    ['Digits', '1234'],
  ];

  it.each([
    ['the correct signature', url, signature, encoded(form)],
    ['a port of https that was not signed', url.replace('.com', '.com:1234'), signature, encoded(form)],
    [
      'a port of http that was signed',
      url.replace('.com', '.com:1234').replace('https', 'http'),
      'Zmvh+3yNM1Phv2jhDCwEM3q5ebU=',
      encoded(form),
    ],
    ['port 443 signed, but not given', url, 'kvajT1Ptam85bY51eRf/AJRuM3w=', encoded(form)],
    ['port 80 signed, but not given', url.replace('https', 'http'), '0ZXoZLH/DfblKGATFgpif+LLRf4=', encoded(form)],
    ['user and password', url.replace('//', '//user:pass@'), 'CukzLTc1tT5dXEDIHm/tKBanW10=', encoded(form)],
    ['a user', url.replace('//', '//user@'), '2YRLlVAflCqxaNicjMpJcSTgzSs=', encoded(form)],
    [
      'user and password, and port 443 signed, but not given',
      url.replace('//', '//user:pass@'),
      'ZQFR1PTIZXF2MXB8ZnKCvnnA+rI=',
      encoded(form),
    ],
    ['special characters', `${url}&Body=It's+amazing`, 'TfZzewPq8wqrGlMfyAud8+/IvJ0=', encoded(form)],
    ['a repeated field', url, '83O6e2vORAoJHUNzJjDWN1jz+BA=', encoded(addresses('+1325xxxxxxx', '+1415xxxxxxx'))],
    [
      'a repeated field in another order',
      url,
      '83O6e2vORAoJHUNzJjDWN1jz+BA=',
      encoded(addresses('+1415xxxxxxx', '+1325xxxxxxx')),
    ],
    ['a repeated field among others, and a value twice', url, 'IK+Dwps556ElfBT0I3Rgjkr1wJU=', encoded(digits)],
    ['a body with its hash', `${url}&bodySHA256=${hash}`, 'a9nBmqA0ju/hNViExpshrM61xv4=', json],
    ['an empty body with its hash', `${url}&bodySHA256=${emptyHash}`, 'Ldidvp12m26NI7eqEvxnEpkd9Hc=', '{}'],
    ['the hash alone', `https://mycompany.com/myapp.php?bodySHA256=${hash}`, 'y77kIzt2vzLz71DgmJGsen2scGs=', json],
  ])('are right with %s', (_what, signedUrl, given, body) => {
    expect(isSignedByTwilio(token, { url: signedUrl, signature: given, body })).toBe(true);
  });

  it.each([
    ['another signature', url, 'WRONG_SIGNATURE', encoded(form)],
    ['no signature', url, undefined, encoded(form)],
    ['another hash', `${url}&bodySHA256=WRONG_HASH`, 'a9nBmqA0ju/hNViExpshrM61xv4=', json],
    ['another body than the hash is of', `${url}&bodySHA256=${hash}`, 'a9nBmqA0ju/hNViExpshrM61xv4=', '{}'],
    ['a body without a hash', url, signature, json],
    ['a further parameter', `${url}&somethingUnexpected=true`, signature, encoded(form)],
  ])('are wrong with %s', (_what, signedUrl, given, body) => {
    expect(isSignedByTwilio(token, { url: signedUrl, signature: given, body })).toBe(false);
  });

  // spec/unit/webhooks/webhooks.spec.js
  it.each([
    ['https://example.com:443/path?test=param', 'https://example.com:443/path?test=param'],
    ['https://example.com:443/path?test=param', 'https://example.com/path?test=param'],
    ['https://example.com/path?test=param', 'https://example.com/path?test=param'],
    ['https://example.com/path?test=param', 'https://example.com:443/path?test=param'],
    ["https://example.com/path?test=param'WithQuote", "https://example.com/path?test=param'WithQuote"],
    ["https://example.com/path?test=param'WithQuote", 'https://example.com/path?test=param%27WithQuote'],
    ['https://example.com/path?test=param%27WithQuote', "https://example.com/path?test=param'WithQuote"],
    ['https://example.com/path?test=param%27WithQuote', 'https://example.com/path?test=param%27WithQuote'],
  ])('made over %s are right for %s', (signedUrl, target) => {
    const given = signatureOf('s3cr3t', signedUrl);
    expect(isSignedByTwilio('s3cr3t', { url: target, signature: given, body: '' })).toBe(true);
  });

  it('made over another URL are wrong', () => {
    const given = signatureOf('s3cr3t', 'https://example.com/path?test=param');
    const target = 'https://example.com/path?test=param2';
    expect(isSignedByTwilio('s3cr3t', { url: target, signature: given, body: '' })).toBe(false);
  });

  /** The example of https://www.twilio.com/docs/usage/webhooks/webhooks-security */
  it("are right for the example of Twilio's pages", () => {
    const example: Form = [
      ['CallSid', 'CA1234567890ABCDE'],
      ['Caller', '+12349013030'],
      ['Digits', '1234'],
      ['From', '+12349013030'],
      ['To', '+18005551212'],
    ];
    const page = 'https://mycompany.com/myapp.php?foo=1&bar=2';
    expect(
      isSignedByTwilio('12345', { url: page, signature: '0/KCTR6DLpKmkAf8muzZqo1nDgQ=', body: encoded(example) }),
    ).toBe(true);
  });
});

const ACCOUNT = { accountSid: `AC${'0123456789abcdef'.repeat(2)}`, authToken: 'a secret token' };
const SID = `SM${'fedcba9876543210'.repeat(2)}`;
const URL_OF_RECEIPT = 'https://notify.example:8443/receipts/twilio/AbC-_123?x=%20y';

function receiptForm(changes: Readonly<Record<string, string | null>> = {}): Form {
  const form: Record<string, string | null> = {
    SmsSid: SID,
    SmsStatus: 'delivered',
    MessageStatus: 'delivered',
    To: '+4915112345678',
    MessageSid: SID,
    AccountSid: ACCOUNT.accountSid,
    From: '+15005550006',
    ApiVersion: '2010-04-01',
    ...changes,
  };
  return Object.entries(form).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const]));
}

function ofFields(count: number): Form {
  const form = receiptForm();
  const more = Array.from({ length: count - form.length }, (_each, index) => [`New${String(index)}`, ''] as const);
  return [...form, ...more];
}

function read(form: Form, signed = { url: URL_OF_RECEIPT, token: ACCOUNT.authToken }): TwilioReceipt {
  const signature = signatureOf(signed.token, signed.url, form);
  return readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature, body: encoded(form) });
}

describe('a receipt', () => {
  it.each([
    ['accepted', { kind: 'accepted' }],
    ['scheduled', { kind: 'accepted' }],
    ['queued', { kind: 'accepted' }],
    ['sending', { kind: 'accepted' }],
    ['sent', { kind: 'accepted' }],
    ['delivered', { kind: 'delivered' }],
    ['read', { kind: 'delivered' }],
    ['undelivered', { kind: 'bounced', reason: 'CARRIER_FAILED' }],
    ['failed', { kind: 'bounced', reason: 'PROVIDER_FAILED' }],
    ['canceled', { kind: 'bounced', reason: 'PROVIDER_FAILED' }],
  ])('of status %s', (status, verdict) => {
    const receipt = read(receiptForm({ MessageStatus: status }));
    expect(receipt).toEqual({ kind: 'receipt', providerMessageId: SID, verdict, raw: status });
  });

  const rows = RECEIPT_RULES.flatMap(({ verdict, errors = [] }) =>
    errors.map((error) => [error, verdict.kind === 'bounced' ? verdict.reason : null] as const),
  );

  it.each(rows)('of a message undelivered with error %i: %s', (error, reason) => {
    for (const status of ['undelivered', 'failed']) {
      expect(read(receiptForm({ MessageStatus: status, ErrorCode: String(error) }))).toEqual({
        kind: 'receipt',
        providerMessageId: SID,
        verdict: { kind: 'bounced', reason },
        raw: `${status} ${String(error)}`,
      });
    }
  });

  it('has one reason for every error code, and some code for every reason', () => {
    expect(new Set(rows.map(([error]) => error)).size).toBe(rows.length);
    expect(new Set(rows.map(([, reason]) => reason))).toEqual(new Set(BOUNCE_REASONS));
  });

  it.each([
    ['undelivered', '39999', 'CARRIER_FAILED', 'undelivered 39999'],
    ['failed', '39999', 'PROVIDER_FAILED', 'failed 39999'],
    ['failed', '', 'PROVIDER_FAILED', 'failed'],
  ])('of a message %s with an error code nobody knows, %j', (status, error, reason, raw) => {
    const verdict = { kind: 'bounced', reason };
    expect(read(receiptForm({ MessageStatus: status, ErrorCode: error }))).toMatchObject({ verdict, raw });
  });

  it.each(['partially_delivered', 'received', 'unheard_of'])('is ignored with status %j', (status) => {
    expect(read(receiptForm({ MessageStatus: status }))).toEqual({ kind: 'ignored' });
  });

  it('may say in words what its code says', () => {
    const words = { ChannelStatusMessage: 'ErrorCode: none; MessageStatus - unclear', ErrorCode: '30003' };
    expect(read(receiptForm({ ...words, MessageStatus: 'undelivered' }))).toMatchObject({
      verdict: { kind: 'bounced', reason: 'RECIPIENT_UNREACHABLE' },
    });
  });

  it('may have up to a hundred fields', () => {
    expect(read(ofFields(100))).toMatchObject({ kind: 'receipt' });
    expect(read(ofFields(101))).toEqual({ kind: 'forged' });
    const repeated = Array.from({ length: 101 }, (_each, index) => ['To', String(index)] as const);
    expect(read([...receiptForm({ To: null }), ...repeated])).toEqual({ kind: 'forged' });
  });

  it('may hold what nobody knows yet', () => {
    expect(
      read(receiptForm({ ChannelToAddress: '+49', 'Müller & Söhne': 'a b+c=%20', __proto__x: '1' })),
    ).toMatchObject({
      kind: 'receipt',
    });
  });

  it('is believed with its fragment signed or not', () => {
    const url = URL_OF_RECEIPT + CONNECTION_OVERRIDES;
    expect(read(receiptForm(), { url, token: ACCOUNT.authToken })).toMatchObject({ kind: 'receipt' });
  });
});

describe('a forged receipt', () => {
  const forged = { kind: 'forged' };
  const form = receiptForm();
  const body = encoded(form);
  const signature = signatureOf(ACCOUNT.authToken, URL_OF_RECEIPT, form);

  it.each([
    ['signed with another token', read(form, { url: URL_OF_RECEIPT, token: 'another' })],
    ['signed with no token', read(form, { url: URL_OF_RECEIPT, token: '' })],
    ['signed for another delivery', read(form, { url: `${URL_OF_RECEIPT}4`, token: ACCOUNT.authToken })],
    ['of another account', read(receiptForm({ AccountSid: `AC${'0'.repeat(32)}` }))],
    ['of no account', read(receiptForm({ AccountSid: null }))],
    ['of no message', read(receiptForm({ MessageSid: null }))],
    ['of a call', read(receiptForm({ MessageSid: null, CallSid: `CA${'0'.repeat(32)}` }))],
    ['with something else for a message', read(receiptForm({ MessageSid: 'SM1' }))],
    ['without a signature', readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature: undefined, body })],
    ['with an empty signature', readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature: '', body })],
    ['with a field more', readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature, body: `${body}&A=1` })],
    ['with a field less', readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature, body: encoded(form.slice(1)) })],
    ['without a body', readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature, body: '' })],
    ['at something that is no URL', readTwilioReceipt(ACCOUNT, { url: '/receipts', signature, body })],
  ])('%s is told from a real one', (_what, receipt) => {
    expect(receipt).toEqual(forged);
  });

  // The signed text has nothing between names and values: all of these have the signature of the genuine receipt.
  const cut: Form = [
    ['AccountSid', ACCOUNT.accountSid],
    ['ApiVersion', '2010-04-01'],
    ['ErrorCode', '30007'],
    ['From', '+15005550006'],
    ['MessageSid', SID],
    ['MessageStatus', 'undelivered'],
    ['SmsSid', SID],
    ['SmsStatus', 'undelivered'],
    ['To', '+4915112345678'],
  ];
  const without = (...names: readonly string[]): Form => cut.filter(([name]) => !names.includes(name));

  it.each<readonly [string, Form]>([
    ['in the value before it', [...without('ApiVersion', 'ErrorCode'), ['ApiVersion', '2010-04-01ErrorCode30007']]],
    ['in the name before it', [...without('ApiVersion', 'ErrorCode'), ['ApiVersion2010-04-01ErrorCode', '30007']]],
    ['in two names', [...without('ApiVersion', 'ErrorCode'), ['ApiVersion2010-04-01Error', ''], ['Code30007', '']]],
    ['in a value further on', [...without('ErrorCode', 'From'), ['ErrorCode', '30007From+15005550006']]],
    ['in the status', [...without('MessageStatus', 'SmsSid'), ['MessageStatus', `undeliveredSmsSid${SID}`]]],
    ['behind a shorter status', [...without('MessageStatus'), ['MessageStatus', ''], ['MessageStatusundelivered', '']]],
  ])('that hides a field %s is told from a real one, though its signature is right', (_where, fields) => {
    expect(read(cut)).toMatchObject({ kind: 'receipt', raw: 'undelivered 30007' });
    expect(read(fields)).toEqual(forged);
    const genuine = signatureOf(ACCOUNT.authToken, URL_OF_RECEIPT, cut);
    expect(readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature: genuine, body: encoded(fields) })).toEqual(
      forged,
    );
  });

  it.each([
    { MessageStatus: 'DELIVERED' },
    { MessageStatus: 'unheard of' },
    { MessageStatus: '' },
    { MessageStatus: null },
    { ErrorCode: 'none of your business' },
    { ApiVersion: '2010-04-01x' },
  ])('is one that is not in the form that Twilio uses: %j', (changes) => {
    expect(read(receiptForm(changes))).toEqual(forged);
  });

  it('is one with a question mark before its body, which the reading of a form would drop', () => {
    expect(readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature, body: `?${body}` })).toEqual(forged);
  });

  it('is told from a real one whatever is changed in it', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string({ unit: 'binary', minLength: 1, maxLength: 3 }), (at, change) => {
        const index = at % body.length;
        const changed = body.slice(0, index) + change + body.slice(index + 1);
        fc.pre(new URLSearchParams(changed).toString() !== body);
        expect(readTwilioReceipt(ACCOUNT, { url: URL_OF_RECEIPT, signature, body: changed })).toEqual(forged);
      }),
    );
  });

  it('never throws, whatever it is', () => {
    const anything = fc.record({
      url: fc.oneof(fc.string({ unit: 'binary' }), fc.constant(URL_OF_RECEIPT)),
      signature: fc.option(fc.string({ unit: 'binary' }), { nil: undefined }),
      body: fc.oneof(fc.string({ unit: 'binary' }), fc.constant(body)),
    });
    fc.assert(
      fc.property(anything, (request) => {
        expect(readTwilioReceipt(ACCOUNT, request)).toEqual(forged);
      }),
    );
  });
});
