-- An expired row whose sid comes again is replaced; a live one is left alone, and no row returned.
INSERT INTO {table} AS old
    (name, sid, version, secret_hash, val, created_at, last_seen, expires_at, deadline,
     rotated_at, user_key)
SELECT $1::text, $2::text, $3::bigint, $4::bytea, $5::bytea, now - make_interval(secs => $8), now,
       now + make_interval(secs => $6), now + make_interval(secs => $7), now, $9::text
FROM clock_timestamp() AS now
ON CONFLICT (name, sid) DO UPDATE
    SET version = excluded.version, secret_hash = excluded.secret_hash, val = excluded.val,
        created_at = excluded.created_at, last_seen = excluded.last_seen,
        expires_at = excluded.expires_at, deadline = excluded.deadline,
        rotated_at = excluded.rotated_at, user_key = excluded.user_key, previous_hash = '',
        previous_reads = false, lease_token = NULL, last_token = NULL,
        waiters = '{}'
    WHERE old.expires_at <= clock_timestamp()
RETURNING 1
