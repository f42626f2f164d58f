import { GraphQLID as ID } from 'graphql';
import { Field, InputType, ObjectType } from 'type-graphql';
import type { RegisterDevice, RegisterUser, SetPreference } from '../commands/commands.ts';
import type { Channel } from '../events/event.ts';
import type { Platform } from '../events/notifications.ts';
import { ChannelEnum, PlatformEnum } from './enums.ts';

@ObjectType('Device', {
  description: 'tokenHint: the last six characters; a push token is a credential.',
  simpleResolvers: true,
})
export class DeviceType {
  @Field(() => ID)
  readonly id!: string;
  @Field(() => PlatformEnum)
  readonly platform!: Platform;
  @Field(() => String)
  readonly tokenHint!: string;
  @Field(() => Boolean)
  readonly active!: boolean;
}

@ObjectType('Preference', { description: 'Without category: the whole channel.', simpleResolvers: true })
export class PreferenceType {
  @Field(() => ChannelEnum)
  readonly channel!: Channel;
  @Field(() => String, { nullable: true })
  readonly category!: string | null;
  @Field(() => Boolean)
  readonly optIn!: boolean;
}

@ObjectType('User', { description: 'A recipient.', simpleResolvers: true })
export class UserType {
  @Field(() => ID, { description: 'Your own id of the user.' })
  readonly id!: string;
  @Field(() => String, { nullable: true })
  readonly email!: string | null;
  @Field(() => String, { nullable: true })
  readonly phone!: string | null;
  @Field(() => String, { nullable: true })
  readonly locale!: string | null;
  @Field(() => String, { nullable: true })
  readonly timeZone!: string | null;
  @Field(() => [DeviceType])
  readonly devices!: readonly DeviceType[];
  @Field(() => [PreferenceType], { description: 'What was ever set; all else is opted in.' })
  readonly preferences!: readonly PreferenceType[];
}

@InputType('RegisterUserInput', { description: 'phone E.164, locale BCP 47, timeZone IANA' })
export class RegisterUserInput {
  @Field(() => ID, { description: 'Your own id of the user.' })
  readonly id!: string;
  @Field(() => String, { nullable: true })
  readonly email?: string | null;
  @Field(() => String, { nullable: true })
  readonly phone?: string | null;
  @Field(() => String, { nullable: true })
  readonly locale?: string | null;
  @Field(() => String, { nullable: true })
  readonly timeZone?: string | null;
}

@InputType('SetPreferenceInput', { description: 'Without category: the whole channel.' })
export class SetPreferenceInput {
  @Field(() => ID)
  readonly userId!: string;
  @Field(() => ChannelEnum)
  readonly channel!: Channel;
  @Field(() => String, { nullable: true })
  readonly category?: string | null;
  @Field(() => Boolean)
  readonly optIn!: boolean;
}

@InputType('RegisterDeviceInput')
export class RegisterDeviceInput {
  @Field(() => ID)
  readonly userId!: string;
  @Field(() => ID, { nullable: true })
  readonly deviceId?: string | null;
  @Field(() => PlatformEnum)
  readonly platform!: Platform;
  @Field(() => String)
  readonly token!: string;
}

/** Keeps the difference between left out (stays) and null (removed). */
export function toRegisterUser({ id, email, phone, locale, timeZone }: RegisterUserInput): RegisterUser {
  return {
    id,
    ...(email !== undefined && { email }),
    ...(phone !== undefined && { phone }),
    ...(locale !== undefined && { locale }),
    ...(timeZone !== undefined && { timeZone }),
  };
}

export function toSetPreference({ userId, channel, category, optIn }: SetPreferenceInput): SetPreference {
  return { userId, channel, category: category ?? null, optIn };
}

export function toRegisterDevice({ userId, deviceId, platform, token }: RegisterDeviceInput): RegisterDevice {
  return { userId, deviceId: deviceId ?? null, platform, token };
}
