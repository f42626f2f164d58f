import type { ErrorCode } from '../errors.ts';
import { DomainError } from '../errors.ts';

/** Refuses text that is empty, longer than `max` characters, or holds control characters or half a character. */
export function requireText(value: string, field: string, max: number): void {
  if (value.trim() === '') throw new DomainError('INVALID_INPUT', `${field} is empty`, field);
  if (value.length > max) throw new DomainError('INVALID_INPUT', `${field} is over ${String(max)} characters`, field);
  if (hasControlCharacter(value)) throw new DomainError('INVALID_INPUT', `${field} holds a control character`, field);
}

export function refuse(condition: boolean, code: ErrorCode, message: string, field: string | null): void {
  if (condition) throw new DomainError(code, message, field);
}

/** Half a character, a lone surrogate, is none either: written as UTF-8 all of them become the same one. */
export function hasControlCharacter(value: string): boolean {
  return /[\p{Cc}\p{Surrogate}]/u.test(value);
}

/** A language tag may go on for ever by its extensions. */
const MAX_LOCALE = 100;

/** BCP 47. */
export function isLocale(value: string): boolean {
  try {
    return value.length <= MAX_LOCALE && Intl.getCanonicalLocales(value).length === 1;
  } catch {
    return false;
  }
}

/** A name of the IANA time zone database, as this runtime knows it. */
export function isTimeZone(value: string): boolean {
  try {
    return (
      new Intl.DateTimeFormat('en', { timeZone: value }).resolvedOptions().timeZone !== '' && /^[A-Za-z]/.test(value)
    );
  } catch {
    return false;
  }
}
