-- Gives a lease up, or a place in the queue for it; the longest waiter gets the lease for a
-- second, in which it must come for it, and its process is told. It waits for no
-- disk, as acquire.sql.
WITH freed AS (
    UPDATE {table}
    SET lease_token = CASE WHEN lease_token = $3 THEN waiters[1] ELSE lease_token END,
        lease_until = CASE WHEN lease_token = $3 THEN clock_timestamp() + interval '1 second'
                           ELSE lease_until END,
        waiters     = CASE WHEN lease_token = $3 THEN waiters[2:]
                           ELSE array_remove(waiters, $3) END
    FROM set_config('synchronous_commit', 'off', true)
    WHERE name = $1 AND sid = $2 AND (lease_token = $3 OR $3 = ANY (waiters))
    RETURNING lease_token
)
SELECT pg_notify('sanic_cookies_' || split_part(lease_token, '.', 1), lease_token)
FROM freed WHERE lease_token IS NOT NULL AND lease_token <> $3
