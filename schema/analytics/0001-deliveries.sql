-- One row an update: what one event of a notification tells of one delivery, or of the notification as a whole
-- (delivery_id zero). Its identity is (position, update_index). requested_at stands on every row of a notification, so
-- that all of them lie in one partition, next to each other.
CREATE TABLE IF NOT EXISTS delivery_events
(
    tenant LowCardinality(String),
    requested_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    notification_id UUID,
    delivery_id UUID,
    user_id String,
    channel LowCardinality(String),
    platform LowCardinality(String),
    provider LowCardinality(String),
    campaign LowCardinality(String),
    category LowCardinality(String),
    template LowCardinality(String),
    template_version UInt32,
    type LowCardinality(String),
    reason LowCardinality(String),
    -- Stages of the funnel that this update proves: bit 0 requested, 1 queued, 2 sent, 3 delivered, 4 opened, 5 clicked, 6 converted.
    steps UInt16,
    occurred_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    -- When the log took it in; a conversion may have occurred long before.
    recorded_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    conversion LowCardinality(String),
    value Nullable(Float64),
    currency LowCardinality(String),
    -- Version of the notification's stream with this event.
    version UInt32,
    position String CODEC(ZSTD(1)),
    update_index UInt16,
    INDEX by_position position TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(requested_at)
ORDER BY (tenant, requested_at, notification_id, position, update_index)
-- Not since the request: what an old notification has to tell is as new as anything to who resumes. Longer than RESUME_WINDOW
-- may be.
TTL toDateTime(recorded_at) + INTERVAL 100 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- One row a delivery: the stages that it reached, and how long after the request it first reached each, in milliseconds
-- (18446744073709551615: never). Neither duplicates nor disorder of updates change it. Rows with delivery_id zero stand
-- for notifications as a whole. Read with FINAL.
CREATE TABLE IF NOT EXISTS deliveries
(
    tenant LowCardinality(String),
    requested_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    notification_id UUID,
    delivery_id UUID,
    user_id SimpleAggregateFunction(max, String),
    channel SimpleAggregateFunction(max, LowCardinality(String)),
    platform SimpleAggregateFunction(max, LowCardinality(String)),
    provider SimpleAggregateFunction(max, LowCardinality(String)),
    campaign SimpleAggregateFunction(max, LowCardinality(String)),
    category SimpleAggregateFunction(max, LowCardinality(String)),
    template SimpleAggregateFunction(max, LowCardinality(String)),
    template_version SimpleAggregateFunction(max, UInt32),
    steps SimpleAggregateFunction(groupBitOr, UInt16),
    queued_ms SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1)),
    sent_ms SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1)),
    delivered_ms SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1)),
    opened_ms SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1)),
    clicked_ms SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1)),
    converted_ms SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(requested_at)
ORDER BY (tenant, requested_at, notification_id, delivery_id)
TTL toDateTime(requested_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1,
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;

-- Without shifts: bitShiftLeft(1, n) gave 0 interpreted and 256 compiled for n = 8, on the same data.
CREATE MATERIALIZED VIEW IF NOT EXISTS deliveries_from_events TO deliveries AS
WITH toUInt64(greatest(0, dateDiff('millisecond', requested_at, occurred_at))) AS offset_ms, toUInt64(18446744073709551615) AS never
SELECT
    tenant,
    requested_at,
    notification_id,
    delivery_id,
    max(user_id) AS user_id,
    max(channel) AS channel,
    max(platform) AS platform,
    max(provider) AS provider,
    max(campaign) AS campaign,
    max(category) AS category,
    max(template) AS template,
    max(template_version) AS template_version,
    groupBitOr(e.steps) AS steps,
    min(if(bitTest(e.steps, 1), offset_ms, never)) AS queued_ms,
    min(if(bitTest(e.steps, 2), offset_ms, never)) AS sent_ms,
    min(if(bitTest(e.steps, 3), offset_ms, never)) AS delivered_ms,
    min(if(bitTest(e.steps, 4), offset_ms, never)) AS opened_ms,
    min(if(bitTest(e.steps, 5), offset_ms, never)) AS clicked_ms,
    min(if(bitTest(e.steps, 6), offset_ms, never)) AS converted_ms
FROM delivery_events AS e
GROUP BY tenant, requested_at, notification_id, delivery_id;

-- What happened in each hour, for charts of activity. Exact because every batch is inserted once.
CREATE TABLE IF NOT EXISTS activity_hourly
(
    tenant LowCardinality(String),
    hour DateTime('UTC'),
    channel LowCardinality(String),
    provider LowCardinality(String),
    type LowCardinality(String),
    updates UInt64
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour, channel, provider, type)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS activity_hourly_from_events TO activity_hourly AS
SELECT tenant, toStartOfHour(toDateTime(occurred_at, 'UTC')) AS hour, channel, provider, type, count() AS updates
FROM delivery_events
GROUP BY tenant, hour, channel, provider, type;

-- One row: which store this is.
CREATE TABLE IF NOT EXISTS store
(
    id UUID,
    made_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY made_at
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
