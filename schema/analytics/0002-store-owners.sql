-- Which event log fills a store: the earliest row about its id counts. A table of its own rather than a column, because a
-- replica that is added later makes its tables as the files say, and must find them in Keeper as they were made.
CREATE TABLE IF NOT EXISTS store_owners
(
    store UUID,
    log String,
    claimed_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (store, claimed_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
