import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cut } from '../../src/sandbox/twilio-message.ts';
import { smsParts, smsText } from '../../src/senders/sms-text.ts';

const GSM_BASIC =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
  '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà';
const GSM_EXTENDED = '\f^{}\\[~]|€';

describe('the parts of a text message', () => {
  it.each([
    ['empty', '', 'GSM-7', 1],
    ['all of the basic set', GSM_BASIC, 'GSM-7', 1],
    ['160 basic characters', 'a'.repeat(160), 'GSM-7', 1],
    ['161 basic characters', 'a'.repeat(161), 'GSM-7', 2],
    ['306 basic characters', 'a'.repeat(306), 'GSM-7', 2],
    ['307 basic characters', 'a'.repeat(307), 'GSM-7', 3],
    ['1,530 basic characters', 'a'.repeat(1_530), 'GSM-7', 10],
    ['80 of the extension table', '€'.repeat(80), 'GSM-7', 1],
    ['81 of the extension table, two septets each', '€'.repeat(81), 'GSM-7', 2],
    ['152 of the extension table, 76 to a segment', '€'.repeat(152), 'GSM-7', 2],
    ['153 of the extension table', '€'.repeat(153), 'GSM-7', 3],
    ['a euro sign that does not fit in half', `${'a'.repeat(152)}€${'a'.repeat(152)}`, 'GSM-7', 3],
    ['the same number of septets without it', `${'a'.repeat(151)}€${'a'.repeat(153)}`, 'GSM-7', 2],
    ['70 units', 'д'.repeat(70), 'UCS-2', 1],
    ['71 units', 'д'.repeat(71), 'UCS-2', 2],
    ['134 units', 'д'.repeat(134), 'UCS-2', 2],
    ['135 units', 'д'.repeat(135), 'UCS-2', 3],
    ['a small ç, which only has a capital there', 'garçon', 'UCS-2', 1],
    ['a typographic apostrophe', 'It’s', 'UCS-2', 1],
    ['a back tick', '`', 'UCS-2', 1],
    ['35 emoji, two units each', '😀'.repeat(35), 'UCS-2', 1],
    ['36 emoji, 33 to a segment', '😀'.repeat(36), 'UCS-2', 2],
    ['66 emoji', '😀'.repeat(66), 'UCS-2', 2],
    ['67 emoji', '😀'.repeat(67), 'UCS-2', 3],
    ['an emoji that does not fit in half', `${'д'.repeat(66)}😀${'д'.repeat(66)}`, 'UCS-2', 3],
    ['one emoji in 70 Latin characters', `${'a'.repeat(68)}😀`, 'UCS-2', 1],
  ])('%s', (_what, text, encoding, segments) => {
    expect(smsParts(text)).toEqual({ encoding, segments });
  });

  const character = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...Array.from(GSM_BASIC.replace('\r', ''))) },
    { weight: 3, arbitrary: fc.constantFrom(...Array.from(GSM_EXTENDED)) },
  );
  const anyCharacter = fc.oneof({ weight: 9, arbitrary: character }, fc.constantFrom('д', '😀', 'ç', '\u200d'));
  const text = (unit: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.string({ unit, maxLength: 700 });

  it('are what the sandbox counts in its own way', () => {
    fc.assert(
      fc.property(fc.oneof(text(character), text(anyCharacter)), (any) => {
        expect(smsParts(any)).toEqual(cut(any));
      }),
    );
  });

  it('never become fewer with more text, and one more at most with one more character', () => {
    fc.assert(
      fc.property(text(character), character, (any, more) => {
        const [before, after] = [smsParts(any).segments, smsParts(any + more).segments];
        expect(after - before).toBeGreaterThanOrEqual(0);
        expect(after - before).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('hold all of it, none over its limit', () => {
    fc.assert(
      fc.property(text(anyCharacter), (any) => {
        const { encoding, segments } = smsParts(any);
        const [alone, each] = encoding === 'GSM-7' ? [160, 153] : [70, 67];
        const units = encoding === 'GSM-7' ? any.replace(/[\f^{}\\[~\]|€]/g, '12').length : any.length;
        expect(units).toBeLessThanOrEqual(segments === 1 ? alone : segments * each);
        // A character of two units that does not fit leaves one place free.
        if (segments > 1) expect(units).toBeGreaterThan(Math.min(alone, (segments - 1) * (each - 1)));
      }),
    );
  });
});

describe('the text of a text message', () => {
  const of = (body: string, url: string | null = null): string => smsText({ title: 'Never seen', body, url });

  it('is the body', () => {
    expect(of('Your code is 123456.')).toBe('Your code is 123456.');
  });

  it('ends with the link on a line of its own', () => {
    expect(of('Your parcel', 'https://shop.example/o/1')).toBe('Your parcel\nhttps://shop.example/o/1');
  });

  it.each([
    'See https://shop.example/o/1',
    'https://shop.example/o/1: your parcel',
    'Your parcel (https://shop.example/o/1).',
    'See https://shop.example/o/1, please\nbye',
    'See https://shop.example/o/12 and https://shop.example/o/1!',
  ])('does not repeat the link in %j', (body) => {
    expect(of(body, 'https://shop.example/o/1')).toBe(body);
  });

  it.each([
    'See https://shop.example/o/12',
    'See https://shop.example/o/1.html',
    'See https://shop.example/o/1?x=1',
    'See https://shop.example/o/1#top',
    'See xhttps://shop.example/o/1',
  ])('adds the link when there is only a longer one in %j', (body) => {
    expect(of(body, 'https://shop.example/o/1')).toBe(`${body}\nhttps://shop.example/o/1`);
  });

  it('is the link alone when there is no body', () => {
    expect(of(' \n', 'https://shop.example')).toBe('https://shop.example');
  });

  it('has no line breaks but line feeds, and no tabs', () => {
    expect(of('a\r\nb\rc\u0085d\u2028e\u2029f\tg')).toBe('a\nb\nc\nd\ne\nf g');
  });

  it('has no control characters', () => {
    expect(of('\u0000a\u0007b\u001bc\u007fd\u009be\f')).toBe('abcde');
  });

  it('has no halves of characters', () => {
    expect(of('a\ud83db\ude00c😀')).toBe('abc😀');
  });

  it('has nothing that makes a link read otherwise than it is', () => {
    expect(of('\u202ehttps://moc.elpmaxe\u202c \u2066x\u2069 a\u00adb\u200bc\u2060d\ufeffe')).toBe(
      'https://moc.elpmaxe x abcde',
    );
    expect(of('See', 'https://shop.example/\u202egpj.exe')).toBe('See\nhttps://shop.example/gpj.exe');
  });

  it('keeps what scripts and emoji are written with', () => {
    const words =
      'שלום\u200f 10 می\u200cروم 👩\u200d👩\u200d👧 ❤\ufe0f 🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}';
    expect(of(words)).toBe(words);
  });

  it('never holds control characters, whatever it is made of', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.constantFrom(null, 'https://shop.example/o/1', '\u0007\u202ex'),
        (body, url) => {
          const text = of(body, url);
          expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Cs}|[\u202a-\u202e\u2066-\u2069]/u);
          expect(text.trim()).toBe(text);
        },
      ),
    );
  });
});
