import type { Caller, PublishedTemplate, PublishTemplate } from './commands.ts';
import type { CommandContext } from './context.ts';
import { requestMetadata } from './context.ts';
import type { Aggregate } from './handle.ts';
import { handle } from './handle.ts';
import { refuse, requireText } from './validation.ts';
import { DomainError } from '../errors.ts';
import { foldTemplate } from '../events/fold.ts';
import type { TemplateState, TemplateVariant } from '../events/templates.ts';
import { streamOf } from '../ids.ts';

/** All variants as JSON; a version is one event, and the rest is room for metadata below the log's own limit. */
const MAX_VERSION_BYTES = 200 * 1024;

/** Version n+1 is version n with this variant added or replaced; the same variant again publishes nothing. */
export async function publishTemplate(
  context: CommandContext,
  caller: Caller,
  input: PublishTemplate,
): Promise<PublishedTemplate> {
  requireText(input.key, 'key', 255);
  const { key, ...variant } = input;
  refuse(variant.body.trim() === '', 'TEMPLATE_INVALID', 'body is empty', 'body');
  const problem = context.templates.check(variant);
  if (problem !== null) throw new DomainError('TEMPLATE_INVALID', problem.message, problem.field);
  const metadata = requestMetadata(caller, context.now());
  const aggregate = templateAggregate(caller.tenant, key);
  const { version } = await handle({ log: context.log, newId: context.ids.random }, aggregate, (state) => {
    const variants = withVariant(state?.variants ?? [], variant);
    if (state !== null && JSON.stringify(variants) === JSON.stringify(state.variants)) return [];
    const data = { key, version: (state?.version ?? 0) + 1, variants };
    const bytes = Buffer.byteLength(JSON.stringify(data));
    refuse(
      bytes > MAX_VERSION_BYTES,
      'TOO_LARGE',
      `all variants of the template together have ${String(bytes)} bytes`,
      'body',
    );
    return [{ event: { type: 'TemplatePublished', data }, metadata }];
  });
  return { key, version };
}

/** One event a version: the version of the stream is the version of the template. */
export function templateAggregate(tenant: string, key: string): Aggregate<TemplateState> {
  return { stream: streamOf.template(tenant, key), fold: foldTemplate };
}

/** The template as of `version` (null: the newest); null when there is none. */
export async function readTemplate(
  { log }: Pick<CommandContext, 'log'>,
  tenant: string,
  key: string,
  version: number | null,
): Promise<TemplateState | null> {
  const { stream, fold } = templateAggregate(tenant, key);
  const events = await log.read(stream);
  const state = fold(version === null ? events : events.slice(0, Math.max(0, version)));
  return state !== null && (version === null || state.version === version) ? state : null;
}

function withVariant(variants: readonly TemplateVariant[], next: TemplateVariant): readonly TemplateVariant[] {
  const { channel, locale, title, body, html } = next;
  const plain: TemplateVariant = { channel, locale, title, body, html };
  const others = variants.filter((each) => each.channel !== channel || each.locale !== locale);
  return [...others, plain].toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

function sortKey({ channel, locale }: TemplateVariant): string {
  return `${channel ?? ''}/${locale ?? ''}`;
}
