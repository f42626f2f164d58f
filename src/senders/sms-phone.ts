import { parsePhoneNumberFromString } from 'libphonenumber-js/min';

/** ITU-T E.164: a plus sign and at most fifteen digits. */
const E164 = /^\+[1-9]\d{1,14}$/;

/**
 * Whether the text is a phone number exactly as it is dialled from abroad, without spaces or punctuation: its country
 * calling code exists and a number there may be this long. Deliberately not whether the number is assigned: numbering
 * plans change faster than any list of them, and who carries the message knows better.
 */
export function isPhoneNumber(text: string): boolean {
  if (!E164.test(text)) return false;
  const number = parsePhoneNumberFromString(text);
  // The parser drops what does not belong there, such as the zero in +44 0…: then it is not the same number.
  return number?.number === text && number.isPossible();
}
