import { setImmediate as otherWork } from 'node:timers/promises';
import { checkVariant, chooseVariant, renderVariant, type Rendered } from './render.ts';
import { openTurns } from './turns.ts';
import type { Channel } from '../events/event.ts';
import type { TemplateVariant } from '../events/templates.ts';

interface RenderProblem {
  readonly kind: 'no-variant' | 'missing-variable' | 'unrenderable';
  readonly variable: string | null;
  readonly message: string;
}

/** Of one call, for all that it has rendered. */
interface RenderBudget {
  readonly tenant: string;
  leftMs: number;
}

type Data = Readonly<Record<string, unknown>>;

/** One for all calls: however many there are at once, other tenants, sends in flight and the rest get their time in between. */
const inTurn = openTurns();

/** Whether the variant for this channel can be rendered with this data; null when it can. What it takes is subtracted from the budget. */
async function tryRender(
  variants: readonly TemplateVariant[],
  channel: Channel,
  data: Data,
  budget: RenderBudget,
): Promise<RenderProblem | null> {
  const variant = chooseVariant(variants, channel);
  if (variant === null)
    return { kind: 'no-variant', variable: null, message: `the template has no variant for ${channel}` };
  const rendered = await renderTwice(() => inTurn(budget.tenant, () => renderWithin(budget, variant, data)));
  if (rendered === null)
    return { kind: 'unrenderable', variable: null, message: 'the templates of this call take too long to render' };
  if (rendered.ok) return null;
  const kind = rendered.variable === null ? 'unrenderable' : 'missing-variable';
  return { kind, variable: rendered.variable, message: rendered.message };
}

/** Once more when time ran out: the process may have stood still, and then the template is not to blame. */
async function renderTwice(render: () => Promise<Rendered | null>): Promise<Rendered | null> {
  const first = await render();
  if (first === null || first.ok || !first.tooSlow) return first;
  await otherWork();
  return render();
}

/** Null when nothing is left of the budget. */
function renderWithin(budget: RenderBudget, variant: TemplateVariant, data: Data): Rendered | null {
  if (budget.leftMs <= 0) return null;
  const from = performance.now();
  const rendered = renderVariant(variant, data);
  budget.leftMs -= performance.now() - from;
  return rendered;
}

/** The template language as commands are given it: what would fail when sending is refused when asked for. */
export const liquidTemplates = { check: checkVariant, tryRender } as const;
