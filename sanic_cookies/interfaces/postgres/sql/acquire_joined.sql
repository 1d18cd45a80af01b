-- acquire.sql for several sessions at once. What all such statements have in common:
-- $1 is JSON, an array with an array of arguments for each request: one parameter costs client and
-- server less than one for each column. The last two columns tell which of the requests a row
-- answers, and whether its session was passed over because somebody else has the row locked. So
-- this waits for no row: no slow one delays the others, and no two statements can wait for each
-- other. Who was passed over asks alone.
WITH asked AS MATERIALIZED (
    SELECT a ->> 0 AS name, a ->> 1 AS sid, a ->> 2 AS token, (a ->> 3)::float8 AS claimed,
           a ->> 4 AS new_label, decode(a ->> 5, 'base64') AS hash, n
    -- See acquire.sql.
    FROM set_config('synchronous_commit', 'off', true),
         jsonb_array_elements(convert_from($1, 'UTF8')::jsonb) WITH ORDINALITY AS r (a, n)
    -- Always true. It has the planner expect few rows, and so keep to the primary key even where
    -- the table was small, and a scan of it cheap, when the plan was made. Where it was a page or
    -- two by its statistics, all statements scan, until ANALYZE, autovacuum's too, has them planned
    -- anew.
    WHERE n % 1 = 0
), locked AS (
    -- A locking read sees the row as it is now, not as it was when the statement began.
    SELECT a.*, t.*, clock_timestamp() AS now
    FROM asked AS a LEFT JOIN LATERAL (
        SELECT version, secret_hash, val, created_at, last_seen, expires_at, deadline, rotated_at,
               previous_hash, previous_until, previous_reads, user_key, lease_token, lease_until,
               lease_label, waiters
        FROM {table} AS t
        WHERE t.name = a.name AND t.sid = a.sid
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS t ON true
), judged AS MATERIALIZED (
    SELECT *, CASE
        WHEN expires_at > now THEN CASE
            WHEN NOT (hash = secret_hash
                OR hash = previous_hash AND previous_reads AND previous_until > now)
                THEN 'stranger'
            WHEN lease_token <> token AND lease_until > now THEN
                CASE WHEN token = ANY (waiters) THEN 'waits' ELSE 'queues' END
            WHEN lease_token = token OR cardinality(waiters) = 0 OR waiters[1] = token
                THEN 'takes'
            ELSE 'lets the first go'
        END
    END AS verdict
    FROM locked
), taken AS (
    UPDATE {table} AS t
    SET lease_token = d.lease_token, lease_until = d.lease_until, lease_label = d.lease_label,
        waiters = d.waiters
    FROM (
        -- Without the payload: rows that an UPDATE is joined with are copied.
        SELECT name, sid,
            CASE verdict WHEN 'takes' THEN token
                         WHEN 'lets the first go' THEN waiters[1]
                         ELSE lease_token END AS lease_token,
            CASE verdict WHEN 'takes' THEN now + make_interval(secs => claimed)
                         WHEN 'lets the first go' THEN now + interval '1 second'
                         ELSE lease_until END AS lease_until,
            CASE verdict WHEN 'queues' THEN lease_label ELSE new_label END AS lease_label,
            CASE verdict WHEN 'takes' THEN array_remove(waiters, token)
                         WHEN 'queues' THEN array_append(waiters, token)
                         ELSE array_append(array_remove(waiters[2:], token), token)
            END AS waiters
        FROM judged WHERE verdict NOT IN ('stranger', 'waits')
        OFFSET 0
    ) AS d
    WHERE t.name = d.name AND t.sid = d.sid
)
SELECT version, secret_hash, val, date_part('epoch', created_at) AS created_at,
       date_part('epoch', last_seen) AS last_seen, date_part('epoch', expires_at) AS expires_at,
       date_part('epoch', deadline) AS deadline, date_part('epoch', rotated_at) AS rotated_at,
       previous_hash, date_part('epoch', previous_until) AS previous_until, previous_reads,
       user_key, date_part('epoch', now) AS now,
       CASE verdict WHEN 'stranger' THEN 0 WHEN 'takes' THEN 1 ELSE 2 END AS state,
       coalesce(CASE WHEN verdict IN ('takes', 'lets the first go') THEN new_label
                     ELSE lease_label END, '') AS label,
       CASE verdict WHEN 'takes' THEN claimed
                    WHEN 'lets the first go' THEN 1
                    ELSE greatest(0, date_part('epoch', lease_until - now)) END AS seconds,
       n, verdict IS NULL AS passed_over
FROM judged AS j
-- Not EXISTS: that the planner may turn into a scan of the whole table.
WHERE verdict IS NOT NULL
   OR version IS NULL
      AND coalesce((SELECT true FROM {table} AS t WHERE t.name = j.name AND t.sid = j.sid), false)
