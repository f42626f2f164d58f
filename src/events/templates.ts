import type { Channel, DomainEvent } from './event.ts';

/** Version n+1 repeats all variants of version n with one added or replaced, so that one event holds a whole version. */
export type TemplateEvent = DomainEvent<'TemplatePublished', TemplatePublished>;

export interface TemplatePublished {
  readonly key: string;
  readonly version: number;
  readonly variants: readonly TemplateVariant[];
}

/** Null channel: for every channel without a variant of its own. Parts are Liquid. */
export interface TemplateVariant {
  readonly channel: Channel | null;
  readonly locale: string | null;
  readonly title: string | null;
  readonly body: string;
  readonly html: string | null;
}

export interface TemplateState {
  readonly key: string;
  readonly tenant: string;
  /** Of the newest version. */
  readonly version: number;
  readonly variants: readonly TemplateVariant[];
}

export function evolveTemplate(
  state: TemplateState | null,
  event: TemplateEvent | DomainEvent,
  tenant: string,
): TemplateState | null {
  return event.type === 'TemplatePublished' ? { ...(event.data as TemplatePublished), tenant } : state;
}
