import type { Caller, RegisterUser, SetPreference } from './commands.ts';
import type { CommandContext } from './context.ts';
import { requestMetadata } from './context.ts';
import type { Aggregate } from './handle.ts';
import { handle } from './handle.ts';
import { isLocale, isTimeZone, refuse, requireText } from './validation.ts';
import { DomainError } from '../errors.ts';
import { isEmailAddress } from '../events/address.ts';
import { foldUser } from '../events/fold.ts';
import type { Contact, UserEvent, UserState } from '../events/users.ts';
import { evolveUser } from '../events/users.ts';
import { streamOf } from '../ids.ts';

export async function registerUser(context: CommandContext, caller: Caller, input: RegisterUser): Promise<UserState> {
  checkContact(input, context.isPhoneNumber);
  return change(context, caller, input.id, (state) => contactEvents(state, input));
}

export async function setPreference(context: CommandContext, caller: Caller, input: SetPreference): Promise<UserState> {
  const { userId, channel, category, optIn } = input;
  if (category !== null) requireText(category, 'category', MAX_CATEGORY);
  return change(context, caller, userId, (state) => {
    if (state === null) throw new DomainError('USER_NOT_FOUND', `no user ${userId}`, 'userId');
    const before = state.preferences.find((each) => each.channel === channel && each.category === category);
    const full = before === undefined && state.preferences.length >= MAX_PREFERENCES;
    refuse(full, 'INVALID_INPUT', `the user has ${String(MAX_PREFERENCES)} preferences already`, 'category');
    return before?.optIn === optIn ? [] : [{ type: 'PreferenceSet', data: { channel, category, optIn } }];
  });
}

export const MAX_CATEGORY = 100;
/** They are folded wherever the user is. */
const MAX_PREFERENCES = 500;

export function userAggregate(tenant: string, userId: string): Aggregate<UserState> {
  return { stream: streamOf.user(tenant, userId), fold: foldUser };
}

async function change(
  context: CommandContext,
  caller: Caller,
  userId: string,
  decide: (state: UserState | null) => readonly UserEvent[],
): Promise<UserState> {
  const metadata = requestMetadata(caller, context.now());
  const aggregate = userAggregate(caller.tenant, userId);
  const { state, appended } = await handle({ log: context.log, newId: context.ids.random }, aggregate, (current) =>
    decide(current).map((event) => ({ event, metadata })),
  );
  const events = appended as readonly UserEvent[];
  const after = events.reduce<UserState | null>((each, event) => evolveUser(each, event, caller.tenant), state);
  if (after === null) throw new Error('a user that was changed is there');
  return after;
}

/** A field left out stays, null removes it; nothing is recorded when nothing changes. */
function contactEvents(state: UserState | null, input: RegisterUser): readonly UserEvent[] {
  const given = contactOf(input);
  if (state === null) {
    const nothing: Contact = { email: null, phone: null, locale: null, timeZone: null };
    return [{ type: 'UserRegistered', data: { userId: input.id, ...nothing, ...given } }];
  }
  const changed = Object.entries(given).filter(([field, value]) => state[field as keyof Contact] !== value);
  return changed.length === 0 ? [] : [{ type: 'ContactChanged', data: Object.fromEntries(changed) }];
}

function contactOf({ email, phone, locale, timeZone }: RegisterUser): Partial<Contact> {
  return {
    ...(email !== undefined && { email }),
    ...(phone !== undefined && { phone }),
    ...(locale !== undefined && { locale }),
    ...(timeZone !== undefined && { timeZone }),
  };
}

const PHONE_FORM =
  'phone is no phone number in E.164 form: a plus sign, country code and number, digits only, for example +12025550123';

function checkContact(
  { id, email, phone, locale, timeZone }: RegisterUser,
  isPhoneNumber: CommandContext['isPhoneNumber'],
): void {
  requireText(id, 'id', 255);
  const bad = <T>(value: T | null | undefined, good: (value: T) => boolean): boolean => value != null && !good(value);
  refuse(bad(email, isEmailAddress), 'INVALID_EMAIL', 'email is not exactly one plain e-mail address', 'email');
  refuse(bad(phone, isPhoneNumber), 'INVALID_PHONE', PHONE_FORM, 'phone');
  refuse(bad(locale, isLocale), 'INVALID_INPUT', 'locale is not a BCP 47 language tag, for example pt-BR', 'locale');
  refuse(
    bad(timeZone, isTimeZone),
    'INVALID_INPUT',
    'timeZone is not an IANA name, for example Europe/Berlin',
    'timeZone',
  );
}
