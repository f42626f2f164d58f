import type { DeliveryEvent } from './notifications.ts';

/** What the recipient did with a delivery. */
export interface Engaged {
  /** The first time, and the last one. */
  readonly openedAt: string | null;
  readonly lastOpenedAt: string | null;
  readonly clickedAt: string | null;
  readonly lastClickedAt: string | null;
  /** The first conversion put down to it, by when it happened. */
  readonly convertedAt: string | null;
}

export const NOT_ENGAGED: Engaged = {
  openedAt: null,
  lastOpenedAt: null,
  clickedAt: null,
  lastClickedAt: null,
  convertedAt: null,
};

export type Engagement = Extract<DeliveryEvent, { type: 'DeliveryOpened' | 'DeliveryClicked' | 'ConversionRecorded' }>;

export function isEngagement(event: DeliveryEvent): event is Engagement {
  return event.type === 'DeliveryOpened' || event.type === 'DeliveryClicked' || event.type === 'ConversionRecorded';
}

/** What the recipient did changes nothing of how the delivery stands. */
export function withEngagement<S extends Engaged>(delivery: S, event: Engagement, occurredAt: string): S {
  const { openedAt, lastOpenedAt, clickedAt, lastClickedAt, convertedAt } = delivery;
  switch (event.type) {
    case 'DeliveryOpened':
      return { ...delivery, openedAt: earliest(openedAt, occurredAt), lastOpenedAt: latest(lastOpenedAt, occurredAt) };
    case 'DeliveryClicked':
      return {
        ...delivery,
        clickedAt: earliest(clickedAt, occurredAt),
        lastClickedAt: latest(lastClickedAt, occurredAt),
      };
    case 'ConversionRecorded':
      return { ...delivery, convertedAt: earliest(convertedAt, event.data.convertedAt) };
  }
}

/** RFC 3339 in UTC with milliseconds: the order of the text is the order of time. */
export function earliest(before: string | null, occurredAt: string): string {
  return before === null || occurredAt < before ? occurredAt : before;
}

export function latest(before: string | null, occurredAt: string): string {
  return before === null || occurredAt > before ? occurredAt : before;
}
