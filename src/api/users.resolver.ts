import { GraphQLID as ID } from 'graphql';
import { Arg, Ctx, Mutation, Query, Resolver } from 'type-graphql';
import type { Device, UserState } from '../events/users.ts';
import { tokenHint } from '../events/users.ts';
import type { ApiContext } from './context.ts';
import type { Plain } from './plain.ts';
import { within } from './context.ts';
import {
  DeviceType,
  RegisterDeviceInput,
  RegisterUserInput,
  SetPreferenceInput,
  toRegisterDevice,
  toRegisterUser,
  toSetPreference,
  UserType,
} from './users.types.ts';

@Resolver()
export class UsersResolver {
  @Query(() => UserType, { nullable: true })
  async user(@Arg('id', () => ID) id: string, @Ctx() { queries, caller }: ApiContext): Promise<Plain<UserType> | null> {
    const user = await queries.user(caller.tenant, id);
    return user === null ? null : toUser(user);
  }

  @Mutation(() => UserType, {
    description: 'Creates or changes contact data. A field left out stays; null removes it.',
  })
  registerUser(
    @Arg('input', () => RegisterUserInput) input: RegisterUserInput,
    @Ctx() { commands, caller }: ApiContext,
  ): Promise<Plain<UserType>> {
    return within('input', async () => toUser(await commands.registerUser(caller, toRegisterUser(input))));
  }

  @Mutation(() => UserType)
  setPreference(
    @Arg('input', () => SetPreferenceInput) input: SetPreferenceInput,
    @Ctx() { commands, caller }: ApiContext,
  ): Promise<Plain<UserType>> {
    return within('input', async () => toUser(await commands.setPreference(caller, toSetPreference(input))));
  }

  @Mutation(() => DeviceType, {
    description: 'A token belongs to one user; registering it for another moves it.',
  })
  registerDevice(
    @Arg('input', () => RegisterDeviceInput) input: RegisterDeviceInput,
    @Ctx() { commands, caller }: ApiContext,
  ): Promise<Plain<DeviceType>> {
    return within('input', async () => toDevice(await commands.registerDevice(caller, toRegisterDevice(input))));
  }

  @Mutation(() => Boolean)
  removeDevice(@Arg('id', () => ID) id: string, @Ctx() { commands, caller }: ApiContext): Promise<boolean> {
    return commands.removeDevice(caller, id);
  }
}

function toUser({ id, email, phone, locale, timeZone, devices, preferences }: UserState): Plain<UserType> {
  return { id, email, phone, locale, timeZone, devices: devices.map(toDevice), preferences };
}

function toDevice({ id, platform, token, active }: Device): Plain<DeviceType> {
  return { id, platform, tokenHint: tokenHint(token), active };
}
