-- Takes the lease and reads in one statement. The state is 1 with the lease, 2 if another has it
-- or has waited longer (the token is then in the queue), 0 for a stranger; no row: no session.
-- Whoever finds the lease free while others wait hands it to the first of them, for a second, in
-- which it must come for it.
-- That a lease is taken, or given up, need not outlive a crash of the server: who has held one that
-- is lost is refused when it writes, as is told by the row itself. So this waits neither for the
-- disk nor for a standby; only for this one transaction, and only what is no data of a session.
-- Whether a lease has run out is judged by when the statement came, one time wherever it is asked:
-- by a clock that goes on in between, one column could find a holder that has died alive, and the
-- next give it another lease. Who has waited for the row may find alive what has just run out, and
-- looks again. For all else the clock is asked: who has waited has the columns of the row and these
-- expressions computed anew, but of what stands in FROM the value from before the wait.
WITH taken AS (
    UPDATE {table}
    SET lease_token = CASE
            WHEN lease_token <> $3 AND lease_until > statement_timestamp() THEN lease_token
            WHEN lease_token = $3 OR cardinality(waiters) = 0 OR waiters[1] = $3 THEN $3
            ELSE waiters[1]
        END,
        lease_until = CASE
            WHEN lease_token <> $3 AND lease_until > statement_timestamp() THEN lease_until
            WHEN lease_token = $3 OR cardinality(waiters) = 0 OR waiters[1] = $3
                THEN clock_timestamp() + make_interval(secs => $4)
            ELSE clock_timestamp() + interval '1 second'
        END,
        lease_label = CASE
            WHEN lease_token <> $3 AND lease_until > statement_timestamp() THEN lease_label
            ELSE $5
        END,
        waiters = CASE
            WHEN lease_token <> $3 AND lease_until > statement_timestamp()
                THEN array_append(array_remove(waiters, $3), $3)
            WHEN lease_token = $3 OR cardinality(waiters) = 0 OR waiters[1] = $3
                THEN array_remove(waiters, $3)
            ELSE array_append(array_remove(waiters[2:], $3), $3)
        END
    FROM set_config('synchronous_commit', 'off', true)
    WHERE name = $1 AND sid = $2 AND expires_at > clock_timestamp()
      AND ($6 = secret_hash
           OR $6 = previous_hash AND previous_reads AND previous_until > clock_timestamp())
      AND (NOT $3 = ANY (waiters)
           OR lease_token IS NULL OR lease_token = $3 OR lease_until <= statement_timestamp())
    RETURNING version, secret_hash, val, date_part('epoch', created_at) AS created_at,
       date_part('epoch', last_seen) AS last_seen, date_part('epoch', expires_at) AS expires_at,
       date_part('epoch', deadline) AS deadline, date_part('epoch', rotated_at) AS rotated_at,
       previous_hash, date_part('epoch', previous_until) AS previous_until, previous_reads,
       user_key, date_part('epoch', clock_timestamp()) AS now,
       CASE WHEN lease_token = $3 THEN 1 ELSE 2 END AS state, coalesce(lease_label, '') AS label,
       greatest(0, date_part('epoch', lease_until - clock_timestamp())) AS seconds
), others AS (
    -- The locking read sees the row as it is now; a plain one would still see what another's
    -- statement, which this one had to wait for, has changed or deleted.
    SELECT * FROM {table}
    WHERE name = $1 AND sid = $2 AND NOT EXISTS (SELECT FROM taken)
    FOR SHARE
)
SELECT * FROM taken
UNION ALL
SELECT version, secret_hash, val, date_part('epoch', created_at) AS created_at,
       date_part('epoch', last_seen) AS last_seen, date_part('epoch', expires_at) AS expires_at,
       date_part('epoch', deadline) AS deadline, date_part('epoch', rotated_at) AS rotated_at,
       previous_hash, date_part('epoch', previous_until) AS previous_until, previous_reads,
       user_key, date_part('epoch', clock_timestamp()) AS now,
       CASE
           WHEN $6 = secret_hash
             OR $6 = previous_hash AND previous_reads AND previous_until > clock_timestamp()
           THEN 2 ELSE 0
       END,
       coalesce(lease_label, ''),
       greatest(0, date_part('epoch', lease_until - clock_timestamp()))
FROM others WHERE expires_at > clock_timestamp()
