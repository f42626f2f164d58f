import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Of one metric, for Prometheus. */
export interface Description {
  readonly name: `heliograph_${string}`;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** The values of the labels, in their order. */
export type Values = readonly string[];

/**
 * A counter that is added to by one. Counts are kept here and handed over at a scrape: prom-client looks its labels up anew with
 * every addition, which takes longer than all the rest.
 */
export function counter(registry: Registry, { name, help, labels = [] }: Description): (...values: Values) => void {
  const counts = new Map<string, { readonly values: Values; n: number }>();
  const metric = new Counter({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect: () => {
      metric.reset();
      for (const { values, n } of counts.values()) metric.inc(labelled(labels, values), n);
    },
  });
  return (...values) => {
    const key = values.join('\n');
    const count = counts.get(key);
    if (count === undefined) counts.set(key, { values, n: 1 });
    else count.n += 1;
  };
}

/** A histogram of seconds. */
export function histogram(
  registry: Registry,
  { name, help, labels = [] }: Description,
  buckets: readonly number[],
): (seconds: number, ...values: Values) => void {
  const metric = new Histogram({ name, help, labelNames: [...labels], buckets: [...buckets], registers: [registry] });
  const children = new Map<string, Histogram.Internal<string>>();
  return (seconds, ...values) => {
    const key = values.join('\n');
    const child = children.get(key) ?? metric.labels(...values);
    children.set(key, child);
    // A clock that was set back must not take from the sum.
    child.observe(Math.max(0, seconds));
  };
}

export interface Sample {
  readonly values: Values;
  readonly value: number;
}

/** A gauge that is asked for at each scrape; with nothing to show, or when asking fails, it is left out of that scrape. */
export function gauge(
  registry: Registry,
  { name, help, labels = [] }: Description,
  read: () => readonly Sample[] | Promise<readonly Sample[]>,
): void {
  const metric = new Gauge({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect: async () => {
      const samples = await Promise.resolve()
        .then(read)
        .catch(() => []);
      // In one go: another scrape may be under way.
      metric.reset();
      if (samples.length === 0 && labels.length === 0) metric.remove();
      for (const { values, value } of samples) metric.set(labelled(labels, values), value);
    },
  });
}

function labelled(labels: readonly string[], values: Values): Record<string, string> {
  return Object.fromEntries(labels.map((label, index) => [label, values[index] ?? '']));
}
