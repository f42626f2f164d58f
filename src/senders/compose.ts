import type { Composed } from './worker.ts';
import { chooseVariant, renderVariant } from './render.ts';
import { foldTemplate } from '../events/fold.ts';
import type { Channel, TemplateVersion } from '../events/event.ts';
import type { NotificationState } from '../events/notification.ts';
import type { TemplateVariant } from '../events/templates.ts';
import { streamOf } from '../ids.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';

const KEPT_VERSIONS = 1_000;

/** Finds the words for a notification: its own content, or its template in the version pinned at the request. */
export function composeWith(log: EventLog): (notification: NotificationState, channel: Channel) => Promise<Composed> {
  const versions = keepNewest<readonly TemplateVariant[]>(KEPT_VERSIONS);
  return async ({ tenant, request }, channel) => {
    if (request.content !== null) return { ok: true, content: request.content };
    if (request.template === null) return { ok: false, message: 'neither content nor template' };
    const key = `${streamOf.template(tenant, request.template.key)}/${String(request.template.version)}`;
    const variants = versions.get(key) ?? versions.put(key, await readVariants(log, tenant, request.template));
    return renderFor(variants, channel, request.data ?? {});
  };
}

function renderFor(
  variants: readonly TemplateVariant[],
  channel: Channel,
  data: Readonly<Record<string, unknown>>,
): Composed {
  const variant = chooseVariant(variants, channel);
  if (variant === null) return { ok: false, message: `the template has no variant for ${channel}` };
  const rendered = renderVariant(variant, data);
  if (!rendered.ok) return { ok: false, message: rendered.message };
  const { title, body, html } = rendered;
  return { ok: true, content: { title, body, html, url: null } };
}

/** A version is one event and never changes: what was read once holds for ever. */
async function readVariants(
  log: EventLog,
  tenant: string,
  { key, version }: TemplateVersion,
): Promise<readonly TemplateVariant[]> {
  const events = await log.read(streamOf.template(tenant, key));
  const template = foldTemplate(events.slice(0, version));
  if (template?.version !== version)
    throw new Error(`the log does not show template ${key} version ${String(version)}`);
  return template.variants;
}

function keepNewest<T>(size: number): { get: (key: string) => T | undefined; put: (key: string, value: T) => T } {
  const kept = new Map<string, T>();
  return {
    get: (key) => kept.get(key),
    put: (key, value) => {
      const oldest = kept.keys().next();
      if (kept.size >= size && oldest.done !== true) kept.delete(oldest.value);
      kept.set(key, value);
      return value;
    },
  };
}
