-- Tells the processes that watch the session, in the same step.
WITH gone AS (
    DELETE FROM {table} WHERE name = $1 AND sid = $2
    RETURNING expires_at > clock_timestamp() AS alive
)
SELECT alive, pg_notify('cookies_news_{table}', $1 || ' ' || $2) FROM gone
