import { describe, expect, it } from 'vitest';
import { isPhoneNumber } from '../../src/senders/sms-phone.ts';

describe('a phone number', () => {
  it.each([
    ['of Germany', '+4915112345678'],
    ['of the United States', '+12025550123'],
    ['of Italy, where the zero stays', '+390612345678'],
    ['of Estonia, short', '+3725123456'],
    ['of a satellite', '+881612345678'],
    ['of a network without a country', '+883510000000000'],
    ['that Twilio tests with', '+15005550001'],
    ['that the sandbox tests with', '+15005553003'],
  ])('%s is one', (_what, text) => {
    expect(isPhoneNumber(text)).toBe(true);
  });

  it.each([
    ['nothing', ''],
    ['a national number', '015112345678'],
    ['two zeros for the plus sign', '004915112345678'],
    ['spaces', '+49 151 12345678'],
    ['punctuation', '+1(202)5550123'],
    ['a space before it', ' +4915112345678'],
    ['a line feed behind it', '+4915112345678\n'],
    ['an extension', '+12025550123;ext=5'],
    ['letters', '+1202555CALL'],
    ['digits of another script', '+٤٩١٥١١٢٣٤٥٦٧٨'],
    ['a country that does not exist', '+99912345678'],
    ['too few digits for its country', '+120255501'],
    ['too many digits for its country', '+120255501234'],
    ['more digits than any number has', '+1234567890123456'],
    ['a zero that is only dialled at home', '+4401632960000'],
    ['another channel', 'whatsapp:+4915112345678'],
  ])('with %s is none', (_what, text) => {
    expect(isPhoneNumber(text)).toBe(false);
  });
});
