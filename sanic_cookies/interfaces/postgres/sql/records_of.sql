SELECT version, secret_hash, val, date_part('epoch', created_at) AS created_at,
       date_part('epoch', last_seen) AS last_seen, date_part('epoch', expires_at) AS expires_at,
       date_part('epoch', deadline) AS deadline, date_part('epoch', rotated_at) AS rotated_at,
       previous_hash, date_part('epoch', previous_until) AS previous_until, previous_reads,
       user_key, date_part('epoch', clock_timestamp()) AS now, sid
FROM {table}
WHERE name = $1 AND user_key = $2 AND expires_at > clock_timestamp()
ORDER BY rotated_at, sid
