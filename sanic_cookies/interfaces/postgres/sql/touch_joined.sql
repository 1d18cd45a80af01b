-- touch.sql for several sessions at once; see acquire_joined.sql for what all such statements have
-- in common.
WITH asked AS MATERIALIZED (
    SELECT a ->> 0 AS name, a ->> 1 AS sid, (a ->> 2)::bigint AS version, (a ->> 3)::float8 AS ttl, n
    FROM jsonb_array_elements(convert_from($1, 'UTF8')::jsonb) WITH ORDINALITY AS r (a, n)
    WHERE n % 1 = 0
), locked AS MATERIALIZED (
    SELECT a.*, t.*, clock_timestamp() AS now
    FROM asked AS a LEFT JOIN LATERAL (
        SELECT expires_at, version = a.version AS same FROM {table} AS t
        WHERE t.name = a.name AND t.sid = a.sid
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS t ON true
), touched AS (
    UPDATE {table} AS t SET last_seen = now, expires_at = now + make_interval(secs => ttl)
    FROM locked AS l
    WHERE t.name = l.name AND t.sid = l.sid AND same AND l.expires_at > now
), answered AS (
    SELECT *, expires_at IS NULL
        AND coalesce((SELECT true FROM {table} AS t WHERE t.name = l.name AND t.sid = l.sid), false)
        AS passed_over
    FROM locked AS l
)
SELECT 1 AS touched, n, passed_over FROM answered WHERE same AND expires_at > now OR passed_over
