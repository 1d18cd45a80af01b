-- delete.sql for several sessions at once; see acquire_joined.sql for what all such statements have
-- in common. Postgres makes commits that notify one after the other, each with a wait for the disk of
-- its own: by one statement each, a user's sessions would take that time for each of them.
WITH asked AS MATERIALIZED (
    SELECT a ->> 0 AS name, a ->> 1 AS sid, n
    FROM jsonb_array_elements(convert_from($1, 'UTF8')::jsonb) WITH ORDINALITY AS r (a, n)
    WHERE n % 1 = 0
), locked AS MATERIALIZED (
    SELECT a.*, t.*
    FROM asked AS a LEFT JOIN LATERAL (
        SELECT expires_at > clock_timestamp() AS alive FROM {table} AS t
        WHERE t.name = a.name AND t.sid = a.sid
        FOR UPDATE SKIP LOCKED
    ) AS t ON true
), gone AS (
    DELETE FROM {table} AS t USING locked AS l
    WHERE t.name = l.name AND t.sid = l.sid AND alive IS NOT NULL
), answered AS (
    SELECT *, alive IS NULL
        AND coalesce((SELECT true FROM {table} AS t WHERE t.name = l.name AND t.sid = l.sid), false)
        AS passed_over
    FROM locked AS l
)
SELECT alive,
       CASE WHEN alive IS NOT NULL
            THEN pg_notify('cookies_news_{table}', name || ' ' || sid) END AS pg_notify,
       n, passed_over
FROM answered WHERE alive IS NOT NULL OR passed_over
