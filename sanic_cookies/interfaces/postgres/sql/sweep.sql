-- A batch, oldest first. One sweeper at a time ($2 is the lock's key, for this transaction only,
-- so it works behind a transaction pooler); rows that somebody else has locked are passed over.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock($2) AS mine
), due AS (
    SELECT name, sid FROM {table}
    WHERE (SELECT mine FROM turn) AND expires_at <= clock_timestamp()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM {table} AS t USING due WHERE t.name = due.name AND t.sid = due.sid
