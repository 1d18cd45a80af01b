-- create.sql for several sessions at once; see acquire_joined.sql for what all such statements have
-- in common, and commit_joined.sql for $2. A sid that is taken, or was by a session that expired, is
-- nearly always that of a create whose first reply was lost: then all of them ask alone, and those
-- that were made here find themselves.
WITH asked AS MATERIALIZED (
    SELECT a ->> 0 AS name, a ->> 1 AS sid, (a ->> 2)::bigint AS version,
           decode(a ->> 3, 'base64') AS hash,
           substring($2::bytea FROM (a ->> 4)::int FOR (a ->> 5)::int) AS payload,
           (a ->> 6)::float8 AS ttl, (a ->> 7)::float8 AS lifetime, (a ->> 8)::float8 AS age,
           a ->> 9 AS user_key, n
    FROM jsonb_array_elements(convert_from($1, 'UTF8')::jsonb) WITH ORDINALITY AS r (a, n)
    WHERE n % 1 = 0
), made AS (
    INSERT INTO {table}
        (name, sid, version, secret_hash, val, created_at, last_seen, expires_at, deadline,
         rotated_at, user_key)
    SELECT name, sid, version, hash, payload, now - make_interval(secs => age), now,
           now + make_interval(secs => ttl), now + make_interval(secs => lifetime), now, user_key
    FROM asked, clock_timestamp() AS now
    ORDER BY sid  -- two that meet in more than one row meet in the same order, and cannot deadlock
    ON CONFLICT (name, sid) DO NOTHING
    RETURNING 1
)
SELECT true AS made, n,
       (SELECT count(*) FROM made) < (SELECT count(*) FROM asked) AS passed_over
FROM asked
