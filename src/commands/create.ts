import { cancelNotification, cancelOutcome } from './cancel-notification.ts';
import { authenticate, registerClient, revokeClient, rotateClientSecret } from './clients.ts';
import type { Caller, Cancelled, Commands, NotificationView, Queries } from './commands.ts';
import type { CommandContext } from './context.ts';
import { requestMetadata } from './context.ts';
import { registerDevice, removeDevice } from './devices.ts';
import { handle } from './handle.ts';
import { notificationView } from './notification-view.ts';
import { openRecordConversion } from './record-conversion.ts';
import { requestNotification, requestNotifications } from './request-notification.ts';
import { publishTemplate, readTemplate } from './templates.ts';
import { registerUser, setPreference, userAggregate } from './users.ts';
import { DomainError } from '../errors.ts';
import { foldNotification } from '../events/fold.ts';
import { notificationMetadata } from '../events/metadata.ts';
import { isNotificationId, streamOf } from '../ids.ts';

export function createCommands(context: CommandContext): Commands {
  return {
    registerUser: (caller, input) => registerUser(context, caller, input),
    setPreference: (caller, input) => setPreference(context, caller, input),
    registerDevice: (caller, input) => registerDevice(context, caller, input),
    removeDevice: (caller, id) => removeDevice(context, caller, id),
    publishTemplate: (caller, input) => publishTemplate(context, caller, input),
    requestNotification: (caller, input) => requestNotification(context, caller, input),
    requestNotifications: (caller, inputs) => requestNotifications(context, caller, inputs),
    cancelNotification: (caller, id) => cancel(context, caller, id),
    recordConversion: openRecordConversion(context),
    registerClient: (caller, input) => registerClient(context, caller, input),
    rotateClientSecret: (caller, appKey, graceSeconds) => rotateClientSecret(context, caller, appKey, graceSeconds),
    revokeClient: (caller, appKey) => revokeClient(context, caller, appKey),
  };
}

/** `decoyKey`: a client that is there, to be read in place of one that is not. */
export function createQueries(context: CommandContext, decoyKey = ''): Queries {
  return {
    notification: (tenant, id) => readNotification(context, tenant, id),
    user: async (tenant, id) => {
      const { stream, fold } = userAggregate(tenant, id);
      return fold(await context.log.read(stream));
    },
    template: async (tenant, key, version) => {
      const found = await readTemplate(context, tenant, key, version);
      return found === null ? null : { key, version: found.version };
    },
    authenticate: (appKey, appSecret) => authenticate(context, decoyKey, { appKey, appSecret }),
  };
}

async function cancel(context: CommandContext, caller: Caller, id: string): Promise<Cancelled> {
  const now = context.now();
  if (!isNotificationId(id)) throw notificationNotFound(id);
  const aggregate = { stream: streamOf.notification(id), fold: foldNotification };
  await handle({ log: context.log, newId: context.ids.random }, aggregate, (state) => {
    if (state?.tenant !== caller.tenant) throw notificationNotFound(id);
    const { notification } = notificationMetadata(state, now);
    return cancelNotification(state, requestMetadata(caller, now, notification && { notification }), now);
  });
  const notification = await readNotification(context, caller.tenant, id);
  if (notification === null) throw notificationNotFound(id);
  const deliveries = notification.state.deliveries.map((delivery) => ({ delivery, outcome: cancelOutcome(delivery) }));
  return { cancelled: deliveries.every(({ outcome }) => outcome === 'CANCELLED'), deliveries, notification };
}

async function readNotification(
  { log, cursors }: CommandContext,
  tenant: string,
  id: string,
): Promise<NotificationView | null> {
  if (!isNotificationId(id)) return null;
  const view = notificationView(cursors, await log.read(streamOf.notification(id)));
  return view?.state.tenant === tenant ? view : null;
}

function notificationNotFound(id: string): DomainError {
  return new DomainError('NOTIFICATION_NOT_FOUND', `no notification ${id}`, 'id');
}
