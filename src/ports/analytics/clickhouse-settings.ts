import type { ClickHouseSettings } from '@clickhouse/client';
import type { Operation } from './clickhouse-errors.ts';

/** What one query may use. */
export interface QueryLimits {
  readonly seconds: number;
  readonly memoryBytes: number;
}

export const QUERY_LIMITS: QueryLimits = { seconds: 20, memoryBytes: 2 ** 30 };

/** What ClickHouse is told with each request. `cluster`: null where the tables have no replicas. */
export function settingsOf(
  limits: QueryLimits,
  cluster: string | null,
): Readonly<Record<Operation, ClickHouseSettings>> {
  const alone = { query: querySettings(limits), insert: INSERT_SETTINGS, statement: STATEMENT_SETTINGS };
  if (cluster === null) return alone;
  return {
    query: { ...alone.query, ...REPLICATED.query },
    insert: { ...alone.insert, ...REPLICATED.insert },
    statement: { ...alone.statement, ...REPLICATED.statement },
  };
}

/**
 * What has been answered is on a majority of the replicas: the plan has moved on by then, and nobody would insert again what
 * a single replica took with it. A replica that lacks some of it refuses to answer.
 */
const REPLICATED: Readonly<Record<Operation, ClickHouseSettings>> = {
  // Of no effect unless quorums are one after the other.
  query: { select_sequential_consistency: '1' },
  insert: { insert_quorum: 'auto', insert_quorum_parallel: 0, insert_quorum_timeout: 60_000 },
  statement: {
    // Done on every replica, or an error; what is not done in time is done later, and is asked for again.
    distributed_ddl_output_mode: 'throw',
    distributed_ddl_task_timeout: '100',
    // Emptied everywhere before there is a new id.
    alter_sync: '2',
    replication_wait_for_inactive_replica_timeout: '100',
  },
};

const INSERT_SETTINGS: ClickHouseSettings = {
  // The answer says what became of the rows, and a token names exactly these rows.
  async_insert: 0,
  wait_end_of_query: 1,
  insert_deduplicate: 1,
  // Also what views derive: a repetition completes those that an insert did not reach.
  deduplicate_blocks_in_dependent_materialized_views: 1,
  materialized_views_ignore_errors: 0,
  // One block in, one block out of every view: the same rows always get the same numbers under a token.
  input_format_parallel_parsing: 0,
  max_insert_threads: '1',
  max_insert_block_size: '1048449',
  min_insert_block_size_rows: '1048449',
  min_insert_block_size_bytes: '0',
  max_partitions_per_insert_block: '0',
  // A null for a column that has none is a mistake, not a zero.
  input_format_null_as_default: 0,
  max_execution_time: 120,
};

/** What takes long in such a statement is the wait for others to let go of the table. */
const STATEMENT_SETTINGS: ClickHouseSettings = {
  wait_end_of_query: 1,
  max_table_size_to_drop: '0',
  max_execution_time: 120,
  lock_acquire_timeout: 60,
};

function querySettings({ seconds, memoryBytes }: QueryLimits): ClickHouseSettings {
  return {
    readonly: '2',
    // Nothing is sent before the end, so that an error never comes in the middle of an answer.
    wait_end_of_query: 1,
    cancel_http_readonly_queries_on_client_close: 1,
    max_execution_time: seconds,
    max_memory_usage: String(memoryBytes),
    max_threads: 2,
    // Half of what reading a hundred parts took with ClickHouse's own 65,409 rows, in the same time (measured).
    max_block_size: '8192',
    // Nothing goes to the disk: it counts what is being read as well, so that it began with the first block, wrote a file for
    // each and took ten times as long and three times the memory (measured).
    max_bytes_before_external_group_by: '0',
    max_bytes_ratio_before_external_group_by: 0,
    max_bytes_before_external_sort: '0',
    max_bytes_ratio_before_external_sort: 0,
    max_result_rows: '1000000',
    max_result_bytes: String(2 ** 28),
    output_format_json_quote_64bit_integers: 0,
    do_not_merge_across_partitions_select_final: 1,
    // Groups that begin with what the table is ordered by are done one after the other.
    optimize_aggregation_in_order: 1,
  };
}
