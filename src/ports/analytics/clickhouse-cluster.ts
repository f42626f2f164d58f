import { AnalyticsError, type Analytics } from './analytics.ts';

/*
 * The same path on all replicas of a table, whenever one is made: with the engine's own default, which has a UUID drawn for each
 * CREATE, a replica that is added or made again later would begin a table of its own beside the others.
 */
const PATH = '/clickhouse/tables/{shard}/{database}/{table}';

/** Counted from the newest block: the last batch is to be known however long an outage cut it in two. */
const TOKENS_KEPT_SECONDS = 365 * 86_400;

const HEAD =
  /^(?:CREATE (?:TABLE|MATERIALIZED VIEW)|ALTER TABLE|TRUNCATE TABLE|DROP (?:TABLE|VIEW))(?: IF (?:NOT )?EXISTS)? \w+\b/;

/**
 * The statement as all replicas of the cluster run it: tables become replicated ones that remember as many tokens, and
 * whatever removes something waits until it is removed.
 * @throws AnalyticsError on a statement that it does not know.
 */
export function onCluster(statement: string, cluster: string): string {
  const [head] = HEAD.exec(statement) ?? [];
  if (head === undefined) throw new AnalyticsError('refused', `no statement for a cluster: ${statement.slice(0, 60)}`);
  const rest = statement
    .slice(head.length)
    .replace(/\bENGINE = (\w*MergeTree)\b(?!\()/, `ENGINE = Replicated$1('${PATH}', '{replica}')`)
    .replace(
      /\bnon_replicated_deduplication_window = (\d+)/,
      `replicated_deduplication_window = $1, replicated_deduplication_window_seconds = ${String(TOKENS_KEPT_SECONDS)}`,
    );
  const end = /^(?:TRUNCATE|DROP)/.test(head) ? ' SYNC' : '';
  return `${head} ON CLUSTER '${cluster}'${rest}${end}`;
}

/** @throws AnalyticsError when the server knows no such cluster, or one whose shards would each hold a part of the rows. */
export async function checkCluster({ query }: Pick<Analytics, 'query'>, cluster: string): Promise<void> {
  const sql = 'SELECT toUInt32(uniqExact(shard_num)) AS shards FROM system.clusters WHERE cluster = {cluster:String}';
  const [row] = await query(sql, { cluster });
  const shards = Number(row?.['shards']);
  if (shards === 1) return;
  const why = shards === 0 ? 'is not known to the server' : `has ${String(shards)} shards; one is needed`;
  throw new AnalyticsError('refused', `The cluster ${cluster}, named by ANALYTICS_CLUSTER, ${why}`);
}
