-- $9 is the lease token, NULL for a save without a lease. $10 gives the lease up: the longest
-- waiter gets it for a second, in which it must come for it, and its process is told. Otherwise the
-- lease is prolonged by $11. $13 to $16 replace the secret by $12, and the processes that watch the
-- session are told.
WITH saved AS (
    UPDATE {table}
    SET version        = $3,
        val            = CASE WHEN $4::bytea IS NULL THEN val ELSE $4 END,
        user_key       = $8,
        last_seen      = CASE WHEN $6 THEN clock_timestamp() ELSE last_seen END,
        expires_at     = CASE WHEN $6 THEN clock_timestamp() + make_interval(secs => $5)
                              ELSE expires_at END,
        deadline       = CASE WHEN $6 THEN clock_timestamp() + make_interval(secs => $7)
                              ELSE deadline END,
        secret_hash    = CASE WHEN $13 THEN $12 ELSE secret_hash END,
        rotated_at     = CASE WHEN $13 THEN clock_timestamp() ELSE rotated_at END,
        previous_hash  = CASE WHEN $13 THEN $14 ELSE previous_hash END,
        previous_until = CASE WHEN $13 THEN clock_timestamp() + make_interval(secs => $15)
                              ELSE previous_until END,
        previous_reads = CASE WHEN $13 THEN $16 ELSE previous_reads END,
        lease_token    = CASE WHEN $10 THEN waiters[1] ELSE lease_token END,
        lease_until    = CASE
            WHEN $10 THEN clock_timestamp() + interval '1 second'
            WHEN $9::text IS NOT NULL THEN clock_timestamp() + make_interval(secs => $11)
            ELSE lease_until
        END,
        waiters        = CASE WHEN $10 THEN waiters[2:] ELSE waiters END,
        last_token     = CASE WHEN $10 THEN $9 ELSE last_token END
    WHERE name = $1 AND sid = $2 AND expires_at > clock_timestamp() AND version < $3
      AND ($9::text IS NULL OR lease_token = $9)
    RETURNING CASE WHEN $10 THEN lease_token END AS next
), present AS (
    -- The locking read sees the row as it is now; a plain one would still see what another's
    -- statement, which this one had to wait for, has changed or deleted.
    SELECT version, val, secret_hash, lease_token, last_token, expires_at FROM {table}
    WHERE name = $1 AND sid = $2 AND NOT EXISTS (SELECT FROM saved)
    FOR SHARE
)
SELECT CASE
    WHEN EXISTS (SELECT FROM saved) THEN 'saved'
    ELSE (
        SELECT CASE
            WHEN $9::text IS NULL THEN 'stale'
            -- The same write once more, whose first reply was lost, or another one.
            WHEN lease_token = $9 THEN CASE
                WHEN version = $3 AND ($4::bytea IS NULL OR val = $4)
                    AND (NOT $13 OR secret_hash = $12) THEN 'saved'
                ELSE 'stale'
            END
            WHEN last_token = $9 THEN 'saved'
            ELSE 'lost'
        END
        FROM present WHERE expires_at > clock_timestamp()
    )
END, (
    SELECT pg_notify('sanic_cookies_' || split_part(next, '.', 1), next)
    FROM saved WHERE next IS NOT NULL
), (
    SELECT pg_notify('cookies_news_{table}', $1 || ' ' || $2) FROM saved WHERE $13
)
