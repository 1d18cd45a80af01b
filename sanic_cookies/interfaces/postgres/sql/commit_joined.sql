-- commit.sql for several sessions at once; see acquire_joined.sql for what all such statements have
-- in common. $2 holds their payloads, one after the other: in JSON they would have to be written and
-- read as base64. Only where a session gets another secret are there more than twelve arguments.
WITH asked AS MATERIALIZED (
    SELECT a ->> 0 AS name, a ->> 1 AS sid, (a ->> 2)::bigint AS version,
           substring($2::bytea FROM (a ->> 3)::int FOR (a ->> 4)::int) AS payload,
           (a ->> 5)::float8 AS ttl, (a ->> 6)::boolean AS renew, (a ->> 7)::float8 AS lifetime,
           a ->> 8 AS user_key, a ->> 9 AS token, (a ->> 10)::boolean AS release,
           (a ->> 11)::float8 AS seconds,
           decode(a ->> 12, 'base64') AS hash, decode(a ->> 13, 'base64') AS former,
           (a ->> 14)::float8 AS grace, (a ->> 15)::boolean AS reads, n
    FROM jsonb_array_elements(convert_from($1, 'UTF8')::jsonb) WITH ORDINALITY AS r (a, n)
    WHERE n % 1 = 0
), locked AS (
    SELECT a.*, t.*, clock_timestamp() AS now
    FROM asked AS a LEFT JOIN LATERAL (
        SELECT expires_at, waiters[1] AS next, lease_token = a.token AS held,
               last_token = a.token AS given_up, version < a.version AS older,
               version = a.version AND (a.payload IS NULL OR val = a.payload)
                   AND (a.hash IS NULL OR secret_hash = a.hash) AS same
        FROM {table} AS t
        WHERE t.name = a.name AND t.sid = a.sid
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS t ON true
), judged AS MATERIALIZED (
    SELECT *, CASE
        WHEN expires_at > now THEN CASE
            WHEN older AND (token IS NULL OR held) THEN 'written'
            WHEN token IS NULL THEN 'stale'
            -- The same write once more, whose first reply was lost, or another one.
            WHEN held THEN CASE WHEN same THEN 'saved' ELSE 'stale' END
            WHEN given_up THEN 'saved'
            ELSE 'lost'
        END
    END AS verdict
    FROM locked
), saved AS (
    UPDATE {table} AS t
    SET version        = j.version,
        val            = CASE WHEN payload IS NULL THEN val ELSE payload END,
        user_key       = j.user_key,
        last_seen      = CASE WHEN renew THEN now ELSE last_seen END,
        expires_at     = CASE WHEN renew THEN now + make_interval(secs => ttl)
                              ELSE t.expires_at END,
        deadline       = CASE WHEN renew THEN now + make_interval(secs => lifetime)
                              ELSE deadline END,
        secret_hash    = CASE WHEN hash IS NULL THEN secret_hash ELSE hash END,
        rotated_at     = CASE WHEN hash IS NULL THEN rotated_at ELSE now END,
        previous_hash  = CASE WHEN hash IS NULL THEN previous_hash ELSE former END,
        previous_until = CASE WHEN hash IS NULL THEN previous_until
                              ELSE now + make_interval(secs => grace) END,
        previous_reads = CASE WHEN hash IS NULL THEN previous_reads ELSE reads END,
        lease_token    = CASE WHEN release THEN next ELSE lease_token END,
        lease_until    = CASE
            WHEN release THEN now + interval '1 second'
            WHEN token IS NOT NULL THEN now + make_interval(secs => seconds)
            ELSE lease_until
        END,
        waiters        = CASE WHEN release THEN waiters[2:] ELSE waiters END,
        last_token     = CASE WHEN release THEN token ELSE last_token END
    FROM judged AS j
    WHERE t.name = j.name AND t.sid = j.sid AND verdict = 'written'
)
SELECT CASE verdict WHEN 'written' THEN 'saved' ELSE verdict END,
       CASE WHEN verdict = 'written' AND release AND next IS NOT NULL
            THEN pg_notify('sanic_cookies_' || split_part(next, '.', 1), next) END,
       CASE WHEN verdict = 'written' AND hash IS NOT NULL
            THEN pg_notify('cookies_news_{table}', name || ' ' || sid) END,
       n,
       expires_at IS NULL
       AND coalesce((SELECT true FROM {table} AS t WHERE t.name = j.name AND t.sid = j.sid), false)
       AS passed_over
FROM judged AS j
