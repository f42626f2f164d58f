import type { GraphQLResolveInfo } from 'graphql';
import { GraphQLID as ID } from 'graphql';
import { Arg, Ctx, Info, Mutation, Query, Resolver } from 'type-graphql';
import type { NotificationView, Requested } from '../commands/commands.ts';
import { DomainError } from '../errors.ts';
import { statusOf } from '../events/notification.ts';
import type { ApiContext } from './context.ts';
import { argumentAsSent, within } from './context.ts';
import { RequestNotificationInput, toRequest } from './notifications.inputs.ts';
import {
  CancelNotificationPayload,
  NotificationType,
  RequestNotificationPayload,
  RequestNotificationResult,
  toDelivery,
} from './notifications.types.ts';
import type { Plain } from './plain.ts';
import { CursorScalar } from './scalars.ts';

@Resolver()
export class NotificationsResolver {
  @Query(() => CursorScalar, {
    description: 'Where the log ends now; what a subscriber that starts from nothing resumes from.',
  })
  head(@Ctx() { head, caller }: ApiContext): Promise<string> {
    return head(caller.tenant);
  }

  @Query(() => NotificationType, { nullable: true })
  async notification(
    @Arg('id', () => ID) id: string,
    @Ctx() { queries, caller }: ApiContext,
  ): Promise<Plain<NotificationType> | null> {
    const view = await queries.notification(caller.tenant, id);
    return view === null ? null : toNotification(view);
  }

  @Mutation(() => RequestNotificationPayload)
  async requestNotification(
    @Arg('input', () => RequestNotificationInput) input: RequestNotificationInput,
    @Ctx() context: ApiContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Plain<RequestNotificationPayload>> {
    const request = toRequest(input, argumentAsSent('input', info, context));
    return within('input', async () => toPayload(await context.commands.requestNotification(context.caller, request)));
  }

  @Mutation(() => [RequestNotificationResult], {
    description: 'At most 1,000. One result an item, in order; a bad item fails alone.',
  })
  async requestNotifications(
    @Arg('inputs', () => [RequestNotificationInput]) inputs: readonly RequestNotificationInput[],
    @Ctx() context: ApiContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<readonly Plain<RequestNotificationResult>[]> {
    const asSent = argumentAsSent('inputs', info, context);
    const items: readonly unknown[] = Array.isArray(asSent) ? asSent : [asSent];
    const requests = inputs.map((input, index) => toRequest(input, items[index]));
    const results = await context.commands.requestNotifications(context.caller, requests);
    return results.map(toResult);
  }

  @Mutation(() => CancelNotificationPayload)
  async cancelNotification(
    @Arg('id', () => ID) id: string,
    @Ctx() { commands, caller }: ApiContext,
  ): Promise<Plain<CancelNotificationPayload>> {
    const { cancelled, deliveries, notification } = await commands.cancelNotification(caller, id);
    return {
      cancelled,
      deliveries: deliveries.map(({ delivery, outcome }) => ({
        delivery: toDelivery(notification.state.id, delivery),
        outcome,
      })),
      notification: toNotification(notification),
    };
  }
}

function toPayload({ notification, cursor, replayed }: Requested): Plain<RequestNotificationPayload> {
  return { notification: toNotification(notification), cursor, replayed };
}

function toResult(result: Requested | DomainError, index: number): Plain<RequestNotificationResult> {
  if (result instanceof DomainError) {
    const { code, message, field } = result.within(`inputs[${String(index)}]`);
    return { notification: null, cursor: null, replayed: null, error: { code, message, field } };
  }
  const { notification, cursor, replayed } = result;
  return { notification: toNotification(notification), cursor, replayed, error: null };
}

function toNotification({ state, timeline }: NotificationView): Plain<NotificationType> {
  const { id, request, requestedAt } = state;
  const { userId, category, lane, campaign, deliverAt, expiresAt } = request;
  return {
    id,
    userId,
    status: statusOf(state),
    category,
    lane,
    campaign,
    requestedAt,
    deliverAt,
    expiresAt,
    deliveries: () => state.deliveries.map((delivery) => toDelivery(id, delivery)),
    timeline,
  };
}
