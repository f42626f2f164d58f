import type { Caller, NotificationView, Requested, RequestNotification } from './commands.ts';
import type { CommandContext, RenderBudget } from './context.ts';
import { requestMetadata } from './context.ts';
import { checkRequest, pinTemplate } from './check-request.ts';
import { requireKey, requireSameInput } from './idempotency-key.ts';
import { notificationView } from './notification-view.ts';
import { refuse } from './validation.ts';
import { DomainError, ERROR_CODES } from '../errors.ts';
import { foldNotification } from '../events/fold.ts';
import type { NotificationContext } from '../events/event.ts';
import type { NotificationRequested } from '../events/notifications.ts';
import { keyedNotificationId, NOTIFICATION_PREFIX, streamOf } from '../ids.ts';
import type { EventLog, NewEvent, RecordedEvent } from '../ports/event-log/event-log.ts';
import { appendUnlessConflict } from './handle.ts';

const MAX_ITEMS = 1_000;

/** What the items of one call share. */
interface Call {
  readonly context: CommandContext;
  readonly caller: Caller;
  readonly budget: RenderBudget;
}

/** For the templates of one call together: enough for a thousand ordinary ones, too little to hold up everybody else. */
const RENDER_BUDGET_MS = 1_000;

function budgetOf({ tenant }: Caller): RenderBudget {
  return { tenant, leftMs: RENDER_BUDGET_MS };
}

/**
 * Accepts a request: once this resolves, it is durable. With an idempotency key the same input gets the first answer
 * again, for as long as the log is kept; only a new request is checked against the rules.
 */
export function requestNotification(
  context: CommandContext,
  caller: Caller,
  input: RequestNotification,
): Promise<Requested> {
  return request({ context, caller, budget: budgetOf(caller) }, input);
}

/** One result an item, in order; what one item meets does not touch the others, not even a fault of ours. */
export async function requestNotifications(
  context: CommandContext,
  caller: Caller,
  inputs: readonly RequestNotification[],
): Promise<readonly (Requested | DomainError)[]> {
  const tooMany = `${String(inputs.length)} items, more than ${String(MAX_ITEMS)}`;
  refuse(inputs.length > MAX_ITEMS, 'TOO_MANY_ITEMS', tooMany, 'inputs');
  const call = { context: readingOnce(context), caller, budget: budgetOf(caller) };
  const refusal = (error: unknown): DomainError => {
    if (error instanceof DomainError) return error;
    context.reportFault(error, caller.correlationId);
    return new DomainError('INTERNAL_SERVER_ERROR', ERROR_CODES.INTERNAL_SERVER_ERROR);
  };
  return Promise.all(inputs.map((input) => request(call, input).catch(refusal)));
}

async function request(call: Call, input: RequestNotification): Promise<Requested> {
  const { context, caller } = call;
  const { idempotencyKey } = input;
  const inputHash = hashInput(context, input);
  if (idempotencyKey === null) return accept(call, input, { id: context.ids.ordered(), inputHash });
  requireKey(idempotencyKey);
  const id = keyedNotificationId(caller.tenant, idempotencyKey);
  const first = await context.log.read(streamOf.notification(id));
  if (first.length > 0) return replay(context, first, inputHash);
  return accept(call, input, { id, inputHash });
}

/** A thousand items for the same user or of the same template look at each of them once. */
function readingOnce(context: CommandContext): CommandContext {
  const { log } = context;
  const reads = new Map<string, Promise<readonly RecordedEvent[]>>();
  const read: EventLog['read'] = (stream, after) => {
    if (after !== undefined || stream.startsWith(NOTIFICATION_PREFIX)) return log.read(stream, after);
    const first = reads.get(stream) ?? log.read(stream);
    reads.set(stream, first);
    return first;
  };
  return { ...context, log: { ...log, read } };
}

interface Accepted {
  readonly id: string;
  readonly inputHash: string;
}

async function accept(
  { context, caller, budget }: Call,
  input: RequestNotification,
  { id, inputHash }: Accepted,
): Promise<Requested> {
  const now = context.now();
  const { template, channels } = await checkRequest(context, caller.tenant, input, { now, budget });
  const data = toEvent(input, { channels, template: pinTemplate(template), inputHash, now });
  const event = newEvent(context, caller, { id, data, now });
  const stream = streamOf.notification(id);
  const appended = await appendUnlessConflict(context.log, stream, [event], 0);
  if (appended === null) return replay(context, await context.log.read(stream), inputHash);
  return answer(context, [{ stream, ...event, ...appended }], false);
}

function newEvent(
  { ids }: CommandContext,
  caller: Caller,
  { id, data, now }: { readonly id: string; readonly data: NotificationRequested; readonly now: number },
): NewEvent {
  const { userId, category, lane, campaign, template } = data;
  const requestedAt = new Date(now).toISOString();
  const notification: NotificationContext = { id, userId, requestedAt, category, lane, campaign, template };
  const metadata = requestMetadata(caller, now, { notification });
  return { id: ids.random(), type: 'NotificationRequested', data, metadata };
}

type Checked = Pick<NotificationRequested, 'channels' | 'template' | 'inputHash'> & { readonly now: number };

function toEvent(
  { userId, content, data, category, lane, campaign, deliverAt, expiresAt }: RequestNotification,
  { channels, template, inputHash, now }: Checked,
): NotificationRequested {
  return {
    userId,
    channels: channels === null ? null : [...new Set(channels)],
    content,
    template,
    data,
    category,
    lane,
    campaign,
    deliverAt: deliverAt !== null && deliverAt.getTime() > now ? deliverAt.toISOString() : null,
    expiresAt: expiresAt?.toISOString() ?? null,
    inputHash,
  };
}

function replay(context: CommandContext, events: readonly RecordedEvent[], inputHash: string): Requested {
  const state = foldNotification(events);
  requireSameInput(context.keys, state?.request.inputHash ?? '', inputHash);
  return answer(context, events, true);
}

function answer(context: CommandContext, events: readonly RecordedEvent[], replayed: boolean): Requested {
  const notification = notificationView(context.cursors, events);
  if (notification === null) throw new Error('a notification without a request');
  return { notification, cursor: () => lastCursor(notification), replayed };
}

function lastCursor({ timeline }: NotificationView): string {
  const last = timeline().at(-1);
  if (last === undefined) throw new Error('a notification without a story');
  return last.cursor;
}

const MAX_NESTING = 32;

/** Of the input as it was sent. Deep nesting is refused first: whoever walks the input later may then recurse. */
function hashInput({ keys }: CommandContext, { asSent }: RequestNotification): string {
  refuse(
    nestsDeeper(asSent, MAX_NESTING),
    'INVALID_INPUT',
    `data nests over ${String(MAX_NESTING)} levels deep`,
    'data',
  );
  return keys.inputHash(asSent);
}

function nestsDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((each) => nestsDeeper(each, levels - 1));
}
