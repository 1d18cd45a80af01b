-- release.sql for several sessions at once; see acquire_joined.sql for what all such statements
-- have in common, and acquire.sql for why its end waits for no disk.
WITH asked AS MATERIALIZED (
    SELECT a ->> 0 AS name, a ->> 1 AS sid, a ->> 2 AS token, n
    FROM set_config('synchronous_commit', 'off', true),
         jsonb_array_elements(convert_from($1, 'UTF8')::jsonb) WITH ORDINALITY AS r (a, n)
    WHERE n % 1 = 0
), locked AS MATERIALIZED (
    SELECT a.*, t.*
    FROM asked AS a LEFT JOIN LATERAL (
        SELECT lease_token = a.token AS held, waiters FROM {table} AS t
        WHERE t.name = a.name AND t.sid = a.sid
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS t ON true
), freed AS (
    UPDATE {table} AS t
    SET lease_token = CASE WHEN held THEN l.waiters[1] ELSE lease_token END,
        lease_until = CASE WHEN held THEN clock_timestamp() + interval '1 second'
                           ELSE lease_until END,
        waiters     = CASE WHEN held THEN l.waiters[2:] ELSE array_remove(l.waiters, token) END
    FROM locked AS l
    WHERE t.name = l.name AND t.sid = l.sid AND (held OR token = ANY (l.waiters))
)
SELECT CASE WHEN held AND waiters[1] IS NOT NULL
            THEN pg_notify('sanic_cookies_' || split_part(waiters[1], '.', 1), waiters[1]) END,
       n,
       waiters IS NULL
       AND coalesce((SELECT true FROM {table} AS t WHERE t.name = l.name AND t.sid = l.sid), false)
       AS passed_over
FROM locked AS l
