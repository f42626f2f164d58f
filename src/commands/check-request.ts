import type { RequestNotification } from './commands.ts';
import type { CommandContext, RenderBudget, RenderProblem } from './context.ts';
import { readTemplate } from './templates.ts';
import { MAX_CATEGORY, userAggregate } from './users.ts';
import { refuse, requireText } from './validation.ts';
import type { ErrorCode } from '../errors.ts';
import { DomainError } from '../errors.ts';
import type { Channel, TemplateVersion } from '../events/event.ts';
import { CHANNELS } from '../events/event.ts';
import type { Content } from '../events/notifications.ts';
import type { TemplateState } from '../events/templates.ts';
import type { UserState } from '../events/users.ts';
import { addressesOf } from '../events/users.ts';

/** Content, data and all the rest of one request, as JSON; leaves room for metadata below the log's own limit. */
const MAX_REQUEST_BYTES = 200 * 1024;
const LATE_MS = 5 * 60_000;

export interface CheckedRequest {
  /** The one to pin, null for plain content. */
  readonly template: TemplateState | null;
  /** As asked for; where none were, those that the template has words for, null for all. */
  readonly channels: readonly Channel[] | null;
}

/** Refuses what cannot be done, cheapest rules first. */
export async function checkRequest(
  context: CommandContext,
  tenant: string,
  input: RequestNotification,
  { now, budget }: { readonly now: number; readonly budget: RenderBudget },
): Promise<CheckedRequest> {
  checkForm(input, context.channels);
  checkSchedule(input, now);
  const user = await findUser(context, tenant, input);
  const template = await findTemplate(context, tenant, input);
  const channels = input.channels ?? (template && channelsOf(template));
  const wanted = context.channels.filter((channel) => channels?.includes(channel) ?? true);
  refuse(
    wanted.length === 0,
    'CHANNEL_SWITCHED_OFF',
    'there is no provider for the channels of the template',
    'template',
  );
  const reachable = reachableOn(wanted, user, input);
  if (template !== null)
    await checkTemplate(context, template, { channels: reachable, data: input.data ?? {}, budget });
  return { template, channels };
}

/** A variant without a channel is for every channel that has none of its own. */
function channelsOf({ variants }: TemplateState): readonly Channel[] | null {
  if (variants.some(({ channel }) => channel === null)) return null;
  return CHANNELS.filter((channel) => variants.some((variant) => variant.channel === channel));
}

export function pinTemplate(template: TemplateState | null): TemplateVersion | null {
  return template === null ? null : { key: template.key, version: template.version };
}

function checkForm(input: RequestNotification, available: readonly Channel[]): void {
  const { userId, channels, content, template, category, campaign } = input;
  requireText(userId, 'userId', 255);
  requireText(category, 'category', MAX_CATEGORY);
  if (campaign !== null) requireText(campaign, 'campaign', 200);
  refuse(channels?.length === 0, 'INVALID_INPUT', 'channels is empty; leave it out for every channel', 'channels');
  const off = channels?.find((channel) => !available.includes(channel));
  refuse(off !== undefined, 'CHANNEL_SWITCHED_OFF', `there is no provider for ${String(off)}`, 'channels');
  const both = content !== null && template !== null;
  refuse(both, 'CONTENT_OR_TEMPLATE', 'content and template are both given', 'template');
  refuse(
    content === null && template === null,
    'CONTENT_OR_TEMPLATE',
    'neither content nor template is given',
    'content',
  );
  const bytes = Buffer.byteLength(JSON.stringify({ ...input, asSent: null }));
  refuse(
    bytes > MAX_REQUEST_BYTES,
    'TOO_LARGE',
    `the request has ${String(bytes)} bytes`,
    content === null ? 'data' : 'content',
  );
  if (content !== null) checkContent(content);
}

function checkContent({ title, body, url }: Content): void {
  refuse(body.trim() === '', 'INVALID_INPUT', 'content.body is empty', 'content.body');
  if (title !== null) requireText(title, 'content.title', 998);
  if (url !== null)
    refuse(!isUsableUrl(url), 'INVALID_INPUT', 'content.url is no absolute http(s) or app link', 'content.url');
}

/** Web pages and deep links into apps; nothing that a mail program would run or read from a disk. */
function isUsableUrl(text: string): boolean {
  const forbidden = ['javascript:', 'data:', 'vbscript:', 'file:', 'blob:', 'about:'];
  return (
    text.length <= 2048 &&
    URL.canParse(text) &&
    !/[\s\p{Cc}"<>]/u.test(text) &&
    !forbidden.includes(new URL(text).protocol)
  );
}

function checkSchedule({ deliverAt, expiresAt }: RequestNotification, now: number): void {
  const late = deliverAt !== null && deliverAt.getTime() < now - LATE_MS;
  refuse(late, 'INVALID_SCHEDULE', 'deliverAt is more than five minutes in the past', 'deliverAt');
  const from = Math.max(now, deliverAt?.getTime() ?? now);
  const never = expiresAt !== null && expiresAt.getTime() <= from;
  refuse(never, 'INVALID_SCHEDULE', 'expiresAt is not after the time of delivery', 'expiresAt');
}

async function findUser({ log }: CommandContext, tenant: string, { userId }: RequestNotification): Promise<UserState> {
  const { stream, fold } = userAggregate(tenant, userId);
  const user = fold(await log.read(stream));
  if (user === null) throw new DomainError('USER_NOT_FOUND', `no user ${userId}`, 'userId');
  return user;
}

/** The channels that the request is going to be tried on. */
function reachableOn(
  wanted: readonly Channel[],
  user: UserState,
  { userId, channels }: RequestNotification,
): readonly Channel[] {
  const reachable = wanted.filter((channel) => addressesOf(user, channel).length > 0);
  const missing = `user ${userId} has no address for ${wanted.join(' or ')}`;
  refuse(reachable.length === 0, 'USER_UNREACHABLE', missing, channels === null ? 'userId' : 'channels');
  return reachable;
}

async function findTemplate(
  context: CommandContext,
  tenant: string,
  { template }: RequestNotification,
): Promise<TemplateState | null> {
  if (template === null) return null;
  const { key, version } = template;
  const found = await readTemplate(context, tenant, key, version);
  if (found === null) {
    const wanted = version === null ? key : `${key} version ${String(version)}`;
    throw new DomainError('TEMPLATE_NOT_FOUND', `no template ${wanted}`, 'template');
  }
  return found;
}

interface Rendering {
  readonly channels: readonly Channel[];
  readonly data: Readonly<Record<string, unknown>>;
  readonly budget: RenderBudget;
}

async function checkTemplate(
  { templates }: CommandContext,
  { variants }: TemplateState,
  { channels, data, budget }: Rendering,
): Promise<void> {
  for (const channel of channels) {
    const problem = await templates.tryRender(variants, channel, data, budget);
    if (problem !== null) throw templateError(problem);
  }
}

const PROBLEM_CODES = {
  'no-variant': 'TEMPLATE_NOT_FOUND',
  'missing-variable': 'TEMPLATE_VARIABLE_MISSING',
  unrenderable: 'TEMPLATE_UNRENDERABLE',
} as const satisfies Record<RenderProblem['kind'], ErrorCode>;

function templateError({ kind, variable, message }: RenderProblem): DomainError {
  const field = kind === 'no-variant' ? 'template' : variable === null ? 'data' : `data.${variable}`;
  return new DomainError(PROBLEM_CODES[kind], message, field);
}
