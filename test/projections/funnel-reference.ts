import type { DeliveryContext, NotificationContext } from '../../src/events/event.ts';
import type { FunnelGroup } from '../../src/projections/funnel-figures.ts';
import type { FunnelDimension, FunnelInput, FunnelStage } from '../../src/projections/funnel-input.ts';
import type { RecordedEvent } from '../../src/ports/event-log/event-log.ts';

/** A delivery, or with null a notification as a whole, as its events tell it. */
interface Subject {
  readonly notification: NotificationContext;
  readonly deliveryId: string | null;
  channel: string | null;
  platform: string | null;
  provider: string | null;
  /** The first time of each stage by itself, in milliseconds since the request. */
  readonly times: Map<FunnelStage, number>;
}

/** What the funnel must answer, slowly and from nothing but events. Knows neither tables nor SQL. */
export function referenceFunnel(
  events: readonly RecordedEvent[],
  tenant: string,
  input: FunnelInput,
): readonly FunnelGroup[] {
  const subjects = subjectsOf(events.filter(({ metadata }) => metadata.tenant === tenant));
  const groups = new Map<string, Group>();
  const groupFor = (values: Group['values']): Group => {
    const key = JSON.stringify(values);
    const group = groups.get(key) ?? { values, units: new Map<string, Unit>() };
    groups.set(key, group);
    return group;
  };
  if (input.groupBy.length === 0) groupFor([]);
  for (const subject of subjects.filter((each) => isAskedFor(each, input))) {
    const values = input.groupBy.map((dimension) => valueOf(subject, dimension, input.timeZone));
    const { units } = groupFor(values);
    const unit = unitOf(subject, input);
    units.set(unit, fastest(units.get(unit) ?? [], gapsOf(subject, input)));
  }
  return [...groups.values()].toSorted((a, b) => compare(a, b, input.groupBy)).map((group) => figures(group, input));
}

/** Milliseconds from the stage before to each stage reached; as long as the stages are many. */
type Unit = readonly number[];

interface Group {
  readonly values: readonly (string | null)[];
  readonly units: Map<string, Unit>;
}

function subjectsOf(events: readonly RecordedEvent[]): readonly Subject[] {
  const subjects = new Map<string, Subject>();
  const find: Find = (notification, deliveryId) => {
    const key = `${notification.id}/${deliveryId ?? ''}`;
    const nothing = { channel: null, platform: null, provider: null, times: new Map<FunnelStage, number>() };
    const subject = subjects.get(key) ?? { notification, deliveryId, ...nothing };
    subjects.set(key, subject);
    return subject;
  };
  for (const event of events) tell(event, find);
  return [...subjects.values()];
}

interface Data {
  readonly deliveryId?: string | null;
  readonly convertedAt?: string;
  readonly decisions?: readonly Decided[];
}

interface Decided {
  readonly deliveryId: string;
  readonly channel: string;
  readonly platform: string | null;
  readonly outcome: string;
}

type Find = (notification: NotificationContext, deliveryId: string | null) => Subject;

function tell({ type, data, metadata }: RecordedEvent, find: Find): void {
  const { notification, delivery, occurredAt } = metadata;
  if (notification === undefined) return;
  const told = data as Data;
  const happened = Date.parse(told.convertedAt ?? occurredAt);
  const since = Math.max(0, happened - Date.parse(notification.requestedAt));
  if (told.decisions) {
    for (const decision of told.decisions) decide(find(notification, decision.deliveryId), decision, since);
    return;
  }
  const subject = find(notification, told.deliveryId ?? null);
  if (delivery) describe(subject, delivery);
  for (const stage of stagesOf(type)) note(subject, stage, stage === 'REQUESTED' ? 0 : since);
}

function describe(subject: Subject, { channel, provider }: DeliveryContext): void {
  subject.channel ??= channel;
  subject.provider ??= provider;
}

function decide(subject: Subject, { channel, platform, outcome }: Decided, since: number): void {
  subject.channel = channel;
  subject.platform = platform;
  note(subject, 'REQUESTED', 0);
  if (outcome === 'QUEUE') note(subject, 'QUEUED', since);
}

function note({ times }: Subject, stage: FunnelStage, since: number): void {
  times.set(stage, Math.min(times.get(stage) ?? Infinity, since));
}

function stagesOf(type: string): readonly FunnelStage[] {
  switch (type) {
    case 'NotificationRequested':
      return ['REQUESTED'];
    case 'DeliverySent':
    case 'DeliveryBounced':
      return ['SENT'];
    case 'DeliveryDelivered':
      return ['SENT', 'DELIVERED'];
    case 'DeliveryOpened':
      return ['OPENED'];
    case 'DeliveryClicked':
      return ['CLICKED'];
    case 'ConversionRecorded':
      return ['CONVERTED'];
    default:
      return [];
  }
}

/** What was still to come when a stage happened: whoever saw one of these, had been through it. */
const LATER: Readonly<Partial<Record<FunnelStage, readonly FunnelStage[]>>> = {
  QUEUED: ['SENT', 'DELIVERED', 'OPENED', 'CLICKED'],
  SENT: ['DELIVERED', 'OPENED', 'CLICKED'],
  DELIVERED: ['OPENED', 'CLICKED'],
  OPENED: ['CLICKED'],
};

/** When a stage was first known to have happened; null when it did not. */
export function knownAt(times: ReadonlyMap<FunnelStage, number>, stage: FunnelStage): number | null {
  if (!times.has(stage)) return null;
  const tellers = [stage, ...(LATER[stage] ?? [])];
  return Math.min(...tellers.map((teller) => times.get(teller) ?? Infinity));
}

/** One a stage reached, the first being 0. */
function gapsOf({ times }: Subject, { stages, windowSeconds }: FunnelInput): Unit {
  const gaps: number[] = [];
  let [first, before] = [0, 0];
  for (const stage of stages) {
    const time = knownAt(times, stage);
    if (time === null) break;
    if (gaps.length === 0) [first, before] = [time, time];
    if (time < before || time - first > windowSeconds * 1_000) break;
    gaps.push(time - before);
    before = time;
  }
  return gaps;
}

function fastest(a: Unit, b: Unit): Unit {
  const [long, short] = a.length < b.length ? [b, a] : [a, b];
  return long.map((gap, index) => Math.min(gap, short[index] ?? Infinity));
}

function isAskedFor(subject: Subject, input: FunnelInput): boolean {
  const { notification, channel } = subject;
  const requestedAt = Date.parse(notification.requestedAt);
  return (
    requestedAt >= input.from.getTime() &&
    requestedAt < input.to.getTime() &&
    (subject.deliveryId !== null || standsForItself(subject, input)) &&
    (input.channels === null || input.channels.some((each) => each === channel)) &&
    (input.campaign === null || input.campaign === notification.campaign) &&
    (input.category === null || input.category === notification.category)
  );
}

/** A notification as a whole is no delivery, and has nothing that only deliveries have. */
function standsForItself({ times }: Subject, { unit, groupBy }: FunnelInput): boolean {
  if (unit === 'DELIVERY') return false;
  return (
    times.has('CONVERTED') || !groupBy.some((dimension) => ['CHANNEL', 'PROVIDER', 'PLATFORM'].includes(dimension))
  );
}

function unitOf({ notification, deliveryId }: Subject, { unit }: FunnelInput): string {
  if (unit === 'USER') return notification.userId;
  return unit === 'NOTIFICATION' ? notification.id : String(deliveryId);
}

function valueOf(subject: Subject, dimension: FunnelDimension, timeZone: string): string | null {
  const { notification } = subject;
  switch (dimension) {
    case 'CHANNEL':
      return subject.channel;
    case 'PROVIDER':
      return subject.provider;
    case 'PLATFORM':
      return subject.platform;
    case 'TEMPLATE':
      return notification.template?.key ?? null;
    case 'CAMPAIGN':
      return notification.campaign;
    case 'CATEGORY':
      return notification.category;
    case 'DAY':
      return clockAt(notification.requestedAt, timeZone).day;
    case 'HOUR':
      return clockAt(notification.requestedAt, timeZone).hour;
  }
}

/** What a clock of the place showed: by the zones of this runtime, not those of ClickHouse. */
function clockAt(instant: string, timeZone: string): { readonly day: string; readonly hour: string } {
  const options = { hourCycle: 'h23', timeZoneName: 'longOffset' } as const;
  const digits = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit' } as const;
  const format = new Intl.DateTimeFormat('en-US', { ...options, ...digits, timeZone });
  const parts = new Map(format.formatToParts(new Date(instant)).map(({ type, value }) => [type, value]));
  const part = (type: Intl.DateTimeFormatPartTypes): string => parts.get(type) ?? '';
  const day = `${part('year')}-${part('month')}-${part('day')}`;
  const offset = part('timeZoneName').slice('GMT'.length);
  return { day, hour: `${day}T${part('hour')}:00:00${offset === '' ? '+00:00' : offset}` };
}

function compare(a: Group, b: Group, groupBy: readonly FunnelDimension[]): number {
  const orders = groupBy.map((dimension, index) => {
    const [left, right] = [a.values[index] ?? '', b.values[index] ?? ''];
    if (dimension === 'HOUR') return Date.parse(left) - Date.parse(right);
    return Buffer.compare(Buffer.from(left), Buffer.from(right));
  });
  return orders.find((order) => order !== 0) ?? 0;
}

function figures({ values, units }: Group, { stages, groupBy }: FunnelInput): FunnelGroup {
  const all = [...units.values()];
  const counts = stages.map((_, index) => all.filter((gaps) => gaps.length > index).length);
  const rate = (part = 0, whole = 0): number | null => (whole === 0 ? null : part / whole);
  const [only] = values;
  const key = values.map((value) => encodeURIComponent(value ?? '')).join('/');
  return {
    key: only === undefined ? null : values.length === 1 ? (only ?? '') : key,
    dimensions: groupBy.map((dimension, index) => ({ dimension, value: values[index] ?? null })),
    stages: stages.map((stage, index) => ({
      stage,
      count: counts[index] ?? 0,
      fromPrevious: index === 0 ? null : rate(counts[index], counts[index - 1]),
      fromFirst: rate(counts[index], counts[0]),
      medianSecondsFromPrevious: index === 0 ? null : medianSeconds(all.flatMap((gaps) => gaps[index] ?? [])),
    })),
  };
}

function medianSeconds(gaps: readonly number[]): number | null {
  if (gaps.length === 0) return null;
  const sorted = gaps.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2_000;
}
