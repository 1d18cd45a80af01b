SELECT sid, version, secret_hash, val, created_at, last_seen, expires_at, deadline, rotated_at,
       previous_hash, previous_until, previous_reads, user_key,
       clock_timestamp() AS now
FROM {table}
WHERE name = $1 AND user_key = $2 AND expires_at > clock_timestamp()
ORDER BY created_at, sid
