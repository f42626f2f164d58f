import type { Composed } from './worker.ts';
import { chooseVariant, renderVariant, type Rendered } from './render.ts';
import { openTurns } from './turns.ts';
import { foldTemplate } from '../events/fold.ts';
import type { Channel, TemplateVersion } from '../events/event.ts';
import type { NotificationState } from '../events/notification.ts';
import type { TemplateVariant } from '../events/templates.ts';
import { streamOf } from '../ids.ts';
import type { EventLog } from '../ports/event-log/event-log.ts';

const KEPT_VERSIONS = 1_000;
/** Characters, of all versions kept. */
const KEPT_LENGTH = 16_000_000;

/**
 * Finds the words for a notification: its own content, or its template in the version pinned at the request. Rejects
 * when the log does not answer or rendering takes too long; the request was rendered when it was accepted, so another
 * try may succeed.
 */
export function composeWith(log: EventLog): (notification: NotificationState, channel: Channel) => Promise<Composed> {
  const versions = keepNewest();
  const inTurn = openTurns();
  return async ({ tenant, request }, channel) => {
    if (request.content !== null) return { ok: true, content: request.content };
    if (request.template === null) return { ok: false, message: 'neither content nor template' };
    const key = `${streamOf.template(tenant, request.template.key)}/${String(request.template.version)}`;
    const variants = versions.get(key) ?? versions.put(key, await readVariants(log, tenant, request.template));
    const variant = chooseVariant(variants, channel);
    if (variant === null) return { ok: false, message: `the template has no variant for ${channel}` };
    return composed(await inTurn(tenant, () => renderVariant(variant, request.data ?? {})));
  };
}

function composed(rendered: Rendered): Composed {
  if (!rendered.ok && rendered.tooSlow) throw new Error(`rendering took too long: ${rendered.message}`);
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

type Variants = readonly TemplateVariant[];

function keepNewest(): { get: (key: string) => Variants | undefined; put: (key: string, value: Variants) => Variants } {
  const kept = new Map<string, Variants>();
  let length = 0;
  return {
    get: (key) => kept.get(key),
    put: (key, value) => {
      length += lengthOf(value) - lengthOf(kept.get(key) ?? []);
      kept.set(key, value);
      for (const [oldest, variants] of kept) {
        if (kept.size <= KEPT_VERSIONS && length <= KEPT_LENGTH) break;
        kept.delete(oldest);
        length -= lengthOf(variants);
      }
      return value;
    },
  };
}

function lengthOf(variants: Variants): number {
  const texts = variants.flatMap(({ title, body, html }) => [title ?? '', body, html ?? '']);
  return texts.reduce((total, text) => total + text.length, 0);
}
