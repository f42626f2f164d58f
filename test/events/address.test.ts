import fc from 'fast-check';
import { createTransport } from 'nodemailer';
import addressparser from 'nodemailer/lib/addressparser';
import { domainToASCII } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isEmailAddress } from '../../src/events/address.ts';

const label63 = 'a'.repeat(63);

describe('an e-mail address', () => {
  it.each([
    'anna@example.com',
    'anna.smith+tag@mail.example.co.uk',
    "o'hara!#$%&*/=?^_`{|}~-@example.com",
    'anna@localhost',
    'anna@xn--jgeva-dua.ee',
    'anna@jõgeva.ee',
    'anna@例え.テスト',
    `${'a'.repeat(64)}@example.com`,
    `a@${label63}.${label63}.${label63}.${'a'.repeat(60)}`,
  ])('%s is one', (text) => {
    expect(isEmailAddress(text)).toBe(true);
  });

  it.each([
    '',
    'anna',
    '@example.com',
    'anna@',
    'a@b@example.com',
    '"a b"@example.com',
    '"anna"@example.com',
    'Anna <anna@example.com>',
    '<anna@example.com>',
    'a@x.example,b@x.example',
    'a@x.example;b@x.example',
    'a@x.example b@x.example',
    ' anna@example.com',
    'anna@example.com ',
    'anna@example.com\r\nRCPT TO:<b@x.example>',
    'anna@exam\0ple.com',
    '.anna@example.com',
    'anna.@example.com',
    'an..na@example.com',
    'anna@.example.com',
    'anna@example.com.',
    'anna@example..com',
    'anna@-example.com',
    'anna@example-.com',
    'anna@exa_mple.com',
    'anna@[127.0.0.1]',
    'anna@127.0.0.1',
    'anna@0x7f.1',
    'anna@0x7f',
    'änna@example.com',
    'anna@example.com(comment)',
    'anna@ｅxample.com',
    'anna@example。com',
    'anna＠example.com',
    'anna@\u202Eexample.com',
    'anna@b%40c.example',
    'anna@ﷺ.example',
    `${'a'.repeat(65)}@example.com`,
    `anna@${label63}a.example`,
    `ab@${label63}.${label63}.${label63}.${'a'.repeat(60)}`,
    `anna@${'ä'.repeat(62)}.example`,
  ])('%j is none', (text) => {
    expect(isEmailAddress(text)).toBe(false);
  });
});

describe('whatever passes for an e-mail address', () => {
  const piece = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('a', 'B', '7', '-', '.', '_', '+', 'example', 'com', 'ä', '例') },
    { weight: 2, arbitrary: fc.constantFrom(...Array.from('"(),:;<>@[]\\ \t\r\n\0%/#?`\'')) },
    { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 2 }) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 2 }) },
  );
  const part = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join(''));
  const text = fc.oneof(
    fc.tuple(part, part).map((parts) => parts.join('@')),
    part,
    fc.emailAddress(),
  );
  const transport = createTransport({ streamTransport: true, buffer: true });

  it('is the same one mailbox to nodemailer, in the header and in the envelope', async () => {
    let accepted = 0;
    const property = fc.asyncProperty(text, async (address) => {
      if (!isEmailAddress(address)) return;
      accepted++;
      expect(addressparser(address)).toEqual([{ address, name: '' }]);
      const [localPart = '', domain = ''] = address.split('@');
      const { envelope } = await transport.sendMail({ from: 'a@x.example', to: { name: '', address }, text: 'x' });
      expect(envelope.to).toEqual([`${localPart}@${domainToASCII(domain)}`]);
    });
    await fc.assert(property, { numRuns: 2_000 });
    expect(accepted).toBeGreaterThan(200);
  });
});
