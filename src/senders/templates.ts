import { checkVariant, chooseVariant, renderVariant } from './render.ts';
import type { Channel } from '../events/event.ts';
import type { TemplateVariant } from '../events/templates.ts';

interface RenderProblem {
  readonly kind: 'no-variant' | 'missing-variable' | 'unrenderable';
  readonly variable: string | null;
  readonly message: string;
}

/** Whether the variant for this channel can be rendered with this data; null when it can. */
function tryRender(
  variants: readonly TemplateVariant[],
  channel: Channel,
  data: Readonly<Record<string, unknown>>,
): RenderProblem | null {
  const variant = chooseVariant(variants, channel);
  if (variant === null)
    return { kind: 'no-variant', variable: null, message: `the template has no variant for ${channel}` };
  const rendered = renderVariant(variant, data);
  if (rendered.ok) return null;
  const kind = rendered.variable === null ? 'unrenderable' : 'missing-variable';
  return { kind, variable: rendered.variable, message: rendered.message };
}

/** The template language as commands are given it: what would fail when sending is refused when asked for. */
export const liquidTemplates = { check: checkVariant, tryRender } as const;
