-- A batch, oldest first. One sweeper at a time ($2 is the lock's key, for this transaction only,
-- so it works behind a transaction pooler); rows that somebody else has locked are passed over.
-- It begins at $3, where the batch before has begun: what was dropped stands in the index until no
-- transaction can see it any more, and would be gone through by each batch anew. Once it has to be:
-- who meets in an index what nobody can see marks it as that, for all who come after.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock($2) AS mine
), due AS (
    SELECT name, sid, expires_at FROM {table}
    WHERE (SELECT mine FROM turn) AND expires_at <= clock_timestamp()
      AND expires_at >= coalesce($3::text, '-infinity')::timestamptz
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {table} AS t USING due WHERE t.name = due.name AND t.sid = due.sid
    RETURNING due.expires_at
)
SELECT count(*), min(expires_at)::text FROM gone
